import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId } from '../server/db/ids.ts';
import { openDatabase } from '../server/db/open.ts';
import { JobStore } from '../server/jobs/job-store.ts';
import { Ledger } from '../server/ledger/ledger.ts';
import { Offers } from '../server/offers/offers.ts';
import { Vault } from '../server/secrets/vault.ts';
import { printTable } from './table.ts';

/** Putting jobs down for good, and finding one's way among many. */
export function benchJobs(ended = 100_000, queued = 10_000): void {
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-bench-jobs-'));
  const db = openDatabase(join(folder, 'kilnhouse.db'));
  const store = new JobStore(db, new Vault(Buffer.alloc(32, 1)));
  const ledger = new Ledger(db);
  const { prices } = new Offers(db);
  const input = { prompt: 'a kiln at night', n: 2, seed: 1 };
  const rest = {
    askedBy: 'key',
    person: null,
    feature: 'image-generation',
    model: 'm',
    startBy: null,
    batch: null,
    retryOf: null,
  };
  const create = (tenant: string, creditsHeld: number): string => {
    const id = newId('job');
    if (creditsHeld > 0)
      ledger.hold({ id, account: tenant, credits: creditsHeld, reason: 'image-generation' });
    store.create({ ...rest, id, tenant, creditsHeld }, input, prices);
    return id;
  };
  ledger.grant({ id: 'g', account: 'payer', credits: 1_000_000, reason: 'bench' });
  const times = measure(2_000, () => ledger.atomically(() => create('payer', 4)));
  db.pragma('synchronous = OFF');
  ledger.atomically(() => {
    for (let i = 0; i < ended; i += 1) {
      const id = create(`tenant-${i % 50}`, 0);
      store.claim(id, 'boot');
      store.move(id, 'begin', {}, 1);
      store.move(id, 'finish', {}, 1);
    }
    for (let i = 0; i < queued; i += 1) create(`tenant-${i % 50}`, 0);
  });
  const list = measure(500, () => store.page({ tenant: 'tenant-7', limit: 20 }));
  const filtered = measure(500, () => store.page({ tenant: 'tenant-7', state: 'queued', limit: 20 }));
  const heads = measure(500, () => store.heads());
  db.close();
  rmSync(folder, { recursive: true });
  printTable(`Jobs: ${ended} that have ended, ${queued} queued`, [
    { what: 'put down with its hold, a commit each', ...times },
    { what: 'a page of a tenant’s list', ...list },
    { what: 'a page of its queued ones', ...filtered },
    { what: 'who is first in each line', ...heads },
  ]);
}

function measure(count: number, once: () => unknown): Record<string, number> {
  const times = Array.from({ length: count }, () => {
    const began = performance.now();
    once();
    return performance.now() - began;
  });
  const sorted = times.toSorted((a, b) => a - b);
  const total = times.reduce((sum, time) => sum + time, 0);
  const at = (share: number): number => sorted[Math.floor(count * share)] ?? Number.NaN;
  return { 'per s': (count / total) * 1000, 'p50 ms': at(0.5), 'p99 ms': at(0.99) };
}
