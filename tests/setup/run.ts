import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/** Where programs look for the temp folder: Unix, then Windows. */
const names = ['TMPDIR', 'TEMP', 'TMP'];
const prefix = 'kilnhouse-tests-';

/**
 * Gives a run of the tests a temp folder of its own: whatever its tests and the programs that they start ask of
 * `tmpdir()` lies in there. It is gone after the run. What lies in it at the end although each file has removed its
 * part was written by a program that outlived its test: that fails the run.
 */
export default function beginRun(): () => void {
  // Each project of a run calls this; the first one has made the folder for all.
  if (basename(tmpdir()).startsWith(prefix)) return () => undefined;
  const folder = mkdtempSync(join(tmpdir(), prefix));
  const before = names.map((name) => [name, process.env[name]] as const);
  for (const name of names) process.env[name] = folder;
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    // A file of tests failed, and its folder is wanted (KEEP=1).
    if (existsSync(join(folder, 'kept'))) return;
    const left = readdirSync(folder);
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
    if (left.length > 0)
      throw new Error(
        `The tests left ${left.join(', ')} in the temp folder: does a program that they started still run, or did an afterAll fail?`,
      );
  };
}
