import type { Timings } from '../../gpu/gpu.ts';

/** Times of work that has not begun, in milliseconds. */
export function noTimings(): Timings {
  return { queuedMs: 0, swapMs: 0, runMs: 0, gpuMs: 0, granted: false };
}

/** Adds what one piece of work took to the total of several. */
export function addTimings(total: Timings, part: Readonly<Timings>): void {
  total.queuedMs += part.queuedMs;
  total.swapMs += part.swapMs;
  total.runMs += part.runMs;
  total.gpuMs += part.gpuMs;
  total.granted ||= part.granted;
}
