import { EngineError } from './engine-error.ts';

/**
 * A base64 picture as bytes, after decoding it once: engines are known to answer 200 with an empty string, with
 * another size than asked for, or with half a file.
 */
export async function checkedPng(
  encoded: string,
  expected: { width: number; height: number },
): Promise<Uint8Array> {
  const base64 = encoded.startsWith('data:') ? encoded.slice(encoded.indexOf(',') + 1) : encoded;
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length === 0) throw new EngineError('bad_answer', 'The image is empty.');
  // Loaded with the first picture: an appliance that serves text alone does not pay for it.
  const { default: sharp } = await import('sharp');
  const limits = { limitInputPixels: 4096 * 4096, failOn: 'error' } as const;
  try {
    const { info } = await sharp(bytes, limits).raw().toBuffer({ resolveWithObject: true });
    // One engine family rounds sizes to multiples of 8 or 64; anything further off is another picture.
    const near = (is: number, wanted: number): boolean => Math.abs(is - wanted) < 64;
    if (!near(info.width, expected.width) || !near(info.height, expected.height)) {
      throw new EngineError(
        'bad_answer',
        `The image is ${info.width}x${info.height}, not ${expected.width}x${expected.height}.`,
      );
    }
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw new EngineError('bad_answer', 'The image cannot be decoded.', { cause: error });
  }
  const isPng = bytes.subarray(0, 8).equals(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]));
  return isPng ? bytes : sharp(bytes, limits).png().toBuffer();
}
