const mib = 1024 ** 2;
const gib = 1024 ** 3;

/** Compute buffers and the CUDA context of a text worker (measured range 250 to 600 MiB a process). */
const textOverheadBytes = 700 * mib;
/**
 * The VRAM a text model will need, before it was ever measured: weights, the KV cache of every slot, buffers and
 * context. Without the model's shape the KV cost is scaled from an 8B model (128 KiB a token at 4.7 GiB).
 */
export function estimateTextBytes(model: {
  sizeBytes: number;
  contextLength: number;
  gpuRatio: number;
}): number {
  const kvBytesPerToken = Math.max(24 * 1024, 128 * 1024 * (model.sizeBytes / (4.7 * gib)));
  return model.sizeBytes * model.gpuRatio + model.contextLength * kvBytesPerToken + textOverheadBytes;
}

/** The VRAM a checkpoint will need: its weights at half precision, and what a picture takes on top. */
export function estimateImageBytes(model: { sizeBytes: number | null; workingBytes: number }): number {
  return (model.sizeBytes ?? 2.1 * gib) + model.workingBytes;
}

/** How far from an estimate a measurement may be, to be believed. */
const believable = { leastShare: 0.2, mostShare: 1.5, slackBytes: gib } as const;

/**
 * Whether a card's rise during a load can be the model's. Too little: it was loaded already, or something else left at
 * the same time. Too much: another program took memory meanwhile.
 */
export function isBelievable(grownBytes: number, estimateBytes: number, isSizeKnown: boolean): boolean {
  const { leastShare, mostShare, slackBytes } = believable;
  // Without the size of the file the estimate is a guess, and bounds nothing from above.
  const mostBytes = isSizeKnown ? estimateBytes * mostShare + slackBytes : Number.POSITIVE_INFINITY;
  return grownBytes > estimateBytes * leastShare && grownBytes <= mostBytes;
}

/** Readings that a footprint is made of: one that was disturbed is outvoted by the next two. */
const readingsKept = 3;

/** The last readings with a new one, oldest first. */
export function withReading(readings: readonly number[], bytes: number): number[] {
  return [...readings, bytes].slice(-readingsKept);
}

/** What to reserve after some readings: the middle one, and of two the larger; null after none. */
export function footprintOf(readings: readonly number[]): number | null {
  const sorted = readings.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? null;
}

/** A running mean that follows change: the new value counts for a fifth. */
export function smooth(previous: number | null, value: number): number {
  return previous === null ? value : previous * 0.8 + value * 0.2;
}
