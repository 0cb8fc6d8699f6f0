import { expect, test } from 'vitest';
import { lanesOf, rowsOf } from './lanes.ts';

const item = (id: string, model: string, since: number, startsAt?: number) => ({
  [id]: {
    id,
    model,
    since,
    startsAt,
    tenant: 't',
    feature: 'chat',
    lane: 'interactive',
    reason: 'engine_busy',
  },
});
const models = {
  chat: { id: 'chat', phase: 'ready', running: 2, slots: 4 },
  idle: { id: 'idle', phase: 'ready', running: 0 },
};

test('lanes by model, the longest first; in each what starts first; idle models have none', () => {
  const queue = {
    ...item('a', 'sd', 5, 900),
    ...item('b', 'sd', 4),
    ...item('c', 'sd', 9, 100),
    ...item('d', 'sd', 3),
    ...item('e', 'chat', 1, 50),
  };
  const lanes = lanesOf({ queue, models } as never);
  expect(lanes.map(({ modelId, items }) => [modelId, items.map(({ id }) => id)])).toEqual([
    ['sd', ['c', 'a', 'd', 'b']],
    ['chat', ['e']],
  ]);
  expect(lanes[1]).toMatchObject({ phase: 'ready', running: 2, slots: 4 });
  expect(rowsOf(lanes).map((row) => (row.kind === 'lane' ? row.lane.modelId : row.position))).toEqual([
    'sd',
    1,
    2,
    3,
    4,
    'chat',
    1,
  ]);
});
