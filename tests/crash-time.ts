/** Where the time goes: seconds by what was waited for, side by side where two things were. */
export const spent: Record<string, number> = {};

export async function timed<Result>(what: string, work: Promise<Result>): Promise<Result> {
  const began = performance.now();
  try {
    return await work;
  } finally {
    spent[what] = (spent[what] ?? 0) + (performance.now() - began) / 1000;
  }
}
