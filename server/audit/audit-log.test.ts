import type { Database } from 'better-sqlite3';
import { beforeEach, describe, expect, test } from 'vitest';
import { openDatabase } from '../db/open.ts';
import { type Actor, AuditLog } from './audit-log.ts';

const ann: Actor = { kind: 'user', id: 'usr_ann', address: '192.0.2.7', requestId: 'r1' };
const operator: Actor = { kind: 'operator', id: null, address: '127.0.0.1', requestId: 'r2' };
let db: Database;
let audit: AuditLog;

beforeEach(() => {
  db = openDatabase(':memory:');
  audit = new AuditLog(db);
  audit.add(ann, { action: 'key.create', target: 'key_1', tenant: 'ten_1', after: { models: null } });
  audit.add(operator, { action: 'tenant.change', target: 'ten_1', tenant: 'ten_1', reason: 'asked for it' });
  audit.add(ann, { action: 'key.revoke', target: 'key_1', tenant: 'ten_1' });
  audit.add({ ...ann, id: 'usr_bob' }, { action: 'key.create', target: 'key_2', tenant: 'ten_2' });
});
const actions = (filter: Parameters<AuditLog['page']>[0]): string[] =>
  audit.page(filter, undefined, 100).map(({ action, target }) => `${action} ${target}`);

describe('L6: nothing that was written changes or goes', () => {
  test.each([
    ["update audit set action = 'x'"],
    ["update audit set actor = 'somebody'"],
    ["update audit set address = '192.0.2.8'"],
    ['update audit set before = null, after = null'],
    ['update audit set address = null, reason = null'],
    ['delete from audit'],
  ])('%s', (sql) => {
    expect(() => db.exec(sql)).toThrow('append-only');
  });
});

test('filtered by tenant, actor, action, kind of action and time', () => {
  expect(actions({})).toHaveLength(4);
  expect(actions({ tenant: 'ten_1', action: 'key.*' })).toEqual(['key.revoke key_1', 'key.create key_1']);
  expect(actions({ actor: 'usr_bob' })).toEqual(['key.create key_2']);
  expect(actions({ action: 'tenant.change' })).toEqual(['tenant.change ten_1']);
  expect(actions({ from: Date.now() + 1_000 })).toEqual([]);
  expect(actions({ until: Date.now() + 1_000 })).toHaveLength(4);
});

test('F47: what stands for anything elsewhere stands for itself here', () => {
  for (const action of ['%', '_ey.create', 'key%', "' or 1=1 --"]) expect(actions({ action })).toEqual([]);
});

test('page by page, and all of it, are the same', () => {
  const [first] = audit.page({}, undefined, 1);
  expect([first, ...audit.page({}, first?.sequence, 100)]).toEqual([...audit.all({})]);
});

test('of a person who is forgotten the addresses go, and what was done stays', () => {
  audit.forgetAddresses({ user: 'usr_ann' }, 50);
  const of = (actor: string) => audit.page({ actor }, undefined, 100).map(({ address }) => address);
  expect(of('usr_ann')).toEqual([null, null]);
  expect(of('usr_bob')).toEqual(['192.0.2.7']);
  audit.forgetAddresses({ tenant: 'ten_2' }, 50);
  expect(of('usr_bob')).toEqual([null]);
  expect(actions({})).toHaveLength(4);
});
