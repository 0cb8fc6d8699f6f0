import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig } from './config.ts';
import { discover, findLms, type Found, pythonIn } from './discovery.ts';

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

test('P4: an engine that is busy when it is looked for is found; where nobody listens there is none', async () => {
  const asked: string[] = [];
  const busy = createServer((request, response) => {
    asked.push(request.url ?? '');
    // Longer than the look at a port that does not answer, shorter than anybody's patience.
    setTimeout(() => response.end('{"lmstudio":true}'), 1_200);
  });
  await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve));
  const { port } = busy.address() as AddressInfo;
  const data = home();
  writeFileSync(join(data, 'config.json'), JSON.stringify({ lmStudio: { port }, webui: { enabled: false } }));
  const { config } = loadConfig({ KILNHOUSE_DATA: data });
  const look = (): Promise<Found> => discover(config, home());
  expect((await look()).lmStudio).toMatchObject({ running: true });
  expect(asked).toEqual(['/lmstudio-greeting']);
  await new Promise((resolve) => busy.close(resolve));
  expect((await look()).lmStudio?.running ?? false).toBe(false);
});
