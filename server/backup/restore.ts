import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { copyFile, cp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseChecked } from '../config/checked.ts';
import { lockFolder } from '../db/instance-lock.ts';
import { databaseName, fileSetsName, Manifest, manifestName, nameOf, settingsNames } from './manifest.ts';
import { verifyBackup } from './verify.ts';

/** A backup that cannot be restored, with what is wrong with it. Nothing was changed. */
export class NotRestorable extends Error {
  override readonly name = 'NotRestorable';
}

export interface Restored {
  readonly manifest: Manifest;
  /** Where what was there before lies now; null where there was nothing. */
  readonly before: string | null;
  /** Sets of tenants' files that were copied back. */
  readonly fileSets: number;
}

/**
 * Puts a backup in the place of what a data folder holds, which is kept beside it. The backup is read through first.
 * Rejects with NotRestorable or AlreadyRunning, and has changed nothing then.
 */
export async function restore(backup: string, dataFolder: string, now = Date.now()): Promise<Restored> {
  const manifest = manifestOf(backup);
  const faults = await verifyBackup(backup, manifest);
  if (faults.length > 0) throw new NotRestorable(`The backup ${backup} cannot be used: ${faults.join(' ')}`);
  mkdirSync(dataFolder, { recursive: true, mode: 0o700 });
  const lock = lockFolder(dataFolder);
  try {
    const before = await setAside(dataFolder, now);
    for (const name of Object.keys(manifest.files))
      await copyFile(join(backup, name), join(dataFolder, name));
    return { manifest, before, fileSets: await restoreFiles(dirname(backup), dataFolder) };
  } finally {
    lock.release();
  }
}

function manifestOf(backup: string): Manifest {
  const file = join(backup, manifestName);
  if (!existsSync(file)) throw new NotRestorable(`${backup} is no backup: it has no ${manifestName}.`);
  return parseChecked(Manifest, readFileSync(file, 'utf8'), file);
}

/** Moves the database and what goes with it into a folder of their own. */
async function setAside(dataFolder: string, now: number): Promise<string | null> {
  if (!existsSync(join(dataFolder, databaseName))) return null;
  const before = join(dataFolder, `before-restore-${nameOf(now)}`);
  mkdirSync(before, { mode: 0o700 });
  for (const name of [databaseName, `${databaseName}-wal`, `${databaseName}-shm`, ...settingsNames]) {
    if (existsSync(join(dataFolder, name))) await rename(join(dataFolder, name), join(before, name));
  }
  return before;
}

/** Copies back every set of tenants' files there is; what is still there is left as it is. */
async function restoreFiles(backups: string, dataFolder: string): Promise<number> {
  const sets = await readdir(join(backups, fileSetsName)).catch(() => []);
  for (const set of sets)
    await cp(join(backups, fileSetsName, set), join(dataFolder, 'artefacts'), {
      recursive: true,
      force: false,
    });
  return sets.length;
}

const stagedName = 'restore-at-start';

/** Has a backup restored at the next start, before anything is opened. */
export async function stage(backup: string, dataFolder: string): Promise<void> {
  await writeFile(join(dataFolder, stagedName), backup, { mode: 0o600, flush: true });
}

/** Restores what was staged, once. Resolves to null where nothing was. */
export async function restoreStaged(dataFolder: string): Promise<Restored | null> {
  const file = join(dataFolder, stagedName);
  if (!existsSync(file)) return null;
  const backup = readFileSync(file, 'utf8');
  // Taken away first: one that cannot be restored must not stop every start from now on.
  await rm(file);
  return restore(backup, dataFolder);
}
