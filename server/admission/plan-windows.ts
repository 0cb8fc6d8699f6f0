import { ApiError } from '../http/api-error.ts';
import type { Tenant } from '../tenants/tenant.ts';
import { type RateState, RateWindows } from './rate-window.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** What a plan bounds beside its requests: the field of the plan, and the window that it is counted in. */
const kinds = {
  uploads: { field: 'uploadsPerMinute', windowMs: minuteMs, every: 'a minute' },
  images: { field: 'imagesPerHour', windowMs: hourMs, every: 'an hour' },
  downloads: { field: 'downloadsPerHour', windowMs: hourMs, every: 'an hour' },
} as const;
export type PlanWindow = keyof typeof kinds;

/** Uploads, images and downloads of each tenant, counted in windows of their own (design, section 6). */
export class PlanWindows {
  readonly #windows = {
    uploads: new RateWindows(kinds.uploads.windowMs),
    images: new RateWindows(kinds.images.windowMs),
    downloads: new RateWindows(kinds.downloads.windowMs),
  };

  /** Counts some of a kind. Throws an ApiError, and counts none, where that is more than the plan allows. */
  take(kind: PlanWindow, tenant: Tenant, count = 1): void {
    this.demand(kind, tenant, count);
    const { field } = kinds[kind];
    this.#windows[kind].take(tenant.id, tenant.limits[field], performance.now(), count);
  }

  /** The same, and counts nothing. */
  demand(kind: PlanWindow, { id, limits: plan }: Tenant, count = 1): void {
    const { field, every } = kinds[kind];
    const most = plan[field];
    const state = this.#windows[kind].peek(id, most, performance.now(), count);
    if (state.allowed) return;
    const when = count > most ? 'Ask for fewer.' : `Try again in ${Math.ceil(state.retryAfterMs / 1000)} s.`;
    throw new ApiError(
      'rate_limit_exceeded',
      `More than ${most} ${kind} ${every} (limit: ${kind}). ${when}`,
      state,
    );
  }

  peek(kind: PlanWindow, { id, limits: plan }: Tenant): RateState {
    return this.#windows[kind].peek(id, plan[kinds[kind].field], performance.now());
  }

  /** What was counted before this process began (T5). */
  preload(kind: PlanWindow, counts: readonly { readonly tenant: string; readonly count: number }[]): void {
    for (const { tenant, count } of counts) this.#windows[kind].preload(tenant, count, performance.now());
  }
}
