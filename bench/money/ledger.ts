import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database } from 'better-sqlite3';
import { openDatabase } from '../../server/db/open.ts';
import { Ledger } from '../../server/ledger/ledger.ts';
import { proveLedger } from '../../server/ledger/proof.ts';
import { Offers } from '../../server/offers/offers.ts';
import { newApiKey } from '../../server/tenants/api-key.ts';
import { Directory } from '../../server/tenants/directory.ts';
import { FileTenants } from '../../server/tenants/file-tenants.ts';
import { KeyStore } from '../../server/tenants/key-store.ts';
import { TenantStore } from '../../server/tenants/tenant-store.ts';
import { printTable } from '../table.ts';

/** Runs on a database file of its own, as the appliance opens it. */
function withDatabase<Result>(run: (db: Database, file: string) => Result): Result {
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-bench-money-'));
  const file = join(folder, 'kilnhouse.db');
  const db = openDatabase(file);
  try {
    return run(db, file);
  } finally {
    db.close();
    rmSync(folder, { recursive: true });
  }
}

/** Times one thing again and again, for so long. */
function timed(
  seconds: number,
  once: (round: number) => void,
): { perSecond: number; p50Ms: number; p99Ms: number } {
  const times: number[] = [];
  const began = performance.now();
  while (performance.now() - began < seconds * 1000) {
    const start = performance.now();
    once(times.length);
    times.push(performance.now() - start);
  }
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { perSecond: times.length / ((performance.now() - began) / 1000), p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Hold and post, each a commit on disk, beside the least that two commits can be. */
export function benchPairs(): void {
  const [bare, ours] = withDatabase((db) => {
    db.exec('create table bare (id integer primary key, text text not null) strict');
    const insert = db.prepare('insert into bare (text) values (?)');
    const change = db.prepare('update bare set text = ? where id = ?');
    const ledger = new Ledger(db);
    ledger.grant({ id: 'g', account: 'a', credits: 1_000_000_000, reason: 'bench' });
    const two = (): void => {
      const { lastInsertRowid } = insert.run('hold');
      change.run('post', lastInsertRowid);
    };
    let pairs = 0;
    const pair = (): void => {
      const id = `h${(pairs += 1)}`;
      ledger.hold({ id, account: 'a', credits: 2, reason: 'image', about: { feature: 'image', model: 'm' } });
      ledger.post(id, 1);
    };
    timed(0.5, two);
    timed(0.5, pair);
    // In turns, so that what else the machine does falls on both alike.
    const rounds = [0, 1, 2].map(() => [timed(2, two), timed(2, pair)] as const);
    const middle = (which: 0 | 1) =>
      rounds.map((round) => round[which]).toSorted((a, b) => a.perSecond - b.perSecond)[1] ??
      rounds[0]?.[which];
    return [middle(0), middle(1)];
  });
  const base = bare?.perSecond ?? 1;
  printTable(
    'Hold and post, two commits, WAL with synchronous FULL (median of 3 x 2 s)',
    [
      { what: 'an insert and an update of a bare table', ...bare },
      { what: 'the ledger', ...ours },
    ].map(({ what, perSecond = 0, p50Ms = 0, p99Ms = 0 }) => ({
      what,
      'pairs/s': perSecond,
      relative: perSecond / base,
      'p50 ms': p50Ms,
      'p99 ms': p99Ms,
    })),
  );
}

/** Who a key belongs to, among a hundred thousand. */
export function benchKeys(count = 100_000): void {
  withDatabase((db) => {
    db.pragma('synchronous = OFF');
    const offers = new Offers(db);
    const tenants = new TenantStore(db, offers);
    const keys = new KeyStore(db, () => undefined);
    const directory = new Directory({ db, files: new FileTenants(), tenants, keys });
    const made = db.transaction(() =>
      Array.from({ length: count / 100 }, (_, company) => {
        const { id } = tenants.create({ name: `Company ${company}`, plan: 'pro' });
        return Array.from({ length: 100 }, () => keys.create({ tenant: id, createdBy: null, name: 'k' }).key);
      }).flat(),
    )();
    const pick = (): string => made[Math.floor(Math.random() * made.length)] ?? '';
    const known = new Map(made.map((key) => [key, true]));
    timed(0.5, () => directory.byKey(pick()));
    const rows = [
      { what: 'a look into a map in memory', ...timed(2, () => known.get(pick())) },
      { what: 'a key that is good', ...timed(2, () => directory.byKey(pick())) },
      { what: 'a well-formed key that is not', ...timed(2, () => directory.byKey(newApiKey())) },
    ];
    keys.close();
    printTable(
      `Who a key belongs to, of ${count} keys`,
      rows.map(({ what, perSecond, p50Ms, p99Ms }) => ({
        what,
        'checks/s': perSecond,
        'p50 ms': p50Ms,
        'p99 ms': p99Ms,
      })),
    );
  });
}

/** What a start costs with so many entries: the whole database looked over by SQLite, and the ledger added up. */
export function benchProof(entries = 1_000_000): void {
  withDatabase((db, file) => {
    db.pragma('synchronous = OFF');
    const ledger = new Ledger(db);
    ledger.atomically(() => {
      for (let tenant = 0; tenant < 100; tenant += 1)
        ledger.grant({ id: `g${tenant}`, account: `ten_${tenant}`, credits: 1_000_000, reason: 'bench' });
      for (let pair = 0; pair < entries / 2; pair += 1) {
        const about = { feature: 'image', model: 'demo-sd15', by: 'key_01a1f91c13d27273897d1dfc35b59b88' };
        const id = `aac61eec-0e14-4909-a49d-${pair}`;
        ledger.hold({ id, account: `ten_${pair % 100}`, credits: 2, reason: 'image', about });
        ledger.post(id, 2);
      }
    });
    db.pragma('wal_checkpoint(TRUNCATE)');
    const began = performance.now();
    const second = openDatabase(file);
    const openedMs = performance.now() - began;
    const proof = proveLedger(second);
    const provedMs = performance.now() - began - openedMs;
    const mib = (Number(second.pragma('page_count', { simple: true })) * 4096) / 1024 ** 2;
    second.close();
    printTable(`A start with ${entries} entries`, [
      {
        'database MiB': mib,
        'opened and looked over, s': openedMs / 1000,
        'ledger added up, s': provedMs / 1000,
        faults: proof.faults.length,
      },
    ]);
  });
}
