import { execFile } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeEach, expect, test } from 'vitest';

const run = promisify(execFile);
const scripts = fileURLToPath(new URL('.', import.meta.url));
let clone = '';

/** A program that says that it ran. */
function program(path: string, text: string): void {
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
}

/** A clone nobody has started yet, and an npm that "installs" a vite which builds nothing. */
beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), 'kilnhouse-clone-'));
  for (const folder of ['scripts', 'renderer', 'server/contract', 'bin', 'build/console'])
    mkdirSync(join(clone, folder), { recursive: true });
  for (const name of ['bootstrap.mjs', 'keep-running.mjs'])
    copyFileSync(join(scripts, name), join(clone, 'scripts', name));
  for (const name of ['package-lock.json', 'vite.config.ts']) writeFileSync(join(clone, name), '{}');
  const vite = join(clone, 'node_modules/.bin/vite');
  program(
    join(clone, 'bin/npm'),
    `echo installed >> ${clone}/log; mkdir -p ${clone}/node_modules/.bin
     printf '#!/bin/sh\\necho built >> ${clone}/log\\n' > ${vite}; chmod +x ${vite}`,
  );
});

async function bootstrap(...args: string[]): Promise<string> {
  const env = { ...process.env, PATH: `${join(clone, 'bin')}${delimiter}${process.env['PATH']}` };
  const { stdout } = await run(process.execPath, [join(clone, 'scripts/bootstrap.mjs'), ...args], { env });
  return stdout;
}

test('a fresh clone is installed and its pages are built before the command runs; the next time neither is', async () => {
  const show = ['sh', '-c', 'cat log; echo "restarts: $KILNHOUSE_RESTARTS"'];
  expect(await bootstrap(...show)).toBe('installed\nbuilt\nrestarts: \n');
  expect(await bootstrap(...show)).toBe('installed\nbuilt\nrestarts: \n');
  writeFileSync(join(clone, 'package-lock.json'), '{"changed": true}');
  expect(await bootstrap('--keep', ...show)).toBe('installed\nbuilt\ninstalled\nbuilt\nrestarts: 1\n');
  expect(existsSync(join(clone, 'node_modules/.kilnhouse-install'))).toBe(true);
});
