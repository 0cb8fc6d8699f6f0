import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId } from '../../server/db/ids.ts';
import { openDatabase } from '../../server/db/open.ts';
import { JobStore } from '../../server/jobs/job-store.ts';
import { Ledger } from '../../server/ledger/ledger.ts';
import { Offers } from '../../server/offers/offers.ts';
import { Vault } from '../../server/secrets/vault.ts';
import { measure } from '../measure.ts';
import { printTable } from '../table.ts';

/** Putting jobs down for good, and finding one's way among many. */
export function benchJobStore(ended = 100_000, queued = 10_000): void {
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
  const batch = 50;
  const batches = measure(40, () =>
    ledger.atomically(() => {
      for (let i = 0; i < batch; i += 1) create('payer', 4);
    }),
  );
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
  const heads = measure(500, () => store.heads(Date.now()));
  db.close();
  rmSync(folder, { recursive: true });
  printTable(`Jobs: ${ended} that have ended, ${queued} queued`, [
    { what: 'put down with its hold, a commit each', ...times },
    { what: `${batch} at once: a batch`, ...batches },
    { what: '... that is, each', 'per s': (batches['per s'] ?? 0) * batch, 'p50 ms': NaN, 'p99 ms': NaN },
    { what: 'a page of a tenant’s list', ...list },
    { what: 'a page of its queued ones', ...filtered },
    { what: 'who is first in each line', ...heads },
  ]);
}
