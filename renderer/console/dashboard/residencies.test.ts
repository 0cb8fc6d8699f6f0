import { expect, test } from 'vitest';
import { residenciesOf } from './residencies.ts';

const step = (at: number, type: string, modelId: string, tookMs: number | null = null) => ({
  sequence: at,
  at,
  type,
  modelId,
  tookMs,
});

test('a swap: one leaves, the other comes, with what each took', () => {
  const spans = residenciesOf([
    step(0, 'load', 'chat'),
    step(8, 'loaded', 'chat', 8),
    step(20, 'drain', 'chat'),
    step(22, 'unload', 'chat'),
    step(24, 'released', 'chat', 2),
    step(24, 'load', 'sd'),
    step(30, 'loaded', 'sd', 6),
  ]);
  expect(spans).toEqual([
    { modelId: 'chat', kind: 'loading', from: 0, to: 8, tookMs: 8 },
    { modelId: 'chat', kind: 'resident', from: 8, to: 20, tookMs: null },
    { modelId: 'chat', kind: 'leaving', from: 20, to: 24, tookMs: 2 },
    { modelId: 'sd', kind: 'loading', from: 24, to: 30, tookMs: 6 },
    { modelId: 'sd', kind: 'resident', from: 30, to: null, tookMs: null },
  ]);
});

test('a door that opens again, a load that fails, and what is about work', () => {
  const spans = residenciesOf([
    step(0, 'loaded', 'chat'),
    step(1, 'drain', 'chat'),
    step(2, 'reopen', 'chat'),
    step(3, 'load', 'sd'),
    step(4, 'load_failed', 'sd'),
    step(5, 'grant', 'sd'),
  ]);
  expect(spans.map(({ modelId, kind, to }) => [modelId, kind, to])).toEqual([
    ['chat', 'resident', 1],
    ['chat', 'leaving', 2],
    ['sd', 'loading', 4],
    ['chat', 'resident', null],
  ]);
});
