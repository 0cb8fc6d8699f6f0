import { expect, test } from 'vitest';
import { FairTurns } from './fair-turns.ts';

test('S11: whoever asks for much waits behind the own work, and nobody else does', async () => {
  const turns = new FairTurns(100);
  const done: string[] = [];
  const ask = (key: string, index: number): Promise<void> =>
    turns.run(key, () => Promise.resolve(void done.push(`${key}${index}`)));
  const greedy = Array.from({ length: 20 }, (_, index) => ask('a', index));
  await Promise.all([...greedy, ask('b', 0), ask('c', 0), ask('b', 1)]);
  expect(done.slice(0, 7)).toEqual(['a0', 'a1', 'b0', 'c0', 'a2', 'b1', 'a3']);
  expect(done).toHaveLength(23);
});

test('one at a time; one that fails does not hold up the next', async () => {
  const turns = new FairTurns(100);
  let running = 0;
  let most = 0;
  const asked = Array.from({ length: 10 }, (_, index) =>
    turns.run(`${index % 3}`, async () => {
      most = Math.max(most, (running += 1));
      await Promise.resolve();
      running -= 1;
      if (index % 2 === 0) throw new Error('a fault');
    }),
  );
  const results = await Promise.allSettled(asked);
  expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(5);
  expect(most).toBe(1);
});

test('of each, only so many wait', async () => {
  const turns = new FairTurns(2);
  const open: (() => void)[] = [];
  const ask = (key: string): Promise<void> =>
    turns.run(key, () => new Promise<void>((resolve) => open.push(resolve)));
  const asked = [ask('a'), ask('a'), ask('a')];
  await expect(ask('a')).rejects.toMatchObject({ code: 'concurrency_exceeded', retryAfterMs: 2_000 });
  asked.push(ask('b'));
  for (let index = 0; index < 4; index += 1) {
    open[index]?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(asked);
});
