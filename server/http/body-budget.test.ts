import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ApiError } from './api-error.ts';
import { BodyBudget, type HeldBody } from './body-budget.ts';

const bounds = { tenantBytes: 100, addressBytes: 20, totalBytes: 250, retryAfterMs: 2_000 };
const tenant = (id: string) => ({ kind: 'tenant', id }) as const;

function codeOf(take: () => void): string | null {
  try {
    take();
    return null;
  } catch (error) {
    return error instanceof ApiError ? `${error.status} ${error.code}` : 'another error';
  }
}

test('J7: one tenant, one address and all together have their bounds, which come back with the answer', () => {
  const budget = new BodyBudget(bounds);
  const first = budget.hold(tenant('a'));
  first.add(60);
  expect(codeOf(() => budget.hold(tenant('a')).add(41))).toBe('429 concurrency_exceeded');
  expect(codeOf(() => budget.hold({ kind: 'address', id: 'a' }).add(21))).toBe('429 concurrency_exceeded');
  for (const id of ['b', 'c']) budget.hold(tenant(id)).add(90);
  expect(codeOf(() => budget.hold(tenant('d')).add(20))).toBe('503 queue_full');
  first.release();
  first.release();
  expect(codeOf(() => budget.hold(tenant('a')).add(70))).toBeNull();
});

test('J7: whatever comes and goes, no bound is passed and nothing stays behind', () => {
  const step = fc.record({ owner: fc.integer({ min: 0, max: 5 }), bytes: fc.integer({ min: 0, max: 120 }) });
  fc.assert(
    fc.property(fc.array(fc.oneof(step, fc.constant('release' as const)), { maxLength: 60 }), (steps) => {
      const budget = new BodyBudget(bounds);
      const open: HeldBody[] = [];
      for (const one of steps) {
        if (one === 'release') open.shift()?.release();
        else {
          const held = budget.hold(tenant(String(one.owner)));
          open.push(held);
          codeOf(() => held.add(one.bytes));
        }
        expect(budget.totalBytes).toBeLessThanOrEqual(bounds.totalBytes);
      }
      for (const held of open) held.release();
      expect(budget.totalBytes).toBe(0);
    }),
  );
});
