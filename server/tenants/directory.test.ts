import type { Database } from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SessionStore } from '../accounts/session-store.ts';
import { UserStore } from '../accounts/user-store.ts';
import { openDatabase } from '../db/open.ts';
import { Offers } from '../offers/offers.ts';
import { hashApiKey, isApiKey, newApiKey } from './api-key.ts';
import { Directory } from './directory.ts';
import { FileTenants } from './file-tenants.ts';
import { KeyStore } from './key-store.ts';
import { mayUseFeature, mayUseModel } from './tenant.ts';
import { isCurrent } from './tenant.ts';
import { TenantStore } from './tenant-store.ts';
import { keyLike } from '../../tests/key-like.ts';

let db: Database;
let offers: Offers;
let tenants: TenantStore;
let keys: KeyStore;
let files: FileTenants;
let users: UserStore;
let sessions: SessionStore;
let directory: Directory;
let tenant = '';
let user = '';

beforeEach(() => {
  db = openDatabase(':memory:');
  offers = new Offers(db);
  tenants = new TenantStore(db, offers);
  keys = new KeyStore(db, () => undefined);
  users = new UserStore(db);
  sessions = new SessionStore(db, Buffer.alloc(32));
  files = new FileTenants();
  directory = new Directory({ db, files, tenants, keys });
  tenant = tenants.create({ name: 'Acme', plan: 'pro' }).id;
  user = users.create({
    tenant,
    email: 'a@acme.test',
    name: 'A',
    role: 'admin',
    passwordHash: 'x',
    emailVerifiedAt: null,
  }).id;
});
afterEach(() => {
  keys.close();
  db.close();
});

const make = (more: object = {}) => keys.create({ tenant, createdBy: user, name: 'k', ...more });

describe('T6: a key never has more rights than who made it, wherever it is used', () => {
  const may = (key: string, model: string): boolean => {
    const identity = directory.byKey(key);
    return identity !== undefined && mayUseModel(identity, model);
  };
  test('the plan, the person and the key must each allow it', () => {
    const { key } = make({ models: ['*'] });
    expect(may(key, 'big-model')).toBe(true);
    users.change(user, { models: ['small-*'] });
    expect(may(key, 'big-model')).toBe(false);
    expect(may(key, 'small-model')).toBe(true);
    tenants.change(tenant, { overrides: { models: ['small-a*'] } });
    expect(may(key, 'small-model')).toBe(false);
    expect(may(key, 'small-a')).toBe(true);
    expect(may(make({ models: ['small-b'] }).key, 'small-a')).toBe(false);
  });

  test('features as well', () => {
    const identity = directory.byKey(make({ features: ['chat'] }).key);
    expect(identity && [mayUseFeature(identity, 'chat'), mayUseFeature(identity, 'image')]).toEqual([
      true,
      false,
    ]);
  });

  test('who is disabled has no keys, and who is removed leaves none', () => {
    const { key } = make();
    users.change(user, { disabledAt: Date.now() });
    expect(directory.byKey(key)).toBeUndefined();
    users.change(user, { disabledAt: null });
    expect(directory.byKey(key)).toBeDefined();
    users.remove(user);
    expect(directory.byKey(key)).toBeUndefined();
    expect(keys.list(tenant)).toEqual([]);
  });
});

describe('A1: what is taken is gone at once', () => {
  test('10,000 times: a key that was revoked is refused on the very next use', () => {
    for (let round = 0; round < 10_000; round += 1) {
      const { key, record } = make();
      expect(directory.byKey(key)?.tenant.id).toBe(tenant);
      keys.revoke(record.id);
      expect(directory.byKey(key)).toBeUndefined();
    }
  });

  test('a key that has expired', () => {
    expect(directory.byKey(make({ expiresAt: Date.now() - 1 }).key)).toBeUndefined();
    expect(directory.byKey(make({ expiresAt: Date.now() + 60_000 }).key)).toBeDefined();
  });

  test('an identity knows when it is no longer good', () => {
    const { key, record } = make();
    const identity = directory.byKey(key);
    expect(identity && isCurrent(identity)).toBe(true);
    tenants.change(tenant, { suspendedAt: Date.now() });
    expect(identity && isCurrent(identity)).toBe(false);
    tenants.change(tenant, { suspendedAt: null });
    keys.revoke(record.id);
    expect(identity && isCurrent(identity)).toBe(false);
  });

  test('the tenant is the one of now: plan, overrides and the plans themselves', () => {
    const { key } = make();
    const concurrent = (): number | undefined => directory.byKey(key)?.tenant.limits.concurrent;
    expect(concurrent()).toBe(10);
    tenants.change(tenant, { plan: 'free' });
    expect(concurrent()).toBe(2);
    tenants.change(tenant, { overrides: { concurrent: 7 } });
    expect(concurrent()).toBe(7);
    tenants.change(tenant, { overrides: {} });
    const { free } = offers.plans;
    if (free) offers.replace('plans', { ...offers.plans, free: { ...free, concurrent: 3 } });
    expect(concurrent()).toBe(3);
  });
});

describe('rotation', () => {
  test('both keys work until the grace is over, then only the new one', () => {
    const old = make({ models: ['a*'] });
    const next = keys.rotate(old.record, 60_000);
    expect(next.record).toMatchObject({ models: ['a*'], createdBy: user, name: 'k' });
    expect(directory.byKey(old.key)).toBeDefined();
    expect(directory.byKey(next.key)).toBeDefined();
    const other = make();
    keys.rotate(other.record, 0);
    expect(directory.byKey(other.key)).toBeUndefined();
  });

  test('the grace never makes a key last longer than it would have', () => {
    const old = make({ expiresAt: Date.now() + 1_000 });
    keys.rotate(old.record, 60_000);
    expect(keys.find(old.record.id)?.expiresAt).toBe(old.record.expiresAt);
  });
});

describe('sessions', () => {
  test('a refresh token is good once, and one that comes again ends the session', () => {
    const first = sessions.begin(user, { address: '127.0.0.1', agent: null });
    const second = sessions.refresh(first.refreshToken);
    expect(second?.session).toBe(first.session);
    // Two tabs at the same moment are forgiven; later it is a thief.
    expect(sessions.refresh(first.refreshToken)).not.toBeNull();
    db.exec('update refresh_tokens set used_at = used_at - 60000 where used_at is not null');
    expect(sessions.refresh(first.refreshToken)).toBeNull();
    expect(directory.bySession(first.session)).toBeUndefined();
    expect(sessions.refresh(second?.refreshToken ?? '')).toBeNull();
  });

  test('A5: all end at once, but for the one that is kept', () => {
    const [one, two] = [sessions.begin(user, origin), sessions.begin(user, origin)];
    const identity = directory.bySession(two.session);
    sessions.endAll(user, one.session);
    expect(directory.bySession(one.session)).toBeDefined();
    expect(directory.bySession(two.session)).toBeUndefined();
    expect(identity && isCurrent(identity)).toBe(false);
    expect(sessions.refresh(two.refreshToken)).toBeNull();
    expect(sessions.refresh(one.refreshToken)).not.toBeNull();
  });

  test('a role is the one of now, not the one of the sign-in', () => {
    const { session } = sessions.begin(user, origin);
    users.change(user, { role: 'member' });
    expect(directory.bySession(session)?.user?.role).toBe('member');
  });
});
const origin = { address: '127.0.0.1', agent: null };

test('A2: no key and no refresh token is in the database, only hashes', () => {
  const { key } = make();
  const { refreshToken } = sessions.begin(user, origin);
  const bytes = db.serialize().toString('latin1');
  expect(bytes).not.toContain(key);
  expect(bytes).not.toContain(key.slice(7, -4));
  expect(bytes).not.toContain(refreshToken);
  expect(bytes).toContain(key.slice(-4));
});

test('A3: of a wrong key only its hash is looked up, however much of it is right', () => {
  const { key } = make();
  const near = keyLike(key);
  const byHash = vi.spyOn(files, 'byHash');
  const live = vi.spyOn(keys, 'live');
  for (const wrong of [near, newApiKey()]) {
    expect(isApiKey(wrong)).toBe(true);
    expect(directory.byKey(wrong)).toBeUndefined();
    // The same two looks for each, by what tells nothing of the key (tests/slow/key-timing.test.ts measures it, too).
    expect([byHash.mock.lastCall, live.mock.lastCall]).toEqual([[hashApiKey(wrong)], [hashApiKey(wrong)]]);
  }
  expect([byHash.mock.calls.length, live.mock.calls.length]).toEqual([2, 2]);
});
