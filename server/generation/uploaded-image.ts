import type { Sharp } from 'sharp';
import { ApiError } from '../http/api-error.ts';
import { limits } from '../contract/limits.ts';

const formats = new Set(['png', 'jpeg', 'webp']);

/** Reads the head of an uploaded picture and refuses what is none, or would be too large once decoded. */
async function opened(bytes: Buffer, name: string): Promise<Sharp> {
  const refuse = (why: string): ApiError =>
    new ApiError('invalid_image', `The ${name} ${why}`, { param: name });
  // Loaded with the first picture: an appliance that serves text alone does not pay for it.
  const { default: sharp } = await import('sharp');
  const picture = sharp(bytes, { limitInputPixels: limits.upload.pixels, failOn: 'error', animated: false });
  const head = await picture.metadata().catch(() => null);
  if (!head || !formats.has(head.format)) throw refuse('is not a PNG, JPEG or WebP picture.');
  if (head.width * head.height > limits.upload.pixels) {
    throw refuse(`has ${head.width}x${head.height} pixels; ${limits.upload.pixels} are allowed.`);
  }
  return picture;
}

/** A picture as a clean PNG of the given size: decoded, turned upright, and without what its file said of people. */
export async function cleanImage(bytes: Buffer, size: { width: number; height: number }): Promise<Buffer> {
  const picture = await opened(bytes, 'image');
  try {
    return await picture
      .rotate()
      .resize(size.width, size.height, { fit: 'cover' })
      .removeAlpha()
      .png()
      .toBuffer();
  } catch (cause) {
    throw new ApiError('invalid_image', 'The image is damaged.', { param: 'image', cause });
  }
}

/** The size a picture has, brought to what can be generated. */
export async function sizeOf(bytes: Buffer): Promise<{ width: number; height: number }> {
  const { width, height } = await (await opened(bytes, 'image')).metadata();
  const { minSide, maxSide, multipleOf } = limits.image;
  const scale = Math.min(1, maxSide / Math.max(width, height));
  const fit = (side: number): number =>
    Math.min(maxSide, Math.max(minSide, Math.round((side * scale) / multipleOf) * multipleOf));
  return { width: fit(width), height: fit(height) };
}

/**
 * A mask as the engines want it: white where the picture is drawn anew. OpenAI's masks say it by transparency; one
 * without transparency is taken to be black and white already.
 */
export async function cleanMask(bytes: Buffer, size: { width: number; height: number }): Promise<Buffer> {
  const mask = await opened(bytes, 'mask');
  const { hasAlpha } = await mask.metadata();
  try {
    const sized = mask.resize(size.width, size.height, { fit: 'fill' });
    const grey = hasAlpha ? sized.extractChannel('alpha').negate() : sized.removeAlpha().greyscale();
    return await grey.png().toBuffer();
  } catch (cause) {
    throw new ApiError('invalid_image', 'The mask is damaged.', { param: 'mask', cause });
  }
}
