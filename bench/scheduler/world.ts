import { costs, type Job, type Kind } from './workload.ts';

interface Outcome {
  readonly job: Job;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  readonly refused: boolean;
}

export interface Run {
  readonly outcomes: readonly Outcome[];
  readonly swaps: number;
  /** Seconds the card was stopping or loading. */
  readonly swapping: number;
}

/** A policy under test. It is told of every event and acts through the world. */
export interface Contestant {
  readonly name: string;
  attach(world: World): Reactions;
}

export interface Reactions {
  arrived(job: Job): void;
  finished(job: Job): void;
  swapped(kind: Kind): void;
  /** Called after every event, once the reactions above were. */
  settle?(): void;
}

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
}

/** A virtual clock and a card that holds text or image, never both. */
export class World {
  now = 0;
  resident: Kind | null = null;
  swappingTo: Kind | null = null;
  readonly running = new Map<number, Job>();
  /** True where the contestant keeps account of what is resident itself, and both may be. */
  together = false;
  readonly #timers: Timer[] = [];
  readonly #jobs: Job[] = [];
  readonly #started = new Map<number, number>();
  readonly #finished = new Map<number, number>();
  readonly #refused = new Set<number>();
  #reactions!: Reactions;
  #order = 0;
  #swaps = 0;
  #swapping = 0;

  after(seconds: number, fire: () => void): void {
    const timer = { at: this.now + seconds, order: (this.#order += 1), fire };
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#timers[middle];
      if (other && (other.at < timer.at || (other.at === timer.at && other.order < timer.order)))
        low = middle + 1;
      else high = middle;
    }
    this.#timers.splice(low, 0, timer);
  }

  /** Starts a job on the resident model; the engine must have a free slot. */
  start(job: Job): void {
    if (!this.together && (this.resident !== job.kind || this.swappingTo)) throw new Error('not resident');
    const alike = [...this.running.values()].filter(({ kind }) => kind === job.kind);
    if (alike.length >= costs[job.kind].slots) throw new Error('no slot');
    this.running.set(job.id, job);
    this.#started.set(job.id, this.now);
    this.after(job.runsFor, () => {
      this.running.delete(job.id);
      this.#finished.set(job.id, this.now);
      this.#reactions.finished(job);
      this.#follow(job);
    });
  }

  get free(): number {
    return this.resident && !this.swappingTo ? costs[this.resident].slots - this.running.size : 0;
  }

  refuse(job: Job): void {
    this.#refused.add(job.id);
    this.#follow(job);
  }

  #follow(job: Job): void {
    const next = job.next?.(this.now);
    if (next) this.#expect(next);
  }

  #expect(job: Job): void {
    if (job.arrivesAt >= costs.horizon) return;
    this.#jobs.push(job);
    this.after(job.arrivesAt - this.now, () => this.#reactions.arrived(job));
  }

  /** Stops what is resident and loads the other; nothing may be running. */
  swapTo(kind: Kind): void {
    if (this.running.size > 0 || this.swappingTo) throw new Error('busy');
    const seconds = (this.resident ? costs[this.resident].stop : 0) + costs[kind].load;
    if (this.resident) this.#swaps += 1;
    this.spend(seconds);
    this.swappingTo = kind;
    this.after(seconds, () => {
      this.resident = kind;
      this.swappingTo = null;
      this.#reactions.swapped(kind);
    });
  }

  countSwap(): void {
    this.#swaps += 1;
  }

  spend(seconds: number): void {
    this.#swapping += seconds;
  }

  run(contestant: Contestant, jobs: readonly Job[]): Run {
    this.#reactions = contestant.attach(this);
    for (const job of jobs) this.#expect(job);
    for (let timer = this.#timers.shift(); timer && timer.at <= costs.horizon; timer = this.#timers.shift()) {
      this.now = timer.at;
      timer.fire();
      this.#reactions.settle?.();
    }
    return {
      outcomes: this.#jobs.map((job) => ({
        job,
        startedAt: this.#started.get(job.id) ?? null,
        finishedAt: this.#finished.get(job.id) ?? null,
        refused: this.#refused.has(job.id),
      })),
      swaps: this.#swaps,
      swapping: this.#swapping,
    };
  }
}
