interface Window {
  /** When the current window began. */
  readonly start: number;
  readonly current: number;
  readonly previous: number;
}

export interface RateState {
  readonly allowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Until the window holds nothing any more. */
  readonly resetMs: number;
  /** Until the next request would be allowed; 0 when it is now. */
  readonly retryAfterMs: number;
}

/** Keys that are remembered before those that hold nothing any more are forgotten. */
const manyKeys = 10_000;

/**
 * Requests in a stretch of time (a minute unless said otherwise) by whatever they are counted by, as a sliding window
 * over two counted stretches: no burst of twice the limit at the turn, and two numbers a key. Times are monotonic
 * milliseconds.
 */
export class RateWindows {
  readonly #windows = new Map<string, Window>();
  readonly #windowMs: number;
  #forgetAt = manyKeys;

  constructor(windowMs = 60_000) {
    this.#windowMs = windowMs;
  }

  /** Counts a request, or several at once, if the limit allows them all. */
  take(key: string, limit: number, now: number, count = 1): RateState {
    const window = this.#at(key, now);
    const state = describe(window, limit, now, this.#windowMs, count);
    if (!state.allowed) return state;
    const counted = { ...window, current: window.current + count };
    this.#windows.set(key, counted);
    if (this.#windows.size > this.#forgetAt) this.#forget(now);
    return { ...describe(counted, limit, now, this.#windowMs), allowed: true };
  }

  /** Takes back the count of one that should not have counted. */
  giveBack(key: string, now: number): void {
    const window = this.#at(key, now);
    this.#windows.set(key, { ...window, current: Math.max(0, window.current - 1) });
  }

  peek(key: string, limit: number, now: number, count = 1): RateState {
    return describe(this.#at(key, now), limit, now, this.#windowMs, count);
  }

  /** What was already used when this process began, so that a restart gives nobody a new minute. */
  preload(key: string, requests: number, now: number): void {
    this.#windows.set(key, { start: now, current: 0, previous: requests });
  }

  /** Drops the keys whose windows hold nothing: anybody can make up new addresses. */
  #forget(now: number): void {
    for (const key of this.#windows.keys()) {
      const { current, previous } = this.#at(key, now);
      if (current + previous === 0) this.#windows.delete(key);
    }
    this.#forgetAt = Math.max(manyKeys, this.#windows.size * 2);
  }

  #at(key: string, now: number): Window {
    const window = this.#windows.get(key) ?? { start: now, current: 0, previous: 0 };
    const passed = Math.floor((now - window.start) / this.#windowMs);
    if (passed === 0) return window;
    return {
      start: window.start + passed * this.#windowMs,
      current: 0,
      previous: passed === 1 ? window.current : 0,
    };
  }
}

function describe(
  { start, current, previous }: Window,
  limit: number,
  now: number,
  windowMs: number,
  count = 1,
): RateState {
  const elapsed = now - start;
  const used = current + previous * (1 - elapsed / windowMs);
  const allowed = used + count <= limit;
  // Room comes as the previous window fades, or when this one becomes the previous and fades.
  const over = used + count - limit;
  const fading = previous > 0 ? (over / previous) * windowMs : Number.POSITIVE_INFINITY;
  const untilTurn = windowMs - elapsed;
  const afterTurn =
    untilTurn + (current > limit - count ? ((current - limit + count) / current) * windowMs : 0);
  return {
    allowed,
    limit,
    remaining: Math.max(0, Math.floor(limit - used)),
    resetMs: Math.ceil(current > 0 ? untilTurn + windowMs : previous > 0 ? untilTurn : 0),
    retryAfterMs: allowed ? 0 : Math.ceil(fading <= untilTurn ? fading : afterTurn),
  };
}
