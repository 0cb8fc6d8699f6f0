import { expect, test } from 'vitest';
import { QueuePlaces } from './queue-places.ts';

test('a list of 1,000 queued jobs reads the queue once, not once for each', () => {
  const ids = Array.from({ length: 1_000 }, (_, i) => `job-${i}`);
  let reads = 0;
  const places = new QueuePlaces(() => {
    reads += 1;
    return ids;
  });
  for (const [place, id] of ids.entries()) expect(places.before(id, place / 10)).toBe(place);
  expect(reads).toBe(1);
});

test('what came since is last; what left is gone with the next reading', () => {
  const ids = ['a', 'b'];
  const places = new QueuePlaces(() => [...ids]);
  expect(places.before('b', 0)).toBe(1);
  ids.shift();
  ids.push('c');
  expect(places.before('c', 1)).toBe(2);
  expect(places.before('b', 2)).toBe(0);
  expect(places.before('c', 2)).toBe(1);
});
