import { ApiError } from '../http/api-error.ts';

interface Waiting {
  readonly begin: () => void;
}

/**
 * One piece of work at a time, taken in turns by whoever asks (a tenant): who asks for much waits behind the own work, not
 * everybody else behind it. Of each, only so many may wait.
 */
export class FairTurns {
  readonly #waitingOfEach: number;
  /** In the order of their turns: whoever was served goes to the end. */
  readonly #lines = new Map<string, Waiting[]>();
  #isBusy = false;

  constructor(waitingOfEach: number) {
    this.#waitingOfEach = waitingOfEach;
  }

  /** Does the work when its turn has come. Throws an ApiError when too much of the same key waits already. */
  async run<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const line = this.#lines.get(key) ?? [];
    if (line.length >= this.#waitingOfEach)
      throw new ApiError(
        'concurrency_exceeded',
        `${this.#waitingOfEach} pictures of yours wait to be looked at already (limit: pictures). Wait for them.`,
        { retryAfterMs: 2_000 },
      );
    await new Promise<void>((begin) => {
      this.#lines.set(key, line);
      line.push({ begin });
      this.#next();
    });
    try {
      return await work();
    } finally {
      this.#isBusy = false;
      this.#next();
    }
  }

  #next(): void {
    if (this.#isBusy) return;
    for (const [key, line] of this.#lines) {
      this.#lines.delete(key);
      const first = line.shift();
      if (!first) continue;
      if (line.length > 0) this.#lines.set(key, line);
      this.#isBusy = true;
      first.begin();
      return;
    }
  }
}
