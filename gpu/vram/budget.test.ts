import fc from 'fast-check';
import { expect, test } from 'vitest';
import { budgetBeside, budgetBytes, capacityBytes, sharesOf } from './budget.ts';

const limits = { reserveBytes: 256, marginBytes: 100, capBytes: null };

test('the budget is what is left of the card, never over the cap, never below zero', () => {
  expect(budgetBytes(8_000, 1_000, limits)).toBe(6_644);
  expect(budgetBytes(8_000, 1_000, { ...limits, capBytes: 5_000 })).toBe(5_000);
  expect(budgetBytes(8_000, 9_000, limits)).toBe(0);
  expect(capacityBytes(8_000, limits)).toBe(7_644);
});

test('a game that starts is seen at once, also while a model loads', () => {
  const seen = { reservedBytes: 5_000, ownBytes: null, isWorking: false, lastOthersBytes: 400 };
  const others = (usedBytes: number, isSettled: boolean): number =>
    sharesOf({ ...seen, usedBytes, isSettled }).othersBytes;
  expect(others(6_000, true)).toBe(1_000);
  // Loading: 5,000 reserved, 2,000 of it in use; the last settled value holds.
  expect(others(2_400, false)).toBe(400);
  // More in use than our whole reservation can explain.
  expect(others(7_000, false)).toBe(2_000);
});

test('D6: what our engines hold is never other programs’, and takes no room from what is loaded', () => {
  const amount = fc.integer({ min: 0, max: 8_000 });
  fc.assert(
    fc.property(amount, amount, amount, fc.boolean(), (reservedBytes, more, strangers, isWorking) => {
      const ownBytes = reservedBytes + more;
      const shares = sharesOf({
        usedBytes: ownBytes + strangers,
        reservedBytes,
        ownBytes,
        isSettled: true,
        isWorking,
        lastOthersBytes: 0,
      });
      expect(shares).toEqual({ othersBytes: strangers, excessBytes: more });
      const limitless = { reserveBytes: 0, marginBytes: 0, capBytes: null };
      const budget = budgetBeside(16_000, shares, reservedBytes, limitless);
      const room = budgetBytes(16_000, strangers, limitless);
      // Only strangers can make the budget smaller than what is loaded.
      if (reservedBytes <= room) expect(budget).toBeGreaterThanOrEqual(reservedBytes);
      expect(budget).toBeLessThanOrEqual(room);
    }),
  );
});

test('D6: where the driver does not say whose it is, a small rise while a picture is painted is ours', () => {
  const mib = 1024 ** 2;
  const now = { reservedBytes: 5_000 * mib, ownBytes: null, isSettled: true, lastOthersBytes: 600 * mib };
  expect(sharesOf({ ...now, usedBytes: 6_435 * mib, isWorking: true })).toEqual({
    othersBytes: 600 * mib,
    excessBytes: 835 * mib,
  });
  // A game is more than that, and nobody works at all in the second case.
  expect(sharesOf({ ...now, usedBytes: 8_000 * mib, isWorking: true }).othersBytes).toBe(3_000 * mib);
  expect(sharesOf({ ...now, usedBytes: 6_435 * mib, isWorking: false }).othersBytes).toBe(1_435 * mib);
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
