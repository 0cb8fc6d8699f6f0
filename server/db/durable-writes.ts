import { isStorageError } from './storage-error.ts';

/** Something that has happened and must be recorded. */
export interface Write {
  /** What is recorded, in words for the log and the operator: "the end of a request". */
  readonly what: string;
  /** What it is about: the id of a request, a job, a delivery. */
  readonly id: string;
  /** Records it. Runs in one transaction of its own, so it happens wholly or not at all. */
  readonly write: () => void;
  /** What to record when `write` can never succeed. Each of these is a transaction of its own. */
  readonly instead?: readonly Write[];
}

/**
 * How a write ended: recorded, lost because it can never succeed (then `instead` was recorded as far as it could be),
 * or still waiting when the appliance stopped.
 */
export type Outcome = 'written' | 'lost' | 'stopped';

/** What waits for storage, and what was lost for good since the start. */
export interface WritesStatus {
  readonly waiting: number;
  /** Wall-clock milliseconds since when the oldest waits; null when nothing does. */
  readonly waitingSince: number | null;
  /** Writes that can never succeed, by what they were to record. */
  readonly lost: Readonly<Record<string, number>>;
}

interface Waiting {
  readonly write: Write;
  readonly since: number;
  readonly done: (outcome: Outcome) => void;
  failures: number;
  timer: NodeJS.Timeout | null;
}

/** Pauses between two tries of one write: the first, and the longest that it grows to. */
const pauseMs = { first: 1_000, longest: 60_000 } as const;

/**
 * The one place that decides what becomes of a write that failed. When storage is full, busy or failing, the write is
 * tried again, alone, after a pause that doubles each time. When it can never succeed (a constraint, a bug), it is
 * given up at once: logged, counted, and replaced by what the caller says to record instead. No write waits for
 * another one, so one that fails for ever blocks nobody.
 */
export class DurableWrites {
  readonly #atomically: (work: () => void) => void;
  readonly #onError: (error: unknown, write: Write, isLost: boolean) => void;
  readonly #waiting = new Set<Waiting>();
  readonly #lost = new Map<string, number>();
  #isClosed = false;

  /** `atomically` runs work as one transaction. `onError` is told of the first failure of a write, and of its loss. */
  constructor(options: {
    atomically: (work: () => void) => void;
    onError: (error: unknown, write: Write, isLost: boolean) => void;
  }) {
    this.#atomically = options.atomically;
    this.#onError = options.onError;
  }

  /**
   * Records something now (before this returns, if storage takes it), or as soon as storage does. Resolves once that is
   * decided; never rejects.
   */
  commit(write: Write): Promise<Outcome> {
    return new Promise((done) => this.#try({ write, since: Date.now(), done, failures: 0, timer: null }));
  }

  status(): WritesStatus {
    const [oldest] = this.#waiting;
    return {
      waiting: this.#waiting.size,
      waitingSince: oldest?.since ?? null,
      lost: Object.fromEntries(this.#lost),
    };
  }

  /** Tries everything that waits one last time. What still cannot be written is left to the next start. */
  close(): void {
    this.#isClosed = true;
    for (const waiting of this.#waiting) this.#try(waiting);
  }

  /** False when storage could not take it. */
  #try(waiting: Waiting): boolean {
    const { write } = waiting;
    if (waiting.timer) clearTimeout(waiting.timer);
    try {
      this.#atomically(write.write);
    } catch (error) {
      if (isStorageError(error)) {
        this.#later(waiting, error);
        return false;
      }
      this.#giveUp(waiting, error);
      return true;
    }
    this.#waiting.delete(waiting);
    waiting.done('written');
    // Storage is well again: the others need not wait for their pauses to end.
    if (this.#waiting.size > 0 && !this.#isClosed) setImmediate(() => this.#tryAll());
    return true;
  }

  #tryAll(): void {
    for (const waiting of this.#waiting) if (!this.#try(waiting)) return;
  }

  #later(waiting: Waiting, error: unknown): void {
    if (waiting.failures === 0) this.#onError(error, waiting.write, false);
    this.#waiting.add(waiting);
    if (this.#isClosed) {
      this.#waiting.delete(waiting);
      return waiting.done('stopped');
    }
    const pause = Math.min(pauseMs.longest, pauseMs.first * 2 ** waiting.failures);
    waiting.failures += 1;
    waiting.timer = setTimeout(() => this.#try(waiting), pause).unref();
  }

  #giveUp(waiting: Waiting, error: unknown): void {
    const { write, done } = waiting;
    this.#waiting.delete(waiting);
    this.#lost.set(write.what, (this.#lost.get(write.what) ?? 0) + 1);
    this.#onError(error, write, true);
    void this.#replace(write).finally(() => done('lost'));
  }

  async #replace({ instead = [] }: Write): Promise<void> {
    await Promise.all(instead.map((other) => this.commit(other)));
  }
}
