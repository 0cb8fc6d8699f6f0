import type { Lane, Work, WorkQueue } from './work.ts';

/** Bounds of the queue, in GPU milliseconds of waiting work. */
export interface QueueLimits {
  readonly totalMs: Readonly<Record<Lane, number>>;
  readonly perTenantMs: Readonly<Record<Lane, number>>;
}

export const defaultQueueLimits: QueueLimits = {
  totalMs: { interactive: 150_000, batch: 4 * 3_600_000 },
  perTenantMs: { interactive: 112_500, batch: 3_600_000 },
};

/** Above the total bound, those within their share are still taken in, up to this many times the bound. */
export const roomForShares = 1.5;

/** Why work is not taken in, and when there is likely to be room for it. */
export interface Overflow {
  readonly limit: 'queue' | 'tenant_queue';
  /** True where the queue is full and the tenant waits with more than its share of it. */
  readonly overShare: boolean;
  readonly retryAfterMs: number;
}

/**
 * Whether the queue is too full for this work; null when it is taken in. Once the total bound is reached, who filled
 * the queue is refused first: a tenant that would wait with more than the bound divided by the tenants that wait. The
 * others are taken in up to `roomForShares` times the bound.
 */
export function overflow(
  queue: WorkQueue,
  { lane, tenant, costMs }: Pick<Work, 'lane' | 'tenant' | 'costMs'>,
  { totalMs, perTenantMs }: QueueLimits,
): Overflow | null {
  const total = queue.costMs(lane) + costMs;
  const waitsWith = queue.costMs(lane, tenant);
  const own = waitsWith + costMs;
  // What is larger than a whole bound may still run when nothing else waits.
  if (waitsWith > 0 && own > perTenantMs[lane]) {
    return { limit: 'tenant_queue', overShare: false, retryAfterMs: own - perTenantMs[lane] };
  }
  const most = totalMs[lane];
  if (total === costMs || total <= most) return null;
  if (total > most * roomForShares) {
    return { limit: 'queue', overShare: false, retryAfterMs: total - most * roomForShares };
  }
  // A tenant with nothing in the queue did not fill it, whatever its one request costs.
  const tenants = queue.tenantsIn(lane) + (waitsWith > 0 ? 0 : 1);
  if (waitsWith === 0 || own <= most / tenants) return null;
  return { limit: 'queue', overShare: true, retryAfterMs: total - most };
}
