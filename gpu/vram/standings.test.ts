import { expect, test } from 'vitest';
import type { Standing } from './explain.ts';
import { Standings } from './standings.ts';
import type { Work } from './work.ts';

function work(id: string, modelId = 'm'): Work {
  return { id, modelId, tenant: 't', weight: 1, concurrency: 1, lane: 'interactive', costMs: 1, since: 0 };
}

function standingsOf(queue: readonly Work[]): Standing[] {
  return queue.map((one, i) => ({ work: one, position: i + 1, etaMs: i * 10, reason: 'engine_busy' }));
}

test('1,500 people who wait and ask every 15 seconds: the queue is explained ten times in that time, not 1,500', () => {
  const queue = Array.from({ length: 1_500 }, (_, i) => work(`w${i}`));
  let explained = 0;
  const standings = new Standings(() => {
    explained += 1;
    return standingsOf(queue);
  });
  for (const [i, one] of queue.entries())
    expect(standings.of(one, queue.length, i * 10).position).toBe(i + 1);
  expect(explained).toBe(10);
});

test('who came since the queue was explained stands last for its model, and the next account has its place', () => {
  const queue = Array.from({ length: 100 }, (_, i) => work(`w${i}`));
  let explained = 0;
  const standings = new Standings(() => {
    explained += 1;
    return standingsOf(queue);
  });
  standings.of(queue[0]!, 100, 0);
  const late = work('late');
  queue.unshift(late);
  expect(standings.of(late, 101, 1)).toMatchObject({ position: 101, etaMs: 990, work: late });
  expect(explained).toBe(1);
  expect(standings.of(late, 101, 100).position).toBe(1);
});

test('the first to wait for a model is not told the place of others', () => {
  const queue = [work('a')];
  const standings = new Standings(() => standingsOf(queue));
  standings.of(queue[0]!, 1, 0);
  const other = work('b', 'other');
  queue.unshift(other);
  expect(standings.of(other, 1, 0).position).toBe(1);
});
