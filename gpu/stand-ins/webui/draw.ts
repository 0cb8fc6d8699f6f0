import { createHash } from 'node:crypto';
import sharp from 'sharp';

export interface Drawing {
  readonly prompt: string;
  readonly seed: number;
  readonly width: number;
  readonly height: number;
  /** 0 is noise, 1 is finished. */
  readonly progress: number;
  readonly source?: {
    readonly image: Buffer;
    readonly mask: Buffer | null;
    readonly strength: number;
  } | null;
}

/**
 * A picture that plainly is none of a model's: soft hills of colour chosen by prompt and seed, with "DEMO" across
 * it, under noise that clears as the work goes on. With a source, that picture shines through by its strength, and
 * outside the mask it stays as it was.
 */
export async function draw(drawing: Drawing): Promise<Buffer> {
  const { width, height, source } = drawing;
  const scene = await render(drawing);
  if (!source) return sharp(scene).png({ compressionLevel: 3 }).toBuffer();
  const original = await sharp(source.image)
    .resize(width, height, { fit: 'fill' })
    .removeAlpha()
    .png()
    .toBuffer();
  const veil = await sharp(scene).ensureAlpha(source.strength).png().toBuffer();
  const blended = await sharp(original)
    .composite([{ input: veil }])
    .png()
    .toBuffer();
  if (!source.mask) return blended;
  const mask = await sharp(source.mask).resize(width, height, { fit: 'fill' }).greyscale().raw().toBuffer();
  // In two steps: sharp would drop the joined channel again with the alpha it removes.
  const opaque = await sharp(blended).removeAlpha().png().toBuffer();
  const alpha = { raw: { width, height, channels: 1 } } as const;
  const masked = await sharp(opaque).joinChannel(mask, alpha).png().toBuffer();
  return sharp(original)
    .composite([{ input: masked }])
    .png()
    .toBuffer();
}

async function render({ prompt, seed, width, height, progress }: Drawing): Promise<Buffer> {
  const random = numbers(`${prompt}\n${seed}`);
  const hue = Math.floor(random() * 360);
  const hills = Array.from({ length: 5 }, (_, i) => {
    const y = height * (0.35 + 0.13 * i);
    const points = Array.from(
      { length: 7 },
      (_, x) => `${(x / 6) * width},${y + (random() - 0.5) * height * 0.18}`,
    );
    const lightness = 68 - i * 11;
    return `<polygon points="0,${height} ${points.join(' ')} ${width},${height}" fill="hsl(${(hue + i * 23) % 360} 45% ${lightness}%)"/>`;
  });
  const sun = `<circle cx="${random() * width}" cy="${height * (0.12 + random() * 0.2)}" r="${height * 0.08}" fill="hsl(${(hue + 180) % 360} 80% 75%)"/>`;
  const label = `<text x="50%" y="${height - 14}" font-family="sans-serif" font-size="${Math.max(12, height / 18)}" text-anchor="middle" fill="white" fill-opacity="0.85">DEMO ${seed}</text>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="hsl(${hue} 50% 85%)"/>${sun}${hills.join('')}${label}</svg>`;
  const scene = sharp(Buffer.from(svg)).removeAlpha();
  if (progress >= 1) return scene.png({ compressionLevel: 3 }).toBuffer();
  const noise = await sharp({
    create: {
      width,
      height,
      channels: 3,
      background: '#808080',
      noise: { type: 'gaussian', mean: 128, sigma: 60 },
    },
  })
    .ensureAlpha(1 - progress)
    .png()
    .toBuffer();
  return scene
    .composite([{ input: noise }])
    .png({ compressionLevel: 3 })
    .toBuffer();
}

/** Numbers from 0 to 1 that follow from a text. */
function numbers(text: string): () => number {
  let state = createHash('sha256').update(text).digest().readUInt32LE(0);
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
