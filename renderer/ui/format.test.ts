import { expect, test } from 'vitest';
import { bytes, duration, moment, percent } from './format.ts';

test.each([
  [6.4 * 1024 ** 3, '6.4 GB'],
  [256 * 1024 ** 2, '256 MB'],
  [2_048, '2 kB'],
  [3 * 1024 ** 4, '3.0 TB'],
  [null, '–'],
])('%s bytes: %s', (value, text) => expect(bytes(value)).toBe(text));

test.each([
  [850, '850 ms'],
  [4_240, '4.2 s'],
  [59_000, '59 s'],
  [185_000, '3 min 05 s'],
  [3_599_600, '1 h 00 min'],
  [7_800_000, '2 h 10 min'],
  [3 * 24 * 3_600_000, '3 days'],
  [null, '–'],
])('%s milliseconds: %s', (value, text) => expect(duration(value)).toBe(text));

test('moments say the day unless it is today, and the year unless it is this one', () => {
  const now = new Date(2026, 10, 20, 18, 0, 0).getTime();
  expect(moment(now - 3_600_000, now)).toBe('17:00:00');
  expect(moment(now - 48 * 3_600_000, now)).toBe('18 Nov, 18:00');
  expect(moment(new Date(2025, 0, 2, 3, 4).getTime(), now)).toBe('2 Jan 2025, 03:04');
  expect(percent(0.256)).toBe('26 %');
});
