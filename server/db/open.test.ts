import { closeSync, mkdtempSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { beforeEach, expect, test } from 'vitest';
import { DatabaseDamaged, isSmall, lookThrough } from './health.ts';
import { AlreadyRunning, lockFolder } from './instance-lock.ts';
import { migrate, migrations } from './migrate.ts';
import { openDatabase } from './open.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnhouse-db-'));
});

test('commits are on disk before they are acknowledged', () => {
  const db = openDatabase(join(folder, 'a.db'));
  expect(db.pragma('synchronous', { simple: true })).toBe(2);
  expect(db.pragma('journal_mode', { simple: true })).toBe('wal');
  db.close();
});

test('D5: a damaged database is refused, not served', () => {
  const file = join(folder, 'a.db');
  writeFileSync(file, 'this is no database at all, '.repeat(1_000));
  expect(() => openDatabase(file)).toThrow();
});

test('D5: a large one is looked through beside the work, and damage deep in it is found', async () => {
  const file = join(folder, 'large.db');
  const db = openDatabase(file);
  db.pragma('synchronous = OFF');
  db.exec(`create table filler (id integer primary key, text text not null);
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 80000)
    insert into filler select i, hex(randomblob(500)) from n;`);
  db.close();
  expect(isSmall(file)).toBe(false);
  const { signal } = new AbortController();
  await expect(lookThrough(file, signal)).resolves.toBeUndefined();
  const handle = openSync(file, 'r+');
  // The heads of some pages in the middle.
  for (let page = 8_000; page < 8_050; page += 1)
    writeSync(handle, Buffer.alloc(64, 0xee), 0, 64, page * 4_096);
  closeSync(handle);
  await expect(lookThrough(file, signal)).rejects.toThrow(DatabaseDamaged);
});

test('D3: the log beside the database stays bounded, and shrinks again after a long reader', () => {
  const file = join(folder, 'busy.db');
  const db = openDatabase(file);
  db.exec('create table filler (id integer primary key, data blob not null)');
  const insert = db.prepare('insert into filler (data) values (randomblob(1000000))');
  const walMib = (): number => statSync(`${file}-wal`).size / 1024 ** 2;
  let most = 0;
  for (let i = 0; i < 150; i += 1) {
    insert.run();
    most = Math.max(most, walMib());
  }
  expect(most).toBeLessThan(64);
  const reader = new BetterSqlite3(file, { readonly: true });
  reader.exec('begin');
  reader.prepare('select count(*) from filler').get();
  for (let i = 0; i < 100; i += 1) insert.run();
  expect(walMib()).toBeGreaterThan(64);
  reader.exec('commit');
  reader.close();
  for (let i = 0; i < 20; i += 1) insert.run();
  expect(walMib()).toBeLessThanOrEqual(64);
  db.close();
});

test('a database of a newer program is refused', () => {
  const file = join(folder, 'a.db');
  const db = openDatabase(file);
  db.pragma('user_version = 99');
  db.close();
  expect(() => openDatabase(file)).toThrow('version 99');
});

test('D4: a migration that fails half-way leaves the version before it', () => {
  const db = new BetterSqlite3(':memory:');
  const steps = [
    ...migrations(),
    { version: migrations().length + 1, name: 'bad', sql: 'create table t (x); nonsense;' },
  ];
  expect(() => migrate(db, steps)).toThrow();
  expect(db.pragma('user_version', { simple: true })).toBe(migrations().length);
  expect(db.prepare("select count(*) from sqlite_master where name = 't'").pluck().get()).toBe(0);
  migrate(db);
});

test('migrating twice changes nothing', () => {
  const db = openDatabase(join(folder, 'a.db'));
  const schema = (): unknown => db.prepare('select type, name, sql from sqlite_master order by name').all();
  const before = schema();
  migrate(db);
  expect(schema()).toEqual(before);
  db.close();
});

test('F8: a folder is held by one at a time, and free again afterwards', () => {
  const first = lockFolder(folder);
  expect(() => lockFolder(folder)).toThrow(AlreadyRunning);
  first.release();
  lockFolder(folder).release();
});
