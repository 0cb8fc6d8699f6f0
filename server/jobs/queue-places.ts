/** How long an account of the queue is used for each job in it. */
const reuseMsPerJob = 1;

/**
 * Answers how many queued jobs are before one, for lists of jobs and for everybody who watches one. The queue is read
 * as a whole, and used again for a while that grows with its length: however many ask, it is read seldom.
 */
export class QueuePlaces {
  readonly #read: () => readonly string[];
  #places: ReadonlyMap<string, number> = new Map();
  #until = Number.NEGATIVE_INFINITY;

  /** `read` gives the ids of the queued jobs, oldest first. */
  constructor(read: () => readonly string[]) {
    this.#read = read;
  }

  /** How many are before a queued job at `now` (monotonic milliseconds). Who came since the queue was read is last. */
  before(id: string, now: number): number {
    if (now >= this.#until) {
      const ids = this.#read();
      this.#places = new Map(ids.map((one, place) => [one, place]));
      this.#until = now + ids.length * reuseMsPerJob;
    }
    return this.#places.get(id) ?? this.#places.size;
  }
}
