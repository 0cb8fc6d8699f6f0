/*
 * Windows moves video memory to system memory instead of failing (sysmem fallback, drivers from 536.40 on). Nothing
 * reports it; work only becomes many times slower while the card reads full. So: much slower than usual, with the
 * card at its limit, several times in a row.
 */
export const spillLimits = { slowdown: 3, full: 0.95, history: 31, needed: 7, inARow: 2 } as const;

/** Watches the unit times of one model. */
export class SpillWatch {
  readonly #usual: number[] = [];
  #slow = 0;

  /** Takes a measured unit of work and how full the card was; true when the model is judged to have spilled. */
  observe(unitMs: number, cardShare: number): boolean {
    const usual = median(this.#usual);
    const slow =
      this.#usual.length >= spillLimits.needed &&
      unitMs > usual * spillLimits.slowdown &&
      cardShare >= spillLimits.full;
    this.#slow = slow ? this.#slow + 1 : 0;
    // Slow units are not learned as usual, or a spill would become normal.
    if (!slow) {
      this.#usual.push(unitMs);
      if (this.#usual.length > spillLimits.history) this.#usual.shift();
    }
    return this.#slow >= spillLimits.inARow;
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.POSITIVE_INFINITY;
}
