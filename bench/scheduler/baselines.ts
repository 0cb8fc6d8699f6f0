import { costs, type Job, type Kind } from './workload.ts';
import type { Contestant, Reactions, World } from './world.ts';

/*
 * The policies of the peers, as read in their sources, on the same world. Each keeps its own queue and decides
 * after every event. What the engine itself would queue (requests handed over beyond its slots) is modelled as a
 * first-in-first-out line that the policy can no longer take back.
 */

const other = (kind: Kind): Kind => (kind === 'text' ? 'image' : 'text');

/** The line inside the engine: once here, a request runs before the engine can be stopped. */
class EngineLine {
  readonly #world: World;
  readonly #line: Job[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  get busy(): boolean {
    return this.#line.length > 0 || this.#world.running.size > 0;
  }

  push(job: Job): void {
    this.#line.push(job);
    this.pump();
  }

  pump(): void {
    while (this.#world.free > 0) {
      const job = this.#line.shift();
      if (!job) return;
      this.#world.start(job);
    }
  }
}

/** llama-swap: serve the resident whatever waits; swap when it falls idle; 429 above ten a model. */
const llamaSwap: Contestant = {
  name: 'llama-swap FIFO+collate',
  attach(world) {
    const queue: Job[] = [];
    const engine = new EngineLine(world);
    const reserved: Record<Kind, number> = { text: 0, image: 0 };
    const limit = 10;
    return {
      arrived(job) {
        if (reserved[job.kind] >= limit) return world.refuse(job);
        reserved[job.kind] += 1;
        if (world.resident === job.kind && !world.swappingTo) engine.push(job);
        else queue.push(job);
      },
      finished(job) {
        reserved[job.kind] -= 1;
        engine.pump();
      },
      swapped(kind) {
        takeAll(queue, kind).forEach((job) => engine.push(job));
      },
      settle() {
        const next = queue[0];
        if (next && !engine.busy && !world.swappingTo) world.swapTo(next.kind);
      },
    };
  },
};

/** Ollama: one pending item is held until it runs; the resident takes new requests past it, without a bound. */
const ollama: Contestant = {
  name: 'Ollama head-of-line',
  attach(world) {
    const pending: Job[] = [];
    const engine = new EngineLine(world);
    return {
      arrived(job) {
        if (world.resident === job.kind && !world.swappingTo) engine.push(job);
        else pending.push(job);
      },
      finished() {
        engine.pump();
      },
      swapped() {},
      settle() {
        for (let head = pending[0]; head && !world.swappingTo; head = pending[0]) {
          if (world.resident === head.kind) {
            pending.shift();
            engine.push(head);
          } else {
            if (!engine.busy) world.swapTo(head.kind);
            return;
          }
        }
      },
    };
  },
};

/** LocalAI with one active backend: no queue; each waiter polls once a second and gives up after thirty tries. */
const localAi: Contestant = {
  name: 'LocalAI LRU=1',
  attach(world) {
    const joined: Job[] = [];
    const engine = new EngineLine(world);
    const attempt = (job: Job, tries: number): void => {
      if (world.resident === job.kind && !world.swappingTo) engine.push(job);
      else if (world.swappingTo === job.kind) joined.push(job);
      else if (!engine.busy && !world.swappingTo) {
        joined.push(job);
        world.swapTo(job.kind);
      } else if (tries >= 30) world.refuse(job);
      else world.after(1, () => attempt(job, tries + 1));
    };
    return {
      arrived: (job) => attempt(job, 0),
      finished: () => engine.pump(),
      swapped: (kind) => takeAll(joined, kind).forEach((job) => engine.push(job)),
    };
  },
};

/** SwarmUI: the loaded model first; when idle, the largest 10 x count + seconds since its first request. */
const swarmUi: Contestant = {
  name: 'SwarmUI pressure',
  attach(world) {
    const queue: Job[] = [];
    const engine = new EngineLine(world);
    const pressure = (kind: Kind): number => {
      const waiting = queue.filter((job) => job.kind === kind);
      const [first] = waiting;
      return first ? 10 * waiting.length + (world.now - first.arrivesAt) : -1;
    };
    return {
      arrived(job) {
        if (world.resident === job.kind && !world.swappingTo) engine.push(job);
        else queue.push(job);
      },
      finished: () => engine.pump(),
      swapped: (kind) => takeAll(queue, kind).forEach((job) => engine.push(job)),
      settle() {
        if (queue.length === 0 || engine.busy || world.swappingTo) return;
        world.swapTo(pressure('text') > pressure('image') ? 'text' : 'image');
      },
    };
  },
};

/** llmux: the first request for the other model closes the door; drain, swap, admit all that queued for it. */
const gated: Contestant = {
  name: 'llmux gated polling',
  attach(world) {
    const queue: Job[] = [];
    const engine = new EngineLine(world);
    return {
      arrived(job) {
        const open = !queue.some((waiting) => waiting.kind !== job.kind);
        if (world.resident === job.kind && !world.swappingTo && open) engine.push(job);
        else queue.push(job);
      },
      finished: () => engine.pump(),
      swapped: (kind) => takeAll(queue, kind).forEach((job) => engine.push(job)),
      settle() {
        const next = queue.find((job) => job.kind !== world.resident) ?? queue[0];
        if (next && !engine.busy && !world.swappingTo) {
          if (next.kind === world.resident) takeAll(queue, next.kind).forEach((job) => engine.push(job));
          else world.swapTo(next.kind);
        }
      },
    };
  },
};

/** Drain-first with a staleness bound: serve the resident, close the door after 45 s, hold each model 32 s. */
const stalenessBound: Contestant = {
  name: 'drain-first, max wait 45 s, hold 32 s',
  attach(world): Reactions {
    const queue: Job[] = [];
    let heldSince = 0;
    const served = new Map<string, number>();
    const first = (kind: Kind): Job | undefined => queue.find((job) => job.kind === kind);
    const turn = (kind: Kind): Job | undefined => {
      const waiting = queue.filter((job) => job.kind === kind);
      return waiting.toSorted((a, b) => (served.get(a.tenant) ?? 0) - (served.get(b.tenant) ?? 0))[0];
    };
    return {
      arrived(job) {
        queue.push(job);
        if (job.kind !== world.resident) {
          world.after(45, () => {});
          world.after(32, () => {});
        }
      },
      finished() {},
      swapped() {
        heldSince = world.now;
        world.after(32, () => {});
      },
      settle() {
        if (world.swappingTo) return;
        const { resident } = world;
        const rival = resident ? first(other(resident)) : queue[0];
        const idle = world.running.size === 0 && (!resident || !first(resident));
        const overdue =
          rival !== undefined && world.now - rival.arrivesAt >= 45 && world.now - heldSince >= 32;
        if (rival && (idle || (overdue && world.running.size === 0))) return world.swapTo(rival.kind);
        if (!resident || overdue) return;
        for (let job = turn(resident); job && world.free > 0; job = turn(resident)) {
          queue.splice(queue.indexOf(job), 1);
          served.set(job.tenant, (served.get(job.tenant) ?? 0) + job.runsFor / costs[job.kind].slots);
          world.start(job);
        }
      },
    };
  },
};

export const baselines: readonly Contestant[] = [llamaSwap, ollama, localAi, swarmUi, gated, stalenessBound];

/** Takes every job of a kind out of a queue, in order. */
function takeAll(queue: Job[], kind: Kind): Job[] {
  const taken = queue.filter((job) => job.kind === kind);
  const rest = queue.filter((job) => job.kind !== kind);
  queue.splice(0, queue.length, ...rest);
  return taken;
}
