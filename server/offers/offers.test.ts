import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openDatabase } from '../db/open.ts';
import { Offers } from './offers.ts';
import { allows } from './plans.ts';
import { boughtPrice, featurePrice, priceOf } from './prices.ts';

const { plans, prices, packages } = new Offers(openDatabase(':memory:'));

test('the four plans are there, with the limits that were decided', () => {
  const shown = Object.entries(plans).map(([name, plan]) => [
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

test('the three packages are there, at the prices that were decided', () => {
  const shown = Object.values(packages).map((one) => [one.name, one.priceCents, one.currency, one.credits]);
  expect(shown).toEqual([
    ['Starter', 2_900, 'usd', 100],
    ['Pro', 7_900, 'usd', 500],
    ['Enterprise', 19_900, 'usd', 2_000],
  ]);
});

test('a picture is two credits, local text is free, and tokens are charged by the started thousand', () => {
  const picture = { kind: 'image', count: 3, width: 512, height: 512, steps: 20 } as const;
  expect(priceOf(prices, picture)).toBe(6);
  expect(priceOf(prices, { kind: 'text', tokens: 5_000 })).toBe(0);
  expect(priceOf({ ...prices, text: { per1000Tokens: 3 } }, { kind: 'text', tokens: 1_001 })).toBe(4);
});

test('size and steps weigh where the operator says so', () => {
  const weighed = { ...prices, image: { each: 2, perPixels: 512 * 512, perSteps: 30 } };
  const picture = { kind: 'image', count: 1, width: 512, height: 512, steps: 30 } as const;
  expect(priceOf(weighed, picture)).toBe(2);
  expect(priceOf(weighed, { ...picture, width: 520 })).toBe(4);
  expect(priceOf(weighed, { ...picture, width: 1_024, height: 1_024, steps: 31 })).toBe(16);
});

test('what is bought elsewhere: 0.10, 0.15 and 0.20 dollars are 35, 52 and 70 credits', () => {
  expect([100_000, 150_000, 200_000].map((cost) => boughtPrice(cost, prices))).toEqual([35, 52, 70]);
  expect(boughtPrice(1, prices)).toBe(1);
});

test('L7: a price is a whole number, at least one, and never loses money by rounding twice', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000_000_000 }),
      fc.integer({ min: 1_000, max: 1_000_000 }),
      fc.integer({ min: 1, max: 1_000_000_000 }),
      (cost, markupPermille, creditMicroUsd) => {
        const credits = boughtPrice(cost, { markupPermille, creditMicroUsd });
        expect(Number.isInteger(credits)).toBe(true);
        expect(credits).toBeGreaterThanOrEqual(1);
        const exact = BigInt(cost) * BigInt(markupPermille);
        const unit = 1_000n * BigInt(creditMicroUsd);
        if (credits > 1) expect(BigInt(credits) * unit <= exact).toBe(true);
        expect(BigInt(credits + 1) * unit > exact).toBe(true);
      },
    ),
  );
});

test('a feature costs what is said, or what it is bought for; one without a price has none', () => {
  expect(featurePrice(prices, 'story-video')).toBe(10);
  expect(featurePrice(prices, 'image-to-3d')).toBe(35);
  expect(featurePrice(prices, 'nothing')).toBeNull();
});

test('what the operator changes holds from then on, after a restart too; nonsense is refused', () => {
  const db = openDatabase(':memory:');
  const offers = new Offers(db);
  let told = 0;
  offers.onChange(() => (told += 1));
  offers.replace('prices', { ...prices, text: { per1000Tokens: 1 } });
  expect(offers.prices.text.per1000Tokens).toBe(1);
  expect(told).toBe(1);
  expect(() => offers.replace('prices', { ...prices, text: { per1000Tokens: 0.5 } })).toThrow(
    'per1000Tokens',
  );
  expect(() => offers.replace('plans', {})).toThrow('plans');
  expect(new Offers(db).prices.text.per1000Tokens).toBe(1);
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
  expect(allows(patterns, model)).toBe(allowed);
});
