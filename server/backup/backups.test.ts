import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database } from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockFolder } from '../db/instance-lock.ts';
import { openDatabase } from '../db/open.ts';
import { Ledger } from '../ledger/ledger.ts';
import { Backups } from './backups.ts';
import { NotRestorable, restore, restoreStaged, stage } from './restore.ts';

const day = 24 * 3_600_000;
let data = '';
let folder = '';
let db: Database;
let ledger: Ledger;
let backups: Backups;
let now = Date.UTC(2026, 0, 1, 12);
const problems: unknown[] = [];

beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'kilnhouse-backup-'));
  folder = join(data, 'backups');
  db = openDatabase(join(data, 'kilnhouse.db'));
  ledger = new Ledger(db);
  for (const name of ['config.json', 'tenants.json']) writeFileSync(join(data, name), '{}');
  writeFileSync(join(data, 'content-key'), 'secret', { mode: 0o600 });
  now = Date.UTC(2026, 0, 1, 12);
  problems.length = 0;
  backups = new Backups({
    db,
    dataFolder: data,
    folder,
    keepDays: 30,
    version: '1',
    space: { demand: () => undefined },
    onError: (error) => problems.push(error),
    now: () => now,
  });
});
afterEach(async () => {
  await backups.close();
  db.close();
});

const grant = (id: string, credits: number): void => {
  ledger.grant({ id, account: 'a', credits, reason: 'test' });
};
/** A folder with nothing in it: another machine. */
const empty = (): string => mkdtempSync(join(tmpdir(), 'kilnhouse-restored-'));

test('one is whole, was read back, and goes onto an empty machine as it was', async () => {
  grant('g', 70);
  ledger.hold({ id: 'h', account: 'a', credits: 30, reason: 'test' });
  const made = await backups.make();
  grant('later', 5);
  expect(made.manifest.ledger).toEqual({ entries: 2, balances: 70 });
  expect(Object.keys(made.manifest.files)).toEqual([
    'kilnhouse.db',
    'config.json',
    'tenants.json',
    'content-key',
  ]);
  expect(await backups.verify(made)).toEqual([]);
  expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  const target = empty();
  const { before } = await restore(backups.folderOf(made), target);
  expect(before).toBeNull();
  expect(statSync(join(target, 'content-key')).mode & 0o777).toBe(0o600);
  const restored = openDatabase(join(target, 'kilnhouse.db'));
  expect(new Ledger(restored).balance('a')).toEqual({ posted: 70, held: 30, available: 40 });
  restored.close();
});

test('what there was before is kept beside it', async () => {
  grant('g', 70);
  const made = await backups.make();
  grant('later', 5);
  db.close();
  const { before } = await restore(backups.folderOf(made), data);
  const old = openDatabase(join(before ?? '', 'kilnhouse.db'));
  expect(new Ledger(old).balance('a').posted).toBe(75);
  old.close();
  db = openDatabase(join(data, 'kilnhouse.db'));
  expect(new Ledger(db).balance('a').posted).toBe(70);
});

test('one that is not what was written is refused, and nothing is changed', async () => {
  grant('g', 70);
  const made = await backups.make();
  appendFileSync(join(backups.folderOf(made), 'kilnhouse.db'), 'x');
  expect(await backups.verify(made)).toEqual(['kilnhouse.db is not what was written.']);
  const target = empty();
  await expect(restore(backups.folderOf(made), target)).rejects.toThrow(NotRestorable);
  expect(readdirSync(target)).toEqual([]);
  await expect(restore(target, empty())).rejects.toThrow('no backup');
});

test('not under a running appliance; one that is staged is restored once, at the next start', async () => {
  grant('g', 70);
  const made = await backups.make();
  const lock = lockFolder(data);
  await expect(restore(backups.folderOf(made), data)).rejects.toThrow('Another Kilnhouse');
  lock.release();
  await stage(backups.folderOf(made), data);
  db.close();
  expect(await restoreStaged(data)).toMatchObject({ manifest: { ledger: { balances: 70 } } });
  expect(await restoreStaged(data)).toBeNull();
  db = openDatabase(join(data, 'kilnhouse.db'));
});

test('a ledger that does not add up is not backed up over good ones', async () => {
  grant('g', 70);
  await backups.make();
  now += day;
  db.exec('drop trigger ledger_accounts_follow_entries; update ledger_accounts set posted = 99');
  await expect(backups.make()).rejects.toThrow('does not add up');
  expect(backups.list()).toHaveLength(1);
});

test('one a day, kept for thirty; files once a week, of that week', async () => {
  const artefacts = join(data, 'artefacts', 'tenant', 'job');
  mkdirSync(artefacts, { recursive: true });
  for (let days = 0; days < 45; days += 1) {
    const file = join(artefacts, `file-${days}`);
    writeFileSync(file, String(days));
    utimesSync(file, now / 1000, now / 1000);
    expect(await backups.makeIfDue()).toMatchObject({ manifest: { at: now } });
    now += day / 2;
    expect(await backups.makeIfDue()).toBeNull();
    now += day / 2;
  }
  expect(problems).toEqual([]);
  const all = backups.list();
  expect(all).toHaveLength(31);
  const sets = all.flatMap(({ manifest }) => manifest.fileSet ?? []);
  expect(sets.length).toBeGreaterThanOrEqual(4);
  expect(readdirSync(join(folder, 'files')).toSorted()).toEqual(sets.toSorted());
  const newest = join(folder, 'files', sets[0] ?? '', 'tenant', 'job');
  expect(readdirSync(newest)).toHaveLength(8);
  const target = empty();
  const { fileSets } = await restore(backups.folderOf(all[0]!), target);
  expect(fileSets).toBe(sets.length);
  expect(existsSync(join(target, 'artefacts', 'tenant', 'job', 'file-42'))).toBe(true);
});
