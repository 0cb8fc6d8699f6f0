import type { Database } from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DurableWrites } from '../db/durable-writes.ts';
import { openDatabase } from '../db/open.ts';
import { UserStore } from '../accounts/user-store.ts';
import { ErasureStore } from '../privacy/erasure-store.ts';
import { HistoryStore } from '../history/history-store.ts';
import { ApiError, asApiError } from '../http/api-error.ts';
import { ClientGone } from '../http/held-reply.ts';
import { IdempotencyStore } from '../idempotency/idempotency-store.ts';
import { Ledger } from '../ledger/ledger.ts';
import { proveLedger } from '../ledger/proof.ts';
import { Offers } from '../offers/offers.ts';
import { Vault } from '../secrets/vault.ts';
import { Directory } from '../tenants/directory.ts';
import { FileTenants } from '../tenants/file-tenants.ts';
import { KeyStore } from '../tenants/key-store.ts';
import type { Identity } from '../tenants/tenant.ts';
import { TenantStore } from '../tenants/tenant-store.ts';
import { UsageStore } from '../usage/usage-store.ts';
import { PlanWindows } from './plan-windows.ts';
import { Admission, type Wish } from './admission.ts';

const timings = { queuedMs: 1, swapMs: 0, runMs: 5, gpuMs: 5, granted: true };
let db: Database;
let ledger: Ledger;
let keys: KeyStore;
let offers: Offers;
let directory: Directory;
let admission: Admission;
let usage: UsageStore;
let writes: DurableWrites;
let tenants: TenantStore;
let tenant = '';
const problems: unknown[] = [];

beforeEach(() => {
  db = openDatabase(':memory:');
  offers = new Offers(db);
  ledger = new Ledger(db);
  keys = new KeyStore(db, () => undefined);
  tenants = new TenantStore(db, offers);
  directory = new Directory({ db, files: new FileTenants(), tenants, keys });
  usage = new UsageStore(db, () => undefined);
  const vault = new Vault(Buffer.alloc(32, 1));
  problems.length = 0;
  writes = new DurableWrites({
    atomically: (work) => ledger.atomically(work),
    onError: (error) => problems.push(error),
  });
  admission = new Admission({
    windows: new PlanWindows(),
    directory,
    usage,
    ledger,
    offers,
    history: new HistoryStore(db, vault),
    idempotency: new IdempotencyStore(db, vault),
    blockedPhrases: ['forbidden'],
    writes,
  });
  tenant = tenants.create({ name: 'Acme', plan: 'enterprise' }).id;
});
afterEach(() => {
  vi.useRealTimers();
  admission.close();
  usage.close();
  keys.close();
});

function identity(more: object = {}): Identity {
  const { key } = keys.create({ tenant, createdBy: null, name: 'k', ...more });
  const found = directory.byKey(key);
  if (!found) throw new Error('no identity');
  return found;
}
const pictures = (count = 1): Wish => ({
  feature: 'image',
  model: 'm',
  prompts: 'a kiln',
  lane: 'interactive',
  work: () => ({ kind: 'image', count, width: 512, height: 512, steps: 20 }),
});
const grant = (credits: number): boolean =>
  ledger.grant({ id: `g${credits}`, account: tenant, credits, reason: 'test' });
const codeOf = (run: () => unknown): string => {
  try {
    run();
    return 'none';
  } catch (error) {
    return asApiError(error).code;
  }
};

test('L8: 200 at once against credit for 10 admit exactly 10', () => {
  grant(20);
  const who = identity();
  const codes = Array.from({ length: 200 }, () => codeOf(() => admission.admit(who, pictures())));
  expect(codes.filter((code) => code === 'none')).toHaveLength(10);
  expect(codes.filter((code) => code === 'insufficient_credits')).toHaveLength(190);
});

test('nothing is held by what an earlier check refuses', () => {
  grant(20);
  expect(codeOf(() => admission.admit(identity(), { ...pictures(), prompts: 'a forbidden thing' }))).toBe(
    'content_policy_violation',
  );
  expect(codeOf(() => admission.admit(identity({ models: ['other'] }), pictures()))).toBe(
    'model_not_in_plan',
  );
  expect(codeOf(() => admission.admit(identity({ features: ['chat'] }), pictures()))).toBe(
    'feature_not_in_plan',
  );
  expect(ledger.balance(tenant)).toMatchObject({ posted: 20, held: 0 });
});

describe('L11: how work ends decides what it costs', () => {
  test.each<[string, unknown, number]>([
    ['the engine failed', new ApiError('engine_error', 'x'), 0],
    ['the appliance shuts down', new ApiError('shutting_down', 'x'), 0],
    ['the client hung up', new ClientGone(), 4],
    ['the key was revoked', new ApiError('invalid_api_key', 'x'), 4],
  ])('%s after two pictures of three: %s', (_, error, cost) => {
    grant(20);
    admission.admit(identity(), pictures(3)).void(error, { images: 2 }, timings);
    expect(ledger.balance(tenant)).toEqual({ posted: 20 - cost, held: 0, available: 20 - cost });
  });

  test('at the prices it was admitted at', () => {
    grant(20);
    const ticket = admission.admit(identity(), pictures());
    offers.replace('prices', { ...offers.prices, image: { each: 9, perPixels: null, perSteps: null } });
    ticket.settle({ images: 1 }, timings);
    expect(ledger.balance(tenant).posted).toBe(18);
  });
});

test('L4, L10: settled or voided exactly once, whatever is called how often, and each charge has its request', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('settle', 'void', 'gone'), { minLength: 1, maxLength: 6 }),
      (calls) => {
        ledger.grant({ id: `g-${Math.random()}`, account: tenant, credits: 2, reason: 'test' });
        const before = ledger.balance(tenant).posted;
        const ticket = admission.admit(identity(), pictures());
        for (const call of calls) {
          if (call === 'settle') ticket.settle({ images: 1 }, timings);
          else ticket.void(call === 'gone' ? new ClientGone() : new Error('x'), { images: 1 }, timings);
        }
        const cost = calls[0] === 'void' ? 0 : 2;
        expect(ledger.balance(tenant)).toEqual({ posted: before - cost, held: 0, available: before - cost });
        const row = db.prepare('select credits from usage where id = ?').all(ticket.id);
        expect(row).toEqual([{ credits: cost }]);
        expect(admission.open(tenant)).toBe(0);
      },
    ),
    { numRuns: 100 },
  );
  expect(proveLedger(db).faults).toEqual([]);
});

test('F10, D2: a full disk refuses what costs credits, and ends what ran as soon as there is room', async () => {
  const count = 100;
  grant(2 * count + 1_000);
  const who = identity();
  const tickets = Array.from({ length: count }, () => admission.admit(who, pictures()));
  db.pragma(`max_page_count = ${String(db.pragma('page_count', { simple: true }))}`);
  vi.useFakeTimers();
  for (const ticket of tickets) ticket.settle({ images: 1 }, timings);
  expect(problems.length).toBeGreaterThan(10);
  expect(admission.open(tenant)).toBe(0);
  const codes = Array.from({ length: 100 }, () => codeOf(() => admission.admit(who, pictures())));
  expect(codes).toContain('storage_unavailable');
  expect(new Set(codes).size).toBeLessThanOrEqual(2);
  expect(proveLedger(db).faults).toEqual([]);
  db.pragma('max_page_count = 100000');
  await vi.advanceTimersByTimeAsync(1_100);
  for (const { id } of tickets)
    expect(db.prepare('select credits from usage where id = ?').pluck().all(id)).toEqual([2]);
  expect(proveLedger(db)).toMatchObject({ faults: [], spent: 2 * count });
});

/** What the ledger and the books make of requests of which some parts can never be written. */
test('L11, L4: whatever part of an ending can never be written, the hold is resolved and nobody else waits', async () => {
  vi.useFakeTimers();
  const who = identity();
  const parts = ['usage', 'ledger_post', 'idempotency'] as const;
  grant(1_000);
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({ bad: fc.option(fc.constantFrom(...parts)), end: fc.constantFrom('settle', 'void') }),
        { minLength: 1, maxLength: 8 },
      ),
      async (requests) => {
        const before = ledger.balance(tenant).posted;
        const tickets = requests.map(({ bad, end }, index) => {
          const keyed = { tenant, key: `${Math.random()}-${index}` };
          return { bad, end, ticket: admission.admit(who, { ...pictures(), keyed }) };
        });
        const bad = (part: string) =>
          tickets.flatMap((one) => (one.bad === part ? [`'${one.ticket.id}'`] : [])).join(',') || "''";
        db.exec(`create temp trigger bad_usage before insert on usage when new.id in (${bad('usage')})
            begin select raise(abort, 'never'); end;
          create temp trigger bad_post before insert on ledger_entries
            when new.id in (${bad('ledger_post')
              .replaceAll("'", "'")
              .replaceAll(/'([^',]+)'/g, "'$1:post'")})
            begin select raise(abort, 'never'); end;`);
        for (const { end, ticket } of tickets)
          if (end === 'settle') ticket.settle({ images: 1 }, timings);
          else ticket.void(new Error('x'), {}, timings);
        await vi.advanceTimersByTimeAsync(10);
        db.exec('drop trigger bad_usage; drop trigger bad_post');
        const charged = tickets.filter((one) => one.end === 'settle' && one.bad !== 'ledger_post');
        expect(ledger.balance(tenant)).toMatchObject({ held: 0, posted: before - 2 * charged.length });
        const rows = tickets.map(({ ticket }) =>
          db.prepare('select count(*) from usage where id = ?').pluck().get(ticket.id),
        );
        expect(rows).toEqual(tickets.map((one) => (one.bad === 'usage' ? 0 : 1)));
      },
    ),
    { numRuns: 60 },
  );
  expect(writes.status().waiting).toBe(0);
  expect(proveLedger(db).faults).toEqual([]);
});

test('11: prompts of a person, or a company, that is forgotten while its request runs are not kept', () => {
  grant(1_000);
  const kept = () => db.prepare('select count(*) from history').pluck().get();
  const users = new UserStore(db);
  const about = { tenant, role: 'member', passwordHash: 'x', emailVerifiedAt: null } as const;
  const [ann, bob] = ['ann', 'bob'].map((name) => users.create({ ...about, name, email: `${name}@x.test` }));
  tenants.change(tenant, { history: 'encrypted' });
  const ask = (createdBy: string | null) => admission.admit(identity({ createdBy }), pictures());
  const [gone, leaving, stays] = [ask(ann?.id ?? ''), ask(bob?.id ?? ''), ask(null)];
  new ErasureStore(db).begin({ id: bob?.id ?? '', tenant, kind: 'person', actor: {} as never });
  users.remove(ann?.id ?? '');
  for (const ticket of [gone, leaving]) ticket?.settle({ images: 1 }, timings);
  expect(kept()).toBe(0);
  stays?.settle({ images: 1 }, timings);
  expect(kept()).toBe(1);
  const last = ask(null);
  const other = ask(null);
  tenants.change(tenant, { history: 'none' });
  last.settle({ images: 1 }, timings);
  tenants.remove(tenant);
  other.settle({ images: 1 }, timings);
  expect(kept()).toBe(0);
  expect(writes.status()).toEqual({ waiting: 0, waitingSince: null, lost: {} });
  expect(problems).toEqual([]);
});

test('L11: a shutdown ends what runs, gives back what was held, and lets nothing more in', () => {
  grant(20);
  const ended: string[] = [];
  const ticket = admission.admit(identity(), pictures());
  ticket.onRevoked(({ code }) => ended.push(code));
  admission.close();
  expect(ended).toEqual(['shutting_down']);
  expect(ledger.balance(tenant)).toMatchObject({ posted: 20, held: 0 });
  ticket.void(new ClientGone(), { images: 1 }, timings);
  expect(ledger.balance(tenant).posted).toBe(20);
  expect(codeOf(() => admission.admit(identity(), pictures()))).toBe('shutting_down');
});

test('A1: who lost the right since it was let in is not admitted, nor given a price, nor a job', () => {
  grant(20);
  const ends: [string, (who: Identity) => void][] = [
    ['invalid_api_key', ({ id }) => keys.revoke(id)],
    ['tenant_disabled', () => tenants.change(tenant, { suspendedAt: Date.now() })],
  ];
  for (const [code, end] of ends) {
    const who = identity();
    end(who);
    expect(codeOf(() => admission.admit(who, pictures()))).toBe(code);
    expect(codeOf(() => admission.quote(who, pictures()))).toBe(code);
    expect(codeOf(() => admission.admitJobs(who, [{ id: 'j', wish: pictures() }], () => undefined))).toBe(
      code,
    );
  }
  expect(ledger.balance(tenant).held).toBe(0);
});

test('A1: rights that were taken since are looked at as they are now', () => {
  grant(20);
  const who = identity();
  db.prepare(`update api_keys set models = '["other"]' where id = ?`).run(who.id);
  expect(codeOf(() => admission.admit(who, pictures()))).toBe('model_not_in_plan');
});

test('A1: a key that is revoked before anybody listens ends the work as soon as somebody does', () => {
  grant(20);
  const who = identity();
  const ticket = admission.admit(who, pictures());
  keys.revoke(who.id);
  directory.changed();
  const ended: string[] = [];
  ticket.onRevoked(({ code }) => ended.push(code));
  expect(ended).toEqual(['invalid_api_key']);
});

test('requests that wait for engines hold a place, and are counted', async () => {
  tenants.change(tenant, { overrides: { concurrent: 2, queued: 1 } });
  const who = identity();
  const wait = new Promise<void>(() => undefined);
  for (let count = 0; count < 3; count += 1) void admission.whileOpen(who, () => wait);
  await expect(admission.whileOpen(who, () => wait)).rejects.toMatchObject({ code: 'concurrency_exceeded' });
  expect(admission.open(tenant)).toBe(3);
});

test('A1: a key that expires while its work runs ends it', async () => {
  vi.useFakeTimers();
  grant(20);
  const ended: string[] = [];
  const ticket = admission.admit(identity({ expiresAt: Date.now() + 5_000 }), pictures());
  ticket.onRevoked(({ code }) => ended.push(code));
  await vi.advanceTimersByTimeAsync(4_900);
  expect(ended).toEqual([]);
  await vi.advanceTimersByTimeAsync(200);
  expect(ended).toEqual(['invalid_api_key']);
});
