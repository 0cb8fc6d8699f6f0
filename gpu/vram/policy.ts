import type { Lane } from './work.ts';

/**
 * The numbers behind the order of work. Defaults were chosen with `npm run bench` (the scheduler's simulation);
 * docs/decisions/0003-when-to-swap.md says how and what was tried.
 */
export interface Policy {
  /**
   * How much waiting it takes to pay for a swap: the waiters' seconds, per second of swap and per person who is
   * kept waiting by it.
   */
  readonly swapPatience: number;
  /** How much a running request counts beside a waiting one: it is only kept from its successor. */
  readonly runningWeight: number;
  /** How many of one tenant's waiters count towards pressure, so that a flood does not buy a swap. */
  readonly waitersPerTenant: number;
  /**
   * A model that was swapped in while others wait first serves this many times the cost of the swap there and
   * back, in GPU time, as long as it has work; by the lane of that work. Without it overload turns into thrashing.
   */
  readonly visitFactor: Readonly<Record<Lane, number>>;
  /** A visit is over after this many times its length by the clock, however little was served. */
  readonly visitClock: number;
  /** How much a second of waiting weighs, by lane. */
  readonly laneWeight: Readonly<Record<Lane, number>>;
  /**
   * The backstop, by lane: nobody who is admitted waits longer than this for a swap to begin, counted from the tenant's
   * last turn on that model. Only a visit that has begun is used first.
   */
  readonly maxWaitMs: Readonly<Record<Lane, number>>;
  /** Batch work that has waited this long is served in turn with interactive work. */
  readonly batchTurnMs: number;
  /** A model nobody used for this long is unloaded; null keeps it. */
  readonly idleUnloadMs: number | null;
}

export const defaultPolicy: Policy = {
  swapPatience: 1,
  runningWeight: 0.3,
  waitersPerTenant: 4,
  visitFactor: { interactive: 3.5, batch: 2 },
  visitClock: 1.5,
  laneWeight: { interactive: 1, batch: 0.25 },
  maxWaitMs: { interactive: 60_000, batch: 10 * 60_000 },
  batchTurnMs: 120_000,
  idleUnloadMs: null,
};
