import BetterSqlite3, { type Database } from 'better-sqlite3';
import { demandHealth, isSmall } from './health.ts';
import { migrate } from './migrate.ts';

/** Older versions could corrupt a WAL database when two connections checkpointed at once. */
const oldestSqlite = [3, 51, 3] as const;

const utcDay = (at: number): string => new Date(at).toISOString().slice(0, 10);

/**
 * Opens the appliance's one database: WAL, and every commit on disk before it is acknowledged (the library's own
 * default in WAL mode loses commits on power loss). `localDay` says on which day a moment falls (2026-11-20), for what is
 * counted by day. Throws when the file is damaged or of a newer version.
 */
export function openDatabase(file: string, localDay: (at: number) => string = utcDay): Database {
  const db = new BetterSqlite3(file);
  try {
    assertVersion(db);
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.pragma('foreign_keys = ON');
    db.pragma('busy_timeout = 2000');
    db.pragma('journal_size_limit = 67108864');
    // What is deleted is gone from the file, not just from the lists: people have a right to that.
    db.pragma('secure_delete = ON');
    if (db.pragma('synchronous', { simple: true }) !== 2)
      throw new Error('SQLite did not take synchronous = FULL.');
    // A large one is looked through while it is served: see `lookThrough`.
    if (isSmall(file)) demandHealth(db);
    db.function('local_day', (at) => localDay(Number(at)));
    migrate(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function assertVersion(db: Database): void {
  const text = String(db.prepare('select sqlite_version()').pluck().get());
  const parts = text.split('.').map(Number);
  for (const [index, least] of oldestSqlite.entries()) {
    const part = parts[index] ?? 0;
    if (part > least) return;
    if (part < least)
      throw new Error(`SQLite ${text} is too old; ${oldestSqlite.join('.')} or newer is needed.`);
  }
}
