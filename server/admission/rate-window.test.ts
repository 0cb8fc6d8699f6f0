import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RateWindows } from './rate-window.ts';

test('never more than the limit in any minute, however requests are spaced, and the truth about when to come back', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 1, max: 3 })), {
        minLength: 1,
        maxLength: 200,
      }),
      (limit, steps) => {
        const rates = new RateWindows();
        const taken: number[] = [];
        let now = 1_000;
        for (const [gap, wanted] of steps) {
          now += gap;
          const count = Math.min(wanted, limit);
          const state = rates.take('t', limit, now, count);
          expect(state.remaining).toBeGreaterThanOrEqual(0);
          if (state.allowed) taken.push(...Array.from({ length: count }, () => now));
          else {
            expect(state.retryAfterMs).toBeGreaterThan(0);
            expect(rates.peek('t', limit, now + state.retryAfterMs, count).allowed).toBe(true);
          }
        }
        // A sliding estimate may let a little past at the turn of a window, and never a second limit.
        for (const at of taken) {
          const within = taken.filter((other) => other >= at && other < at + 60_000).length;
          expect(within).toBeLessThanOrEqual(Math.ceil(limit * 1.5) + 1);
        }
      },
    ),
  );
});

test('tenants do not share a window, and a restart gives nobody a new one', () => {
  const rates = new RateWindows();
  rates.preload('a', 10, 0);
  expect(rates.take('a', 10, 1).allowed).toBe(false);
  expect(rates.take('b', 10, 1).allowed).toBe(true);
  expect(rates.take('a', 10, 60_001).allowed).toBe(true);
});
