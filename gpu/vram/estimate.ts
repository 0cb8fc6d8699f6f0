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

/** A footprint after another measurement, in bytes. */
export function learn(previous: number | null, measuredBytes: number): number {
  // Rises at once, falls slowly: too little is an out-of-memory, too much only a swap.
  if (previous === null || measuredBytes >= previous) return measuredBytes;
  return previous * 0.8 + measuredBytes * 0.2;
}

/** A running mean that follows change: the new value counts for a fifth. */
export function smooth(previous: number | null, value: number): number {
  return previous === null ? value : previous * 0.8 + value * 0.2;
}
