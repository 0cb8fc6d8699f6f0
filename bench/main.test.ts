import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const main = fileURLToPath(new URL('main.ts', import.meta.url));

test('a word that names no benchmark is an error that lists those there are, and nothing is run', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'scheduler', 'nothing'], {
    encoding: 'utf8',
  });
  expect([status, stdout]).toEqual([1, '']);
  expect(stderr.trim()).toBe(
    'There is no benchmark "nothing". These can be run: scheduler, requests, streams, idle, money, jobs, console.',
  );
});
