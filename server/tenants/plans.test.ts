import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { creditsFor } from '../admission/admission.ts';
import { allowsModel, loadPlans, loadPrices } from './plans.ts';

const defaults = (name: string): string =>
  fileURLToPath(new URL(`../../resources/defaults/${name}`, import.meta.url));

test('the four plans are there, with the limits that were decided', () => {
  const plans = loadPlans(defaults('plans.json'));
  const shown = [...plans].map(([name, plan]) => [
    name,
    plan.requestsPerMinute,
    plan.concurrent,
    plan.historyDays,
  ]);
  expect(shown).toEqual([
    ['free', 10, 2, 7],
    ['pro', 100, 10, 30],
    ['plus', 500, 25, 90],
    ['enterprise', 10_000, 50, null],
  ]);
});

test('a picture is two credits, local text is free, and tokens are charged by the started thousand', () => {
  const prices = loadPrices(defaults('prices.json'));
  expect(creditsFor(prices, 5_000, 3)).toBe(6);
  expect(creditsFor({ image: 0, textPer1000Tokens: 3 }, 1_001, 0)).toBe(4);
});

test.each([
  [['*'], 'anything', true],
  [['demo-chat-8b'], 'demo-chat-8b', true],
  [['demo-chat-8b'], 'demo-chat-8bb', false],
  [['demo-*'], 'demo-chat', true],
  [['demo-*'], 'other', false],
  [['*-8b'], 'demo-chat-8b', true],
  [['a*b*c'], 'aXbYc', true],
  [['a*b*c'], 'acb', false],
  [['ab*bc'], 'abc', false],
  [[], 'anything', false],
])('%j allows %s: %s', (patterns, model, allowed) => {
  expect(allowsModel(patterns, model)).toBe(allowed);
});
