import { existsSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import beginRun from './setup/run.ts';

test('a run of the tests that leaves something behind fails, and it is gone all the same', () => {
  const before = tmpdir();
  const endRun = beginRun();
  const planted = mkdtempSync(join(tmpdir(), 'kilnhouse-planted-'));
  expect(dirname(dirname(planted))).toBe(before);
  expect(endRun).toThrow(/kilnhouse-planted-.* in the temp folder/);
  expect([tmpdir(), existsSync(planted)]).toEqual([before, false]);
});

test('one that leaves nothing passes, and its folder is gone', () => {
  const endRun = beginRun();
  const folder = tmpdir();
  mkdirSync(join(folder, 'kept'));
  // What a file that failed asks for with KEEP=1 stays.
  endRun();
  expect(existsSync(folder)).toBe(true);
  const endAnother = beginRun();
  const another = tmpdir();
  endAnother();
  expect(existsSync(another)).toBe(false);
});
