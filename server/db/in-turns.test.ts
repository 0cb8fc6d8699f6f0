import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { inTurns, paced } from './in-turns.ts';

/** Counts the turns that the event loop makes while some work is done. */
async function turnsOf(work: Promise<unknown>): Promise<number> {
  let isDone = false;
  void work.finally(() => (isDone = true));
  let turns = 0;
  while (!isDone) {
    turns += 1;
    await nextTurn();
  }
  return turns;
}

test('work on many rows leaves the loop after each few of them', async () => {
  const asked: number[] = [];
  let left = 100;
  const work = inTurns(
    (most) => {
      const done = Math.min(most, left);
      left -= done;
      asked.push(done);
      return done;
    },
    { most: 7 },
  );
  expect(await turnsOf(work)).toBeGreaterThanOrEqual(14);
  expect(await work).toBe(100);
  expect(Math.max(...asked)).toBe(7);
});

test('it stops between two turns when it is told to', async () => {
  const stop = new AbortController();
  const work = inTurns(
    (most) => {
      stop.abort();
      return most;
    },
    { most: 7, signal: stop.signal },
  );
  expect(await work).toBe(7);
});

test('rows that are read as fast as they are sent leave the loop, too', async () => {
  const rows = Array.from({ length: 100 }, (_, index) => index);
  const read: number[] = [];
  const work = (async () => {
    for await (const row of paced(rows, 10)) read.push(row);
  })();
  expect(await turnsOf(work)).toBeGreaterThanOrEqual(10);
  expect(read).toEqual(rows);
});
