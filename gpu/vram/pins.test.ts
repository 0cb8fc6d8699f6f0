import { expect, test } from 'vitest';
import { blockedByPins } from './pins.ts';

const model = (id: string, vramBytes: number, change: { engineId?: string; exclusive?: boolean } = {}) => ({
  id,
  engineId: 'lm-studio',
  exclusive: false,
  vramBytes,
  ...change,
});
const webui = { engineId: 'webui', exclusive: true };
const models = [
  model('small', 3),
  model('large', 5),
  model('huge', 40),
  model('sd', 4, webui),
  model('paint', 1, webui),
];
const blocked = (...pinned: string[]) => Object.fromEntries(blockedByPins(models, new Set(pinned), 7));

test('no pin blocks nothing', () => {
  expect(blocked()).toEqual({});
});

test('a pin blocks what does not fit beside it, and not itself; what fits nowhere is not the pin’s fault', () => {
  expect(blocked('small')).toEqual({ large: ['small'] });
});

test('pins count together', () => {
  expect(blocked('small', 'paint')).toEqual({ large: ['small', 'paint'], sd: ['paint'] });
  expect(blocked('large', 'sd')).toEqual({
    small: ['large', 'sd'],
    large: ['sd'],
    sd: ['large'],
    paint: ['sd'],
  });
});

test('a pin in an engine that holds one model at a time blocks all others of that engine', () => {
  expect(blocked('paint')).toEqual({ sd: ['paint'] });
});

test('a pin of a model that is not there blocks nothing', () => {
  expect(blocked('gone')).toEqual({});
});
