export const backoffLimits = {
  firstMs: 500,
  longestMs: 30_000,
  /** Serving for this long wipes the slate. */
  healthyMs: 60_000,
  /** More deaths than this in the window, and the process is given up. */
  deaths: 5,
  windowMs: 5 * 60_000,
} as const;

/** Decides how long to wait before a process that died is started again, and when to give it up. */
export class Backoff {
  #deaths: number[] = [];
  #streak = 0;
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** The pause before the next start, in milliseconds; null when it has died too often. */
  died(now: number, livedMs: number): number | null {
    if (livedMs >= backoffLimits.healthyMs) this.reset();
    this.#deaths = this.#deaths.filter((at) => now - at < backoffLimits.windowMs);
    this.#deaths.push(now);
    this.#streak += 1;
    if (this.#deaths.length >= backoffLimits.deaths) return null;
    const ceiling = Math.min(backoffLimits.longestMs, backoffLimits.firstMs * 2 ** (this.#streak - 1));
    // Half fixed, half random: engines that died together do not come back together.
    return ceiling / 2 + (this.#random() * ceiling) / 2;
  }

  reset(): void {
    this.#deaths = [];
    this.#streak = 0;
  }
}
