import type { Database } from 'better-sqlite3';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { limits } from '../contract/limits.ts';
import { openDatabase } from '../db/open.ts';
import { Offers } from '../offers/offers.ts';
import { TenantStore } from '../tenants/tenant-store.ts';
import { SessionStore } from './session-store.ts';
import { UserStore } from './user-store.ts';

const dayMs = 24 * 3_600_000;
let db: Database;
let sessions: SessionStore;
let user = '';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] });
  db = openDatabase(':memory:');
  sessions = new SessionStore(db, Buffer.alloc(32, 7));
  const tenant = new TenantStore(db, new Offers(db)).create({ name: 'Acme', plan: 'pro' }).id;
  const person = { email: 'ann@example.test', name: 'Ann', role: 'admin', passwordHash: 'x' } as const;
  user = new UserStore(db).create({ ...person, tenant, emailVerifiedAt: null }).id;
});
afterEach(() => {
  vi.useRealTimers();
  db.close();
});
const begin = () => sessions.begin(user, { address: '192.0.2.1', agent: null });
const pass = (ms: number) => vi.setSystemTime(Date.now() + ms);
const tokens = (): number => db.prepare<[], number>('select count(*) from refresh_tokens').pluck().get() ?? 0;

test('S16: two tabs that refresh at once get the same token, and one line goes on', () => {
  const { refreshToken } = begin();
  const twins = [sessions.refresh(refreshToken), sessions.refresh(refreshToken)];
  expect(twins[0]?.refreshToken).toBeDefined();
  expect(twins[1]).toEqual(twins[0]);
  expect(tokens()).toBe(2);
});

test('S16: a thief who was as quick as the owner is found out at the next refresh', () => {
  const { session, refreshToken } = begin();
  const owner = sessions.refresh(refreshToken)?.refreshToken ?? '';
  const thief = sessions.refresh(refreshToken)?.refreshToken ?? '';
  const next = sessions.refresh(owner)?.refreshToken ?? '';
  pass(limits.session.refreshGraceMs + 1);
  expect(sessions.refresh(thief)).toBeNull();
  expect(sessions.refresh(next)).toBeNull();
  expect(sessions.list(user).map(({ id }) => id)).not.toContain(session);
});

test('21: a session ends, however often it is refreshed', () => {
  let { refreshToken } = begin();
  for (let days = 0; days < 89; days += 10) {
    pass(10 * dayMs);
    const next = sessions.refresh(refreshToken);
    if (!next) break;
    ({ refreshToken } = next);
    expect(sessions.list(user)).toHaveLength(1);
  }
  pass(dayMs);
  expect(sessions.refresh(refreshToken)).toBeNull();
  expect(sessions.list(user)).toEqual([]);
});

test('21: refresh tokens that were used are swept, and the one in use is not', () => {
  let { refreshToken } = begin();
  for (let i = 0; i < 20; i += 1) {
    pass(dayMs);
    ({ refreshToken } = sessions.refresh(refreshToken) ?? { refreshToken: '' });
  }
  while (sessions.sweep(3) > 0);
  expect(tokens()).toBeLessThanOrEqual(2 + limits.session.usedTokenMs / dayMs);
  expect(sessions.refresh(refreshToken)).not.toBeNull();
});
