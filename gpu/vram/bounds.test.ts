import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defaultQueueLimits, overflow, roomForShares } from './bounds.ts';
import { type Work, WorkQueue } from './work.ts';

let next = 0;
function work(tenant: string, costMs: number): Work {
  next += 1;
  const base = { weight: 1, concurrency: 2, modelId: 'm', lane: 'interactive' as const, since: 0 };
  return { id: `w${next}`, tenant, costMs, ...base };
}

const limits = { ...defaultQueueLimits, totalMs: { interactive: 100, batch: 100 } };

describe('a full queue', () => {
  test('refuses who filled it, and takes in who did not', () => {
    const queue = new WorkQueue();
    for (let i = 0; i < 9; i += 1) queue.add(work('hog', 10));
    queue.add(work('guest', 5));
    expect(overflow(queue, work('hog', 10), limits)).toEqual({
      limit: 'queue',
      overShare: true,
      retryAfterMs: 5,
    });
    expect(overflow(queue, work('guest', 10), limits)).toBeNull();
    expect(overflow(queue, work('newcomer', 10), limits)).toBeNull();
  });

  test('ends at one and a half times its bound, for everybody', () => {
    const queue = new WorkQueue();
    for (let i = 0; i < 15; i += 1) queue.add(work(`t${i}`, 10));
    expect(overflow(queue, work('newcomer', 10), limits)).toEqual({
      limit: 'queue',
      overShare: false,
      retryAfterMs: 10,
    });
  });

  test('takes in what is larger than the whole bound when nothing else waits', () => {
    expect(overflow(new WorkQueue(), work('t', 1_000), limits)).toBeNull();
  });

  test('a tenant that has filled its own bound is refused whatever the others do', () => {
    const queue = new WorkQueue();
    queue.add(work('t', 40));
    const own = { ...limits, perTenantMs: { interactive: 50, batch: 50 } };
    expect(overflow(queue, work('t', 20), own)).toMatchObject({ limit: 'tenant_queue', retryAfterMs: 10 });
  });
});

test('whoever comes in whatever order: nobody within its share is refused below one and a half times the bound', () => {
  const ask = fc.record({
    tenant: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    costMs: fc.integer({ min: 1, max: 30 }),
    leaves: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(ask, { maxLength: 80 }), (asks) => {
      const queue = new WorkQueue();
      for (const { tenant, costMs, leaves } of asks) {
        const before = queue.costMs('interactive');
        const own = queue.costMs('interactive', tenant);
        const one = work(tenant, costMs);
        const refusal = overflow(queue, one, limits);
        if (before + costMs <= 100) expect(refusal).toBeNull();
        else if (before > 0 && before + costMs > 100 * roomForShares) expect(refusal).not.toBeNull();
        else if (refusal) {
          const waiting = new Set(queue.all().map((other) => other.tenant)).add(tenant).size;
          expect(own).toBeGreaterThan(0);
          expect(own + costMs).toBeGreaterThan(100 / waiting);
        }
        if (refusal) expect(refusal.retryAfterMs).toBeGreaterThan(0);
        else queue.add(one);
        const [first] = queue.all();
        if (leaves && first) queue.remove(first.id);
      }
    }),
  );
});
