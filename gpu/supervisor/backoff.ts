/** When a program that died is started again, and when that is given up. One for each kind of child, as data. */
export interface RestartPolicy {
  /** The longest pause after the first death, in milliseconds; it doubles with each further one. */
  readonly firstMs: number;
  /** No pause is longer than this. */
  readonly longestMs: number;
  /** Serving for this long wipes the slate. */
  readonly healthyMs: number;
  /** After this many deaths in the window the program is given up, and tried once every `againAfterMs`. Null: never. */
  readonly giveUp: {
    readonly deaths: number;
    readonly windowMs: number;
    readonly againAfterMs: number;
  } | null;
}

/** An engine that dies again and again would only take the card and the disk from the others. */
export const engineRestart: RestartPolicy = {
  firstMs: 500,
  longestMs: 30_000,
  healthyMs: 60_000,
  giveUp: { deaths: 5, windowMs: 5 * 60_000, againAfterMs: 2 * 60_000 },
};

/** A tunnel dies for as long as the internet is away, and may be the operator's only way in: it is never given up. */
export const tunnelRestart: RestartPolicy = {
  firstMs: 500,
  longestMs: 60_000,
  healthyMs: 60_000,
  giveUp: null,
};

/** What follows a death. */
export interface Recovery {
  /** Milliseconds until the next start. */
  readonly waitMs: number;
  readonly isGivenUp: boolean;
}

/** Counts deaths, and decides by a policy how long to wait before the next start. */
export class Backoff {
  readonly #policy: RestartPolicy;
  readonly #random: () => number;
  #deaths: number[] = [];
  #streak = 0;
  #isGivenUp = false;

  constructor(policy: RestartPolicy, random: () => number = Math.random) {
    this.#policy = policy;
    this.#random = random;
  }

  /** A death at a monotonic time, after so many milliseconds of serving. */
  died(now: number, livedMs: number): Recovery {
    const { firstMs, longestMs, healthyMs, giveUp } = this.#policy;
    if (livedMs >= healthyMs) this.reset();
    this.#streak += 1;
    if (giveUp) {
      this.#deaths = this.#deaths.filter((at) => now - at < giveUp.windowMs);
      this.#deaths.push(now);
      // Once given up, one more death is enough: it has had its chances.
      if (this.#isGivenUp || this.#deaths.length >= giveUp.deaths) return this.#giveUp(giveUp.againAfterMs);
    }
    const ceiling = Math.min(longestMs, firstMs * 2 ** Math.min(this.#streak - 1, 30));
    // Half fixed, half random: programs that died together do not come back together.
    return { waitMs: ceiling / 2 + (this.#random() * ceiling) / 2, isGivenUp: false };
  }

  /** It cannot start as things are (another program has its port): trying soon again is no use. */
  refused(): Recovery {
    const { longestMs, giveUp } = this.#policy;
    return giveUp ? this.#giveUp(giveUp.againAfterMs) : { waitMs: longestMs, isGivenUp: false };
  }

  reset(): void {
    this.#deaths = [];
    this.#streak = 0;
    this.#isGivenUp = false;
  }

  #giveUp(waitMs: number): Recovery {
    this.#isGivenUp = true;
    return { waitMs, isGivenUp: true };
  }
}
