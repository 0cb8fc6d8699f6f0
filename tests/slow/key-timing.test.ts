import { expect, test } from 'vitest';
import { openDatabase } from '../../server/db/open.ts';
import { Offers } from '../../server/offers/offers.ts';
import { newApiKey } from '../../server/tenants/api-key.ts';
import { Directory } from '../../server/tenants/directory.ts';
import { FileTenants } from '../../server/tenants/file-tenants.ts';
import { KeyStore } from '../../server/tenants/key-store.ts';
import { TenantStore } from '../../server/tenants/tenant-store.ts';
import { keyLike } from '../key-like.ts';

/* A test of significance over measured times: on a quiet machine only, so not in the default lane. */
test('A3: how long a wrong key takes does not tell how much of it is right', () => {
  const db = openDatabase(':memory:');
  const tenants = new TenantStore(db, new Offers(db));
  const keys = new KeyStore(db, () => undefined);
  const directory = new Directory({ db, files: new FileTenants(), tenants, keys });
  const tenant = tenants.create({ name: 'Acme', plan: 'pro' }).id;
  const { key } = keys.create({ tenant, createdBy: null, name: 'k' });
  // Well-formed keys, so that every one is looked up; only one kind shares its beginning with a real one.
  const wrong = [Array.from({ length: 200 }, () => keyLike(key)), Array.from({ length: 200 }, newApiKey)];
  const samples: [number[], number[]] = [[], []];
  for (let round = 0; round < 100_000; round += 1) {
    const kind = Math.random() < 0.5 ? 0 : 1;
    // A text that was just put together, like one that comes in a request.
    const text = `${wrong[kind]?.[round % 200]?.slice(0, 20)}${wrong[kind]?.[round % 200]?.slice(20)}`;
    const began = process.hrtime.bigint();
    directory.byKey(text);
    samples[kind].push(Number(process.hrtime.bigint() - began));
  }
  keys.close();
  db.close();
  expect(Math.abs(welch(trimmed(samples[0]), trimmed(samples[1])))).toBeLessThan(4.5);
});

/** Without the slowest twentieth, which is other programs' work. */
function trimmed(sample: number[]): number[] {
  return sample.toSorted((a, b) => a - b).slice(0, Math.floor(sample.length * 0.95));
}

function welch(a: number[], b: number[]): number {
  const mean = (list: number[]): number => list.reduce((sum, one) => sum + one, 0) / list.length;
  const [ma, mb] = [mean(a), mean(b)];
  const variance = (list: number[], m: number): number =>
    list.reduce((sum, one) => sum + (one - m) ** 2, 0) / (list.length - 1);
  return (ma - mb) / Math.sqrt(variance(a, ma) / a.length + variance(b, mb) / b.length);
}
