import { expect, test } from 'vitest';
import { spillLimits, SpillWatch } from './spill.ts';

function warmed(): SpillWatch {
  const watch = new SpillWatch();
  for (let i = 0; i < spillLimits.needed; i += 1) watch.observe(100, 0.8);
  return watch;
}

test('twice in a row much slower, with the card full, is a spill', () => {
  const watch = warmed();
  expect(watch.observe(400, 0.98)).toBe(false);
  expect(watch.observe(420, 0.98)).toBe(true);
});

test('slow with room on the card is something else', () => {
  const watch = warmed();
  expect([watch.observe(900, 0.7), watch.observe(900, 0.7)]).toEqual([false, false]);
});

test('one slow piece of work is no spill, and a driver that warms up is none either', () => {
  const watch = new SpillWatch();
  expect([2_000, 1_500, 100, 100, 110].map((ms) => watch.observe(ms, 0.99))).not.toContain(true);
  const settled = warmed();
  expect([settled.observe(500, 0.99), settled.observe(100, 0.99), settled.observe(500, 0.99)]).not.toContain(
    true,
  );
});
