import fc from 'fast-check';
import { expect, test } from 'vitest';
import { budgetBytes, capacityBytes, othersBytes } from './budget.ts';

const limits = { reserveBytes: 256, marginBytes: 100, capBytes: null };

test('the budget is what is left of the card, never over the cap, never below zero', () => {
  expect(budgetBytes(8_000, 1_000, limits)).toBe(6_644);
  expect(budgetBytes(8_000, 1_000, { ...limits, capBytes: 5_000 })).toBe(5_000);
  expect(budgetBytes(8_000, 9_000, limits)).toBe(0);
  expect(capacityBytes(8_000, limits)).toBe(7_644);
});

test('a game that starts is seen at once, also while a model loads', () => {
  expect(othersBytes(6_000, 5_000, true, 400)).toBe(1_000);
  // Loading: 5,000 reserved, 2,000 of it in use; the last settled value holds.
  expect(othersBytes(2_400, 5_000, false, 400)).toBe(400);
  // More in use than our whole reservation can explain.
  expect(othersBytes(7_000, 5_000, false, 400)).toBe(2_000);
});

test('whatever is read, the budget lies between nothing and the card', () => {
  fc.assert(
    fc.property(fc.nat(1e6), fc.nat(1e6), fc.nat(1e6), fc.nat(1e6), (total, used, reserve, margin) => {
      const budget = budgetBytes(total, used, { reserveBytes: reserve, marginBytes: margin, capBytes: null });
      expect(budget).toBeGreaterThanOrEqual(0);
      expect(budget).toBeLessThanOrEqual(total);
    }),
  );
});
