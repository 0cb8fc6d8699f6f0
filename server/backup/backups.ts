import { constants, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { copyFile, cp, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import BetterSqlite3, { type Database } from 'better-sqlite3';
import { parseChecked } from '../config/checked.ts';
import { limits } from '../contract/limits.ts';
import type { DiskSpace } from '../files/disk-space.ts';
import {
  backupName,
  databaseName,
  fileSetsName,
  Manifest,
  manifestName,
  nameOf,
  settingsNames,
} from './manifest.ts';
import { digestOf, verifyBackup, verifyDatabase } from './verify.ts';

export interface BackupParts {
  readonly db: Database;
  readonly dataFolder: string;
  /** Where backups lie: on another disk, if there is one. */
  readonly folder: string;
  readonly keepDays: number;
  readonly version: string;
  /** That of the backups' disk. */
  readonly space: Pick<DiskSpace, 'demand'>;
  readonly onError: (error: unknown) => void;
  readonly now?: () => number;
}

export interface Backup {
  readonly id: string;
  readonly manifest: Manifest;
}

const dayMs = 24 * 3_600_000;
const unfinishedEnd = '.part';

/**
 * Backups of the database, the settings and the keys once a day, of tenants' files of the last week once a week. Each
 * is read back before it counts as one, and has its name only then.
 */
export class Backups {
  readonly #parts: BackupParts;
  readonly #now: () => number;
  #running: Promise<Backup> | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(parts: BackupParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
    mkdirSync(parts.folder, { recursive: true, mode: 0o700 });
    // One that was being made when the appliance ended.
    for (const name of readdirSync(parts.folder)) {
      if (name.endsWith(unfinishedEnd)) rmSync(join(parts.folder, name), { recursive: true, force: true });
    }
  }

  /** Makes one whenever the last is a day old. Not in the first minutes: a start has enough to do. */
  start(): void {
    const look = (): void => void this.makeIfDue().catch(this.#parts.onError);
    this.#timer = setInterval(look, limits.backup.lookEveryMs).unref();
  }

  /** Resolves to null when the last is not a day old. */
  async makeIfDue(): Promise<Backup | null> {
    const all = this.list();
    const now = this.#now();
    if (now - (all[0]?.manifest.at ?? 0) < dayMs) return null;
    const lastFiles = all.find(({ manifest }) => manifest.fileSet !== null)?.manifest.at ?? 0;
    return this.make(now - lastFiles >= limits.backup.filesEveryMs);
  }

  /** Waits for one that is being made. */
  async close(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    await this.#running?.catch(() => undefined);
  }

  /** Newest first. What is not whole is not listed. */
  list(): Backup[] {
    const { folder } = this.#parts;
    return readdirSync(folder)
      .filter((name) => backupName.test(name) && existsSync(join(folder, name, manifestName)))
      .toSorted()
      .toReversed()
      .flatMap((id) => {
        const file = join(folder, id, manifestName);
        try {
          return [{ id, manifest: parseChecked(Manifest, readFileSync(file, 'utf8'), file) }];
        } catch (error) {
          this.#parts.onError(error);
          return [];
        }
      });
  }

  find(id: string): Backup | undefined {
    return this.list().find((backup) => backup.id === id);
  }

  folderOf({ id }: Backup): string {
    return join(this.#parts.folder, id);
  }

  /** Reads one back. Resolves to what is wrong with it, in words. */
  verify(backup: Backup): Promise<string[]> {
    return verifyBackup(this.folderOf(backup), backup.manifest);
  }

  /**
   * Makes one now, with or without tenants' files; whoever asks while one is being made gets that one. Rejects when it
   * cannot be trusted.
   */
  make(withFiles = true): Promise<Backup> {
    this.#running ??= this.#make(withFiles).finally(() => (this.#running = null));
    return this.#running;
  }

  async #make(withFiles: boolean): Promise<Backup> {
    const { db, dataFolder, folder, version, space } = this.#parts;
    const at = this.#now();
    const id = nameOf(at);
    const unfinished = join(folder, id + unfinishedEnd);
    space.demand((await stat(join(dataFolder, databaseName))).size);
    await mkdir(unfinished, { mode: 0o700 });
    try {
      const copy = join(unfinished, databaseName);
      // Pages at a time: others get their turn in between, and what they write is in it.
      await db.backup(copy, { progress: () => limits.backup.pagesAtOnce });
      standAlone(copy);
      const names: string[] = [databaseName];
      for (const name of settingsNames) {
        if (!existsSync(join(dataFolder, name))) continue;
        await copyFile(join(dataFolder, name), join(unfinished, name));
        names.push(name);
      }
      const { faults, schema, entries, balances } = await verifyDatabase(copy);
      if (faults.length > 0) throw new Error(`The backup does not add up: ${faults.join(' ')}`);
      const files: Manifest['files'] = {};
      for (const name of names) files[name] = await digestOf(join(unfinished, name));
      const fileSet = withFiles ? await this.#copyFiles(id, at) : null;
      const manifest: Manifest = {
        format: 1,
        at,
        version,
        schema,
        files,
        ledger: { entries, balances },
        fileSet,
      };
      await writeFile(join(unfinished, manifestName), `${JSON.stringify(manifest, null, 2)}\n`, {
        flush: true,
      });
      await rename(unfinished, join(folder, id));
      await this.#forgetOld(at);
      return { id, manifest };
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true });
      throw error;
    }
  }

  /** What tenants' files came to in the last week. Resolves to the name of the set; null where there are none. */
  async #copyFiles(id: string, at: number): Promise<string | null> {
    const { dataFolder, folder } = this.#parts;
    const from = join(dataFolder, 'artefacts');
    if (!existsSync(from)) return null;
    const since = at - limits.backup.filesEveryMs;
    await cp(from, join(folder, fileSetsName, id), {
      recursive: true,
      mode: constants.COPYFILE_FICLONE,
      filter: async (path) => {
        const found = await stat(path).catch(() => null);
        return found !== null && (found.isDirectory() || (found.mtimeMs >= since && !path.endsWith('.part')));
      },
    });
    return id;
  }

  /** Those past their days; never the newest. */
  async #forgetOld(now: number): Promise<void> {
    const { folder, keepDays } = this.#parts;
    for (const { id, manifest } of this.list().slice(1)) {
      if (now - manifest.at <= keepDays * dayMs) continue;
      await rm(join(folder, id), { recursive: true, force: true });
      if (manifest.fileSet)
        await rm(join(folder, fileSetsName, manifest.fileSet), { recursive: true, force: true });
    }
  }
}

/** Without a log beside it: a copy is one file, also where it may only be read. */
function standAlone(file: string): void {
  const copy = new BetterSqlite3(file);
  copy.pragma('journal_mode = DELETE');
  copy.close();
}
