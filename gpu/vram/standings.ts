import type { Standing } from './explain.ts';
import type { Work } from './work.ts';

/** How long an account of the queue is used for each piece of work in it. */
const reuseMsPerWork = 1;

/**
 * Answers many people who each ask where their one piece of work stands. To explain one is to explain the whole queue,
 * so the account is used again for a while that grows with what it cost: a millisecond for each that waits. However
 * many wait and ask, explaining takes a small share of the time.
 */
export class Standings {
  readonly #explain: () => readonly Standing[];
  readonly #known = new Map<string, Standing>();
  /** The last in line, by model. */
  readonly #last = new Map<string, Standing>();
  #until = Number.NEGATIVE_INFINITY;

  constructor(explain: () => readonly Standing[]) {
    this.#explain = explain;
  }

  /**
   * Where waiting work stands at `now` (monotonic milliseconds). Who came after the last account stands behind
   * everybody else of the `waiting` for its model until the next one.
   */
  of(work: Work, waiting: number, now: number): Standing {
    const known = now < this.#until ? this.#find(work, waiting) : undefined;
    if (known) return known;
    const standings = this.#explain();
    this.#until = now + standings.length * reuseMsPerWork;
    this.#known.clear();
    this.#last.clear();
    for (const standing of standings) {
      this.#known.set(standing.work.id, standing);
      this.#last.set(standing.work.modelId, standing);
    }
    const found = this.#find(work, waiting);
    if (!found) throw new Error(`work ${work.id} does not wait`);
    return found;
  }

  #find(work: Work, waiting: number): Standing | undefined {
    const last = this.#last.get(work.modelId);
    return this.#known.get(work.id) ?? (last && { ...last, work, position: waiting });
  }
}
