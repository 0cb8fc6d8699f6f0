import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';

/** Another appliance already uses the data folder. */
export class AlreadyRunning extends Error {
  override readonly name = 'AlreadyRunning';
}

/**
 * Holds the data folder for this process. The lock is the operating system's, on an empty SQLite file: it ends with
 * the process, however that ends, so there is never a stale one to clear away.
 */
export function lockFolder(folder: string): { release(): void } {
  const db = new BetterSqlite3(join(folder, 'instance.lock'), { timeout: 0 });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    db.exec('begin exclusive');
  } catch (error) {
    db.close();
    if (error instanceof BetterSqlite3.SqliteError && error.code.startsWith('SQLITE_BUSY')) {
      throw new AlreadyRunning(
        `Another Kilnhouse already runs on ${folder}. Stop it first, or give this one another folder (KILNHOUSE_DATA).`,
      );
    }
    throw error;
  }
  return { release: () => db.close() };
}
