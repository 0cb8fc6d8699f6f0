const windowMs = 60_000;

interface Window {
  /** When the current minute began. */
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

/**
 * Requests a minute by tenant, as a sliding window over two counted minutes: no burst of twice the limit at the
 * turn of a minute, and two numbers a tenant. Times are monotonic milliseconds.
 */
export class RateWindows {
  readonly #windows = new Map<string, Window>();

  /** Counts a request if the limit allows it. */
  take(tenant: string, limit: number, now: number): RateState {
    const window = this.#at(tenant, now);
    const state = describe(window, limit, now);
    if (!state.allowed) return state;
    const counted = { ...window, current: window.current + 1 };
    this.#windows.set(tenant, counted);
    return { ...describe(counted, limit, now), allowed: true };
  }

  peek(tenant: string, limit: number, now: number): RateState {
    return describe(this.#at(tenant, now), limit, now);
  }

  /** What was already used when this process began, so that a restart gives nobody a new minute. */
  preload(tenant: string, requests: number, now: number): void {
    this.#windows.set(tenant, { start: now, current: 0, previous: requests });
  }

  #at(tenant: string, now: number): Window {
    const window = this.#windows.get(tenant) ?? { start: now, current: 0, previous: 0 };
    const passed = Math.floor((now - window.start) / windowMs);
    if (passed === 0) return window;
    return {
      start: window.start + passed * windowMs,
      current: 0,
      previous: passed === 1 ? window.current : 0,
    };
  }
}

function describe({ start, current, previous }: Window, limit: number, now: number): RateState {
  const elapsed = now - start;
  const used = current + previous * (1 - elapsed / windowMs);
  const allowed = used + 1 <= limit;
  // Room comes as the previous minute fades, or when this one becomes the previous and fades.
  const over = used + 1 - limit;
  const fading = previous > 0 ? (over / previous) * windowMs : Number.POSITIVE_INFINITY;
  const untilTurn = windowMs - elapsed;
  const afterTurn = untilTurn + (current > limit - 1 ? ((current - limit + 1) / current) * windowMs : 0);
  return {
    allowed,
    limit,
    remaining: Math.max(0, Math.floor(limit - used)),
    resetMs: Math.ceil(current > 0 ? untilTurn + windowMs : previous > 0 ? untilTurn : 0),
    retryAfterMs: allowed ? 0 : Math.ceil(fading <= untilTurn ? fading : afterTurn),
  };
}
