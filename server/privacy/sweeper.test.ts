import type { Database } from 'better-sqlite3';
import { beforeEach, expect, test } from 'vitest';
import { openDatabase } from '../db/open.ts';
import { HistoryStore } from '../history/history-store.ts';
import { Ledger } from '../ledger/ledger.ts';
import { Offers } from '../offers/offers.ts';
import { Vault } from '../secrets/vault.ts';
import { TenantStore } from '../tenants/tenant-store.ts';
import { sweepHistory } from './sweeper.ts';

const day = 24 * 3_600_000;
let db: Database;
let tenants: TenantStore;
let history: HistoryStore;

beforeEach(() => {
  db = openDatabase(':memory:');
  tenants = new TenantStore(db, new Offers(db));
  history = new HistoryStore(db, new Vault(Buffer.alloc(32, 1)));
});

/** What is left of requests of so many days ago, by the days. */
async function left(plan: string, overrides = {}): Promise<number[]> {
  const { id } = tenants.create({ name: plan, plan });
  tenants.change(id, { overrides, history: 'encrypted' });
  for (const days of [0, 6, 8, 29, 31, 89, 91, 4_000]) {
    const at = Date.now() - days * day;
    history.add(id, { id: `${id}-${days}`, user: null, feature: 'chat', model: 'm', at, prompts: days });
  }
  await sweepHistory({ directory: { tenant: () => tenants.resolve(id, 0) }, history });
  return [4_000, 91, 89, 31, 29, 8, 6, 0]
    .filter((days) => history.find(id, `${id}-${days}`) !== undefined)
    .toReversed();
}

test.each<[string, number[]]>([
  ['free', [0, 6]],
  ['pro', [0, 6, 8, 29]],
  ['plus', [0, 6, 8, 29, 31, 89]],
  ['enterprise', [0, 6, 8, 29, 31, 89, 91, 4_000]],
])('requests are kept as long as the plan says: %s', async (plan, kept) => {
  expect(await left(plan)).toEqual(kept);
});

test('or as long as was said for one tenant', async () => {
  expect(await left('free', { historyDays: 30 })).toEqual([0, 6, 8, 29]);
});

test('the ledger has no say in it, nor it in the ledger', async () => {
  const ledger = new Ledger(db);
  ledger.grant({ id: 'g', account: 'a', credits: 5, reason: 'test' });
  await left('free');
  expect(ledger.balance('a').posted).toBe(5);
});
