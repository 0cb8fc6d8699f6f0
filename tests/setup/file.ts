import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, vi } from 'vitest';

/*
 * Before each test file. Its temp folder is its own and gone with it; KEEP=1 keeps that of a file which failed and says
 * where it is. This is the one place where folders of tests are removed.
 */
const folder = mkdtempSync(join(tmpdir(), 'file-'));
for (const name of ['TMPDIR', 'TEMP', 'TMP']) process.env[name] = folder;

// Registered first, so it runs last: the appliances of the file have ended.
// oxlint-disable-next-line no-empty-pattern -- Vitest reads there which fixtures are wanted
afterAll(({}, file) => {
  if (process.env['KEEP'] === '1' && file.tasks.some(({ result }) => result?.state === 'fail')) {
    writeFileSync(join(dirname(folder), 'kept'), `${folder}\n`, { flag: 'a' });
    process.stderr.write(`Kept: ${folder}\n`);
    return;
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

/*
 * A wait ends when its condition holds. Its deadline only ends a test that fails anyway, so it leaves room for a machine
 * that is busy with something else: none is shorter than this, Vitest's own second neither.
 */
const deadlineMs = 15_000;
const { waitFor } = vi;
vi.waitFor = (callback, options = {}) => {
  const { timeout = 0, interval } = typeof options === 'number' ? { timeout: options } : options;
  return waitFor(callback, {
    timeout: Math.max(deadlineMs, timeout),
    ...(interval !== undefined && { interval }),
  });
};
