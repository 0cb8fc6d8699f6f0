import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { findLms, pythonIn } from './discovery.ts';

function program(path: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '');
  chmodSync(path, 0o755);
  return path;
}
const home = (): string => mkdtempSync(join(tmpdir(), 'kilnhouse-home-'));

test('lms is found where LM Studio keeps it, in its own order', () => {
  const folder = home();
  expect(findLms(folder)).toBeNull();
  const current = program(join(folder, '.lmstudio/bin/lms'));
  expect(findLms(folder)).toBe(current);
  const old = program(join(folder, '.cache/lm-studio/bin/lms'));
  expect(findLms(folder)).toBe(old);
  const moved = program(join(folder, 'elsewhere/bin/lms'));
  writeFileSync(join(folder, '.lmstudio-home-pointer'), `${join(folder, 'elsewhere')}\n`);
  expect(findLms(folder)).toBe(moved);
});

test.each(['venv/bin/python', 'venv/Scripts/python.exe'])('a web UI brings its own Python: %s', (place) => {
  const folder = home();
  expect(pythonIn(folder)).toBeNull();
  const python = program(join(folder, place));
  expect(pythonIn(folder)).toBe(python);
});
