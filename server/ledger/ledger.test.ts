import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Database } from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase } from '../db/open.ts';
import { type ExpiryCursor, InsufficientCredits, InvalidAmount, Ledger, LedgerConflict } from './ledger.ts';
import { proveLedger, proveLedgerInTurns } from './proof.ts';
import { statement, statementPage } from './statement.ts';

let db: Database;
let ledger: Ledger;
let clock = 1_000;
const reason = 'test';

beforeEach(() => {
  clock = 1_000;
  db = openDatabase(':memory:');
  ledger = new Ledger(db, () => clock);
});
afterEach(() => db.close());

const grant = (credits: number, account = 'a', id = `grant-${account}-${credits}`): boolean =>
  ledger.grant({ id, account, credits, reason });
const hold = (id: string, credits: number, account = 'a'): boolean =>
  ledger.hold({ id, account, credits, reason });

describe('one hold', () => {
  test('L5: what was not used comes back with the charge', () => {
    grant(10);
    hold('h', 6);
    expect(ledger.balance('a')).toEqual({ posted: 10, held: 6, available: 4 });
    ledger.post('h', 2);
    expect(ledger.balance('a')).toEqual({ posted: 8, held: 0, available: 8 });
  });

  test('L5: never more than was held is charged', () => {
    grant(10);
    hold('h', 3);
    ledger.post('h', 99);
    expect(ledger.balance('a').posted).toBe(7);
  });

  test('L4: it ends once, whatever comes second', () => {
    grant(10);
    hold('h', 6);
    expect(ledger.post('h', 5)).toBe(true);
    expect(ledger.void('h', reason)).toBe(false);
    expect(ledger.post('h', 5)).toBe(false);
    expect(ledger.balance('a').posted).toBe(5);
  });

  test('nought can be charged: a finished job without a price', () => {
    grant(10);
    hold('h', 6);
    ledger.post('h', 0);
    expect(ledger.balance('a')).toEqual({ posted: 10, held: 0, available: 10 });
    expect(proveLedger(db).faults).toEqual([]);
  });

  test('L2: more than there is cannot be held, and the error says how much there is', () => {
    grant(10);
    hold('h', 6);
    expect(() => hold('i', 5)).toThrow(new InsufficientCredits(5, 4));
    expect(() => hold('i', 1, 'nobody')).toThrow(InsufficientCredits);
    expect(ledger.balance('a').held).toBe(6);
  });

  test('L9: the same id twice is one move, and another move under it is refused', () => {
    expect(grant(10, 'a', 'g')).toBe(true);
    expect(grant(10, 'a', 'g')).toBe(false);
    expect(() => grant(11, 'a', 'g')).toThrow(LedgerConflict);
    expect(() => grant(10, 'b', 'g')).toThrow(LedgerConflict);
    expect(hold('h', 6)).toBe(true);
    expect(hold('h', 6)).toBe(false);
    expect(ledger.balance('a')).toEqual({ posted: 10, held: 6, available: 4 });
  });
});

test('L8: 200 at once against credit for 10 admit exactly 10, in each of 500 rounds', () => {
  for (let round = 0; round < 500; round += 1) {
    const account = `account-${round}`;
    grant(20, account);
    let admitted = 0;
    for (let i = 0; i < 200; i += 1) {
      try {
        hold(`${round}-${i}`, 2, account);
        admitted += 1;
      } catch (error) {
        expect(error).toBeInstanceOf(InsufficientCredits);
      }
    }
    expect(admitted).toBe(10);
    expect(ledger.balance(account).available).toBe(0);
  }
  expect(proveLedger(db).faults).toEqual([]);
});

describe('L6, L1: the database itself refuses', () => {
  beforeEach(() => {
    grant(10);
    hold('h', 4);
  });
  test.each([
    ['a change of an entry', 'update ledger_entries set posted = 99 where sequence = 1'],
    ['the removal of an entry', 'delete from ledger_entries'],
    ['a balance without an entry', 'update ledger_accounts set posted = 99'],
    ['a balance that repeats an entry', 'update ledger_accounts set posted = posted + 10, last_entry = 1'],
    ['the removal of an account', 'delete from ledger_accounts'],
    ['an account that begins rich', "insert into ledger_accounts (name, posted) values ('b', 5)"],
    [
      'a fraction',
      "insert into ledger_entries (id, account, kind, posted, held, at, reason) values ('x', 1, 'grant', 1.5, 0, 0, '')",
    ],
    [
      'a negative grant',
      "insert into ledger_entries (id, account, kind, posted, held, at, reason) values ('x', 1, 'grant', -5, 0, 0, '')",
    ],
    [
      'a hold of more than there is',
      "insert into ledger_entries (id, account, kind, posted, held, at, reason) values ('x', 1, 'hold', 0, 7, 0, '')",
    ],
    [
      'a charge of more than was held',
      "insert into ledger_entries (id, account, kind, posted, held, hold, at, reason) values ('x', 1, 'post', -5, -4, 2, 0, '')",
    ],
    [
      'the end of another amount',
      "insert into ledger_entries (id, account, kind, posted, held, hold, at, reason) values ('x', 1, 'void', 0, -3, 2, 0, '')",
    ],
    [
      'the end of what is no hold',
      "insert into ledger_entries (id, account, kind, posted, held, hold, at, reason) values ('x', 1, 'void', 0, -4, 1, 0, '')",
    ],
    [
      'a charge without a hold',
      "insert into ledger_entries (id, account, kind, posted, held, at, reason) values ('x', 1, 'post', -1, -1, 0, '')",
    ],
    [
      'more taken back than there is',
      "insert into ledger_entries (id, account, kind, posted, held, at, reason) values ('x', 1, 'debit', -7, 0, 0, '')",
    ],
  ])('%s', (_, sql) => {
    expect(() => db.exec(sql)).toThrow(
      /SQLITE_CONSTRAINT|append-only|constraint|entries only|begins empty|hold|cannot store/,
    );
    expect(ledger.balance('a')).toEqual({ posted: 10, held: 4, available: 6 });
    expect(proveLedger(db).faults).toEqual([]);
  });

  test('L4: a second end of one hold', () => {
    ledger.void('h', reason);
    expect(() =>
      db.exec(
        "insert into ledger_entries (id, account, kind, posted, held, hold, at, reason) values ('x', 1, 'void', 0, -4, 2, 0, '')",
      ),
    ).toThrow();
  });
});

describe('L7: amounts are whole credits', () => {
  test.each([0, -0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53 + 1, 1e9 + 1])(
    '%s is refused',
    (amount) => {
      expect(() => grant(amount)).toThrow(InvalidAmount);
      expect(() => hold('h', amount)).toThrow(InvalidAmount);
      expect(() => ledger.debit({ id: 'd', account: 'a', credits: amount, reason })).toThrow(InvalidAmount);
      expect(proveLedger(db).entries).toBe(0);
    },
  );
  test.each([-0, -1, 0.5, Number.NaN])('%s is no charge', (amount) => {
    grant(10);
    hold('h', 5);
    expect(() => ledger.post('h', amount)).toThrow(InvalidAmount);
    expect(ledger.balance('a').held).toBe(5);
  });
});

describe('grants that expire', () => {
  test('what is left is taken back, and cannot be held even before the sweeper comes', () => {
    ledger.grant({ id: 'g', account: 'a', credits: 10, reason, expiresAt: 2_000 });
    hold('h', 3);
    ledger.post('h', 3);
    clock = 2_000;
    expect(ledger.balance('a'), 'S16').toEqual({ posted: 0, held: 0, available: 0 });
    expect(() => hold('i', 1)).toThrow(InsufficientCredits);
    expect(ledger.expire().credits).toBe(7);
    expect(ledger.expire().credits).toBe(0);
    expect(ledger.balance('a').posted).toBe(0);
  });

  test('D6: what is held stays good until the work ends, and the rest goes then', () => {
    ledger.grant({ id: 'g', account: 'a', credits: 10, reason, expiresAt: 2_000 });
    hold('h', 4);
    clock = 5_000;
    expect(ledger.expire().credits).toBe(6);
    ledger.post('h', 1);
    expect(ledger.expire().credits).toBe(3);
    expect(proveLedger(db)).toMatchObject({ faults: [], granted: 10, spent: 1, expired: 9 });
  });

  test('a refund takes back nothing that is past its date, whenever the sweeper comes', () => {
    ledger.grant({ id: 'g', account: 'a', credits: 10, reason, expiresAt: 2_000 });
    grant(3, 'a', 'for-ever');
    clock = 2_000;
    expect(ledger.debit({ id: 'd', account: 'a', credits: 10, reason })).toBe(3);
    expect(proveLedger(db)).toMatchObject({ faults: [], expired: 10 });
  });

  test('review 15: a sweep goes over all of them a few at a time, past those that are held', () => {
    for (let i = 0; i < 7; i += 1)
      ledger.grant({ id: `g${i}`, account: 'a', credits: 1, reason, expiresAt: 2_000 });
    hold('h', 3);
    clock = 2_000;
    const swept: number[] = [];
    let after: ExpiryCursor | null = null;
    do {
      const { credits, next } = ledger.expire(after, 2);
      swept.push(credits);
      after = next;
    } while (after);
    expect(swept).toEqual([2, 2, 0, 0]);
    expect(proveLedger(db)).toMatchObject({ faults: [], expired: 4 });
  });

  test('what expires soonest is spent first', () => {
    grant(5, 'a', 'for-ever');
    ledger.grant({ id: 'late', account: 'a', credits: 5, reason, expiresAt: 3_000 });
    ledger.grant({ id: 'soon', account: 'a', credits: 5, reason, expiresAt: 2_000 });
    hold('h', 7);
    ledger.post('h', 7);
    clock = 2_000;
    expect(ledger.expire().credits).toBe(0);
    clock = 3_000;
    expect(ledger.expire().credits).toBe(3);
    expect(ledger.balance('a').posted).toBe(5);
  });
});

test('credits are taken back as far as there are any, and the same one twice is once', () => {
  grant(10);
  hold('h', 4);
  const refund = { id: 'refund', account: 'a', credits: 9, reason };
  expect(ledger.debit(refund)).toBe(6);
  expect(ledger.debit(refund)).toBe(6);
  expect(ledger.balance('a')).toEqual({ posted: 4, held: 4, available: 0 });
  expect(proveLedger(db)).toMatchObject({ faults: [], takenBack: 6 });
});

test('holds that nothing runs for any more are given back at the start', () => {
  grant(10);
  hold('lost', 3);
  hold('alive', 4);
  expect(ledger.voidOrphans((id) => id === 'alive')).toBe(1);
  expect(ledger.balance('a')).toEqual({ posted: 10, held: 4, available: 6 });
});

test('a move inside work that fails did not happen', () => {
  expect(() =>
    ledger.atomically(() => {
      grant(10);
      throw new Error('and then');
    }),
  ).toThrow('and then');
  expect(ledger.balance('a').posted).toBe(0);
});

test('L1, L12: a ledger that was tampered with is found out', () => {
  grant(10);
  hold('h', 4);
  db.exec('drop trigger ledger_accounts_follow_entries; update ledger_accounts set posted = 99');
  expect(proveLedger(db).faults.join()).toMatch(/L1.*L12/);
});

test('while it is proven bit by bit, entries that come meanwhile are no fault', async () => {
  ledger.atomically(() => {
    for (let i = 0; i < 50_000; i += 1) ledger.grant({ id: `many-${i}`, account: 'a', credits: 1, reason });
  });
  const proving = proveLedgerInTurns(db);
  for (let i = 0; i < 5; i += 1) {
    grant(7, 'a', `meanwhile-${i}`);
    await setImmediate();
  }
  expect(await proving).toMatchObject({ faults: [], granted: 50_000, entries: 50_000 });
  expect(proveLedger(db).granted).toBe(50_035);
});

test('a statement shows each move once, page by page, the newest first', () => {
  grant(10);
  for (let i = 0; i < 7; i += 1) {
    ledger.hold({ id: `h${i}`, account: 'a', credits: 1, reason, about: { feature: 'image' } });
    ledger.post(`h${i}`, 1);
  }
  const all = [...statement(db, 'a')];
  expect(all).toHaveLength(15);
  expect(all[0]).toMatchObject({
    kind: 'post',
    credits: -1,
    held: -1,
    holdId: 'h6',
    about: { feature: 'image' },
  });
  const seen: string[] = [];
  let after: string | undefined;
  do {
    const page = statementPage(db, 'a', { after, limit: 4 });
    seen.push(...page.items.map(({ id }) => id));
    after = page.next ?? undefined;
  } while (after !== undefined);
  expect(seen).toEqual(all.map(({ id }) => id));
  expect([...statement(db, 'b')]).toEqual([]);
});

/** The ledger in a few lines: what the real one must agree with after every step. */
class Model {
  readonly lots = new Map<string, { left: number; expiresAt: number | null }[]>();
  readonly holds = new Map<string, { account: string; credits: number }>();
  readonly seen = new Map<string, string>();

  posted(account: string): number {
    return (this.lots.get(account) ?? []).reduce((sum, { left }) => sum + left, 0);
  }
  held(account: string): number {
    return [...this.holds.values()].reduce(
      (sum, hold) => sum + (hold.account === account ? hold.credits : 0),
      0,
    );
  }
  expired(account: string, now: number): number {
    const past = (this.lots.get(account) ?? []).filter(({ expiresAt }) => (expiresAt ?? Infinity) <= now);
    return past.reduce((sum, { left }) => sum + left, 0);
  }
  spend(account: string, credits: number): void {
    let rest = credits;
    const inOrder = (this.lots.get(account) ?? []).toSorted(
      (a, b) => (a.expiresAt ?? Infinity) - (b.expiresAt ?? Infinity),
    );
    for (const lot of inOrder) {
      const taken = Math.min(rest, lot.left);
      lot.left -= taken;
      rest -= taken;
    }
  }
  expire(now: number, only?: string): void {
    const due = [...this.lots]
      .filter(([account]) => only === undefined || account === only)
      .flatMap(([account, lots]) => lots.map((lot) => ({ account, lot })))
      .filter(({ lot }) => lot.expiresAt !== null && lot.expiresAt <= now && lot.left > 0)
      .toSorted((a, b) => (a.lot.expiresAt ?? 0) - (b.lot.expiresAt ?? 0));
    for (const { account, lot } of due) {
      lot.left -= Math.min(lot.left, this.posted(account) - this.held(account));
    }
  }
}

const accounts = ['a', 'b', 'c'];
const step = fc.oneof(
  fc.record({
    type: fc.constant('grant' as const),
    account: fc.constantFrom(...accounts),
    credits: fc.integer({ min: 1, max: 50 }),
    lifetime: fc.option(fc.integer({ min: 1, max: 40 })),
  }),
  fc.record({
    type: fc.constant('hold' as const),
    account: fc.constantFrom(...accounts),
    credits: fc.integer({ min: 1, max: 40 }),
  }),
  fc.record({
    type: fc.constantFrom('post' as const, 'void' as const),
    which: fc.nat(30),
    credits: fc.nat(60),
  }),
  fc.record({
    type: fc.constant('debit' as const),
    account: fc.constantFrom(...accounts),
    credits: fc.integer({ min: 1, max: 40 }),
  }),
  fc.record({ type: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ type: fc.constant('expire' as const) }),
  fc.record({ type: fc.constant('crash' as const) }),
);

test('L1 to L5, L12: agrees with a reference model in every history, crashes included', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const file = openDatabase(':memory:');
      let now = 0;
      const real = new Ledger(file, () => now);
      const model = new Model();
      const ids: string[] = [];
      let next = 0;
      for (const one of steps) {
        const id = `move-${(next += 1)}`;
        if (one.type === 'wait') now += one.ms;
        else if (one.type === 'expire') {
          real.expire();
          model.expire(now);
        } else if (one.type === 'crash') {
          real.voidOrphans();
          model.holds.clear();
        } else if (one.type === 'grant') {
          const expiresAt = one.lifetime === null ? null : now + one.lifetime;
          real.grant({ id, account: one.account, credits: one.credits, reason, expiresAt });
          const lots = model.lots.get(one.account) ?? [];
          model.lots.set(one.account, [...lots, { left: one.credits, expiresAt }]);
        } else if (one.type === 'hold') {
          model.expire(now, one.account);
          const fits = model.posted(one.account) - model.held(one.account) >= one.credits;
          const move = { id, account: one.account, credits: one.credits, reason };
          if (fits) {
            expect(real.hold(move)).toBe(true);
            model.holds.set(id, move);
            ids.push(id);
          } else {
            // A refused hold changes nothing, not even what is past its date.
            expect(() => real.hold(move)).toThrow(InsufficientCredits);
            real.expire();
            model.expire(now);
          }
        } else if (one.type === 'debit') {
          model.expire(now, one.account);
          const available = model.posted(one.account) - model.held(one.account);
          const taken = Math.min(available, one.credits);
          expect(real.debit({ id, account: one.account, credits: one.credits, reason })).toBe(taken);
          model.spend(one.account, taken);
        } else {
          const target = ids[one.which];
          if (target === undefined) continue;
          const open = model.holds.get(target);
          const did = one.type === 'post' ? real.post(target, one.credits) : real.void(target, reason);
          expect(did).toBe(open !== undefined);
          if (open && one.type === 'post') model.spend(open.account, Math.min(open.credits, one.credits));
          model.holds.delete(target);
        }
        for (const account of accounts) {
          // S16: as it is once the sweeper has come by.
          const held = model.held(account);
          const expired = Math.min(model.expired(account, now), model.posted(account) - held);
          const posted = model.posted(account) - expired;
          expect(real.balance(account)).toEqual({ posted, held, available: posted - held });
        }
        expect(proveLedger(file).faults).toEqual([]);
      }
      file.close();
    }),
    { numRuns: 300 },
  );
});

test('what is committed is there after the process is gone', () => {
  const path = join(mkdtempSync(join(tmpdir(), 'kilnhouse-ledger-')), 'a.db');
  const first = openDatabase(path);
  new Ledger(first).grant({ id: 'g', account: 'a', credits: 7, reason });
  first.close();
  const second = openDatabase(path);
  expect(new Ledger(second).balance('a').posted).toBe(7);
  expect(proveLedger(second)).toMatchObject({ faults: [], granted: 7, balances: 7 });
  second.close();
});
