import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import BetterSqlite3, { type Database } from 'better-sqlite3';

/* What the crash driver (tests/crash.test.ts) holds the database and the disk against, after the appliance died. */

/** How far the rows that only grow were checked; the next check goes on from there. */
export interface Checked {
  readonly entry: number;
  readonly usage: number;
}

/** Runs `look` with the database of an appliance, read-only, and closes it again: no later start meets an open one. */
export function withDatabase<Found>(folder: string, look: (db: Database) => Found): Found {
  const db = new BetterSqlite3(join(folder, 'kilnhouse.db'), { readonly: true });
  try {
    return look(db);
  } finally {
    db.close();
  }
}

/**
 * After every kill: what is new since the last check, and every sum that is kept beside the rows it adds up. Reads each
 * row of the ledger and of the usage once, so that the hundredth kill costs what the first did. Returns what is wrong.
 */
export function faultsSince(db: Database, { entry, usage }: Checked): string[] {
  const unmatched = db.prepare<unknown[], string>(
    `select 'L10: entry ' || entry.id from ledger_entries entry join ledger_entries hold on hold.sequence = entry.hold
       where entry.sequence > ? and entry.kind = 'post' and entry.posted < 0
         and (select count(*) from usage where id = hold.id and credits > 0 and credits = -entry.posted) <> 1
     union all
     select 'L10: usage ' || id from usage
       where sequence > ? and credits > 0 and not exists (select 1 from ledger_entries where id = usage.id || ':post')
     union all
     select 'L4: hold ' || hold from ledger_entries where hold in (select hold from ledger_entries where sequence > ?)
       group by hold having count(*) > 1
     union all
     select 'job ' || id from jobs where credits > 0 and finished_at is not null
       and (select count(*) from usage where id = jobs.id and usage.credits > 0 and usage.credits = jobs.credits) <> 1
     union all
     select 'storage of ' || tenant from storage where bytes <> (
       select coalesce((select sum(bytes) from artefacts where tenant = storage.tenant), 0)
         + coalesce((select sum(bytes) from uploads where tenant = storage.tenant), 0)
         + coalesce((select sum(length(answer)) from idempotency where tenant = storage.tenant), 0))
     union all
     select 'J3: jobs of two boots run' where
       (select count(distinct boot) from jobs where state in ('starting', 'processing')) > 1`,
  );
  return unmatched.pluck().all(entry, usage, entry);
}

export function checkedUpTo(db: Database): Checked {
  const last = (table: string): number =>
    db.prepare<[], number>(`select coalesce(max(sequence), 0) from ${table}`).pluck().get() ?? 0;
  return { entry: last('ledger_entries'), usage: last('usage') };
}

/** At intervals and at the end: the file page by page, and what `faultsSince` looks at from the first row on. */
export function faultsOfAll(db: Database): string[] {
  const days = db.prepare<[], string>(
    `select 'days of ' || tenant from (
         select tenant, sum(requests) as requests, sum(credits) as credits from usage_daily group by 1) sums
       where (requests, credits) <> (select count(*), sum(credits) from usage where tenant = sums.tenant)`,
  );
  const integrity = db.pragma('integrity_check', { simple: true }) as string;
  const foreignKeys = db.pragma('foreign_key_check') as object[];
  return [
    ...(integrity === 'ok' ? [] : [integrity]),
    ...foreignKeys.map((one) => JSON.stringify(one)),
    ...days.pluck().all(),
    ...faultsSince(db, { entry: 0, usage: 0 }),
  ];
}

/** Rows whose file is not there, and files without a row. */
export function filesAgainstRows(folder: string): { missing: string[]; strange: string[] } {
  const known = withDatabase(folder, (db) =>
    db
      .prepare<[], string>(
        `select id from artefacts union all select thumbnail from artefacts where thumbnail is not null
         union all select id from uploads`,
      )
      .pluck()
      .all(),
  );
  const files = new Set(
    readdirSync(join(folder, 'artefacts'), { recursive: true, encoding: 'utf8' })
      .map((path) => path.split('/'))
      .filter((parts) => parts.length === 3)
      .map(([, , name = '']) => name),
  );
  const missing = known.filter((id) => !files.has(id));
  for (const id of known) files.delete(id);
  return { missing, strange: [...files] };
}
