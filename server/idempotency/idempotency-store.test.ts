import type { Database } from 'better-sqlite3';
import { beforeEach, expect, test, vi } from 'vitest';
import { limits } from '../contract/limits.ts';
import { openDatabase } from '../db/open.ts';
import { ApiError } from '../http/api-error.ts';
import { Vault } from '../secrets/vault.ts';
import { IdempotencyStore } from './idempotency-store.ts';

const vault = new Vault(Buffer.alloc(32, 1));
const request = { method: 'POST', path: '/generate-image', body: { prompt: 'x' }, id: 'r1', person: 'ann' };
const answer = { status: 200, contentType: 'application/json', body: '{"image":"abc"}' };
let db: Database;
let store: IdempotencyStore;

beforeEach(() => {
  db = openDatabase(':memory:');
  store = new IdempotencyStore(db, vault);
});

/** Begins, and expects to be the one that does the work. */
function begin(tenant = 'a', of = store, wanted = request) {
  const run = of.begin(tenant, 'k', wanted);
  if ('body' in run) throw new Error('it was answered');
  return run;
}
function codeOf(run: () => unknown): string {
  try {
    run();
    return 'none';
  } catch (error) {
    return error instanceof ApiError ? error.code : String(error);
  }
}

test('L9: while it runs the second is told so; when it is done the second gets the answer', () => {
  const run = begin();
  expect(codeOf(() => begin())).toBe('conflict');
  store.finish(run, answer);
  expect(store.begin('a', 'k', request)).toMatchObject({ status: 200, body: Buffer.from(answer.body) });
});

test('L9: another request under the key is refused, before and after; another tenant is independent', () => {
  const other = { ...request, body: { prompt: 'y' } };
  const run = begin();
  expect(codeOf(() => begin('a', store, other))).toBe('idempotency_key_reused');
  store.finish(run, answer);
  expect(codeOf(() => begin('a', store, other))).toBe('idempotency_key_reused');
  expect(codeOf(() => begin('a', store, { ...request, path: '/generate-text' }))).toBe(
    'idempotency_key_reused',
  );
  expect(begin('b')).toEqual({ tenant: 'b', key: 'k' });
});

test('L9: what ran when the appliance died may run again; what was done then is not done again', () => {
  begin();
  const next = new IdempotencyStore(db, vault);
  const run = begin('a', next);
  next.finish(run, answer);
  expect(new IdempotencyStore(db, vault).begin('a', 'k', request)).toMatchObject({ status: 200 });
});

test('what cost nothing and failed is forgotten, but not what is done', () => {
  store.forget(begin());
  store.finish(begin(), answer);
  store.forget({ tenant: 'a', key: 'k' });
  expect(store.begin('a', 'k', request)).toMatchObject({ status: 200 });
});

test('an answer that is too long, or is nobody’s to keep, is not given again, and the work is not done again', () => {
  store.finish(begin(), { ...answer, body: Buffer.alloc(limits.idempotency.answerBytes + 1) });
  expect(codeOf(() => begin())).toBe('conflict');
  store.finish(begin('b'), null);
  expect(codeOf(() => begin('b'))).toBe('conflict');
});

test('an answer lies encrypted, and goes after a day', () => {
  store.finish(begin(), answer);
  expect(db.serialize().toString('latin1')).not.toContain('"image":"abc"');
  expect(store.sweep(50)).toBe(0);
  db.prepare('update idempotency set at = at - ?').run(limits.idempotency.keptMs);
  expect(begin()).toEqual({ tenant: 'a', key: 'k' });
  db.prepare('update idempotency set at = at - ?').run(limits.idempotency.keptMs);
  expect(store.sweep(50), 'it runs').toBe(0);
  expect(new IdempotencyStore(db, vault).sweep(50)).toBe(1);
});

test('S16: an answer, or the news that one is on its way, is for whoever may have it', () => {
  const needs = [{ feature: 'image', model: 'm' }];
  const seen: unknown[] = [];
  const refuse = (origin: unknown): void => {
    seen.push(origin);
    throw new ApiError('model_not_in_plan', 'no');
  };
  const run = begin();
  expect(codeOf(() => store.begin('a', 'k', request, refuse))).toBe('model_not_in_plan');
  store.finish(run, answer, needs);
  expect(codeOf(() => store.begin('a', 'k', request, refuse))).toBe('model_not_in_plan');
  expect(seen).toEqual([
    { person: 'ann', needs: [] },
    { person: 'ann', needs },
  ]);
  expect(store.begin('a', 'k', request, () => undefined)).toMatchObject({ status: 200 });
});

test('what was answered to a person goes with the person', () => {
  store.finish(begin(), answer);
  expect(store.removeOfPerson('bob', 10)).toBe(0);
  expect(store.removeOfPerson('ann', 10)).toBe(1);
  expect(begin()).toEqual({ tenant: 'a', key: 'k' });
});

test('review 23: kept answers count against the quota, and none is kept without room', () => {
  const stored = (): number =>
    db.prepare<[], number>("select coalesce(sum(bytes), 0) from storage where tenant = 'a'").pluck().get() ??
    0;
  const bounded = new IdempotencyStore(db, vault, (_, bytes) => stored() + bytes <= 1_000);
  const answer = { status: 200, contentType: 'text/plain', body: 'x'.repeat(600) };
  for (const key of ['one', 'two']) {
    bounded.begin('a', key, request);
    bounded.finish({ tenant: 'a', key }, answer);
  }
  expect(stored()).toBeGreaterThanOrEqual(600);
  expect(stored()).toBeLessThan(1_000);
  expect(bounded.begin('a', 'one', request)).toMatchObject({ status: 200 });
  // It was done and charged once, whether or not its answer is there.
  expect(() => bounded.begin('a', 'two', request)).toThrow('was not kept');
  vi.useFakeTimers({ now: Date.now() + limits.idempotency.keptMs + 1, toFake: ['Date'] });
  bounded.begin('a', 'one', request);
  expect(stored()).toBe(0);
  vi.useRealTimers();
});
