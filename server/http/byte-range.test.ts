import { expect, test } from 'vitest';
import { rangeOf } from './byte-range.ts';

test.each([
  [undefined, 10, null],
  ['bytes=0-', 10, { start: 0, end: 10 }],
  ['bytes=2-3', 10, { start: 2, end: 4 }],
  ['bytes=2-99', 10, { start: 2, end: 10 }],
  ['bytes=-3', 10, { start: 7, end: 10 }],
  ['bytes=-99', 10, { start: 0, end: 10 }],
  ['bytes=10-', 10, 'unsatisfiable'],
  ['bytes=-0', 10, 'unsatisfiable'],
  ['bytes=0-', 0, 'unsatisfiable'],
  ['bytes=3-2', 10, null],
  ['bytes=0-1,3-4', 10, null],
  ['bytes=-', 10, null],
  ['lines=1-2', 10, null],
])('%s of %s bytes', (header, bytes, expected) => {
  expect(rangeOf(header, bytes)).toEqual(expected);
});
