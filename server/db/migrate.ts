import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Database } from 'better-sqlite3';

interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/** The steps from an empty database to the current one, in order; one file each, `0001-name.sql`. */
export function migrations(
  folder: string = fileURLToPath(new URL('migrations', import.meta.url)),
): readonly Migration[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .toSorted()
    .map((name, index) => {
      const version = Number.parseInt(name, 10);
      if (version !== index + 1) throw new Error(`migration ${name} is out of order`);
      return { version, name, sql: readFileSync(join(folder, name), 'utf8') };
    });
}

/**
 * Brings a database up to date. Each step and its version number are one transaction, so a crash leaves either the
 * old version or the new one. A database from newer code is refused: it may hold what this code would break.
 */
export function migrate(db: Database, steps: readonly Migration[] = migrations()): void {
  const current = Number(db.pragma('user_version', { simple: true }));
  if (current > steps.length) {
    throw new Error(
      `The database is of version ${current}, and this program knows ${steps.length}. Run the newer program, or restore a backup.`,
    );
  }
  for (const { version, sql } of steps.slice(current)) {
    db.transaction(() => {
      db.exec(sql);
      db.pragma(`user_version = ${version}`);
    })();
  }
}
