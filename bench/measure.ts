/** How long something takes, one after the other: how many in a second, the usual and the slowest of a hundred. */
export function measure(count: number, once: () => unknown): Record<string, number> {
  return summary(
    Array.from({ length: count }, () => {
      const began = performance.now();
      once();
      return performance.now() - began;
    }),
  );
}

/** The same of something that is waited for. */
export async function measureAsync(
  count: number,
  once: (index: number) => Promise<unknown>,
): Promise<Record<string, number>> {
  const times: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const began = performance.now();
    await once(i);
    times.push(performance.now() - began);
  }
  return summary(times);
}

export function summary(times: readonly number[]): Record<string, number> {
  const sorted = times.toSorted((a, b) => a - b);
  const total = times.reduce((sum, time) => sum + time, 0);
  const at = (share: number): number => sorted[Math.floor(times.length * share)] ?? Number.NaN;
  return { 'per s': (times.length / total) * 1000, 'p50 ms': at(0.5), 'p99 ms': at(0.99) };
}
