import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';
import { picture } from './picture-files.ts';

/* The programs in the documentation, as they are written there. */
const run = promisify(execFile);
const text = readFileSync(fileURLToPath(new URL('../docs/jobs.md', import.meta.url)), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-docs-'));
let appliance: TestAppliance;

beforeAll(async () => {
  appliance = await TestAppliance.start({ speed: 50 });
  await appliance.ready();
  writeFileSync(join(folder, 'photo.png'), await picture('png', { width: 128, height: 128 }));
});
afterAll(async () => {
  await appliance.stop();
});

/** The program in a language: the one block of it. */
function program(language: string): string {
  const found = [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].filter(([, name]) => name === language);
  expect(found, language).toHaveLength(1);
  return found[0]?.[2] ?? '';
}

test.each([
  ['sh', 'bash', ['-e', 'example.sh']],
  ['js', process.execPath, ['example.mjs']],
  ['python', 'python3', ['example.py']],
])('docs/jobs.md, %s', async (language, command, args) => {
  writeFileSync(join(folder, args.at(-1) ?? ''), program(language));
  const env = {
    PATH: process.env['PATH'],
    HOME: folder,
    KILNHOUSE: appliance.tenantUrl,
    KILNHOUSE_KEY: appliance.key,
  };
  const { stdout } = await run(command, args, { cwd: folder, env, timeout: 60_000 });
  if (language === 'sh') {
    expect(stdout).toContain('event: end');
    expect(stdout).toContain('"dryRun":true');
    const zip = readFileSync(join(folder, 'pictures.zip'));
    expect(zip.subarray(0, 2).toString()).toBe('PK');
    expect(zip.includes('picture-2.png')).toBe(true);
    return;
  }
  const made = readdirSync(folder).filter((name) => name.startsWith(language === 'js' ? 'node-' : 'python-'));
  expect(made).toHaveLength(2);
  for (const name of made)
    expect(await sharp(join(folder, name)).metadata()).toMatchObject({ format: 'png', width: 128 });
  expect(stdout).toContain('picture-2.png');
});
