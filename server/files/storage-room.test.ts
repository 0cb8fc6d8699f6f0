import { expect, test, vi } from 'vitest';
import type { Tenant } from '../tenants/tenant.ts';
import { StorageRoom } from './storage-room.ts';

const mib = 1024 ** 2;
const tenantOf = (storageMib: number | null): Tenant => ({ id: 't', limits: { storageMib } }) as Tenant;

test('review 25: many at once do not all find the same room', () => {
  let stored = 0;
  const room = new StorageRoom({ stored: () => stored, space: { demand: () => undefined } });
  const tenant = tenantOf(1);
  const first = room.reserve(tenant, mib / 2);
  room.reserve(tenant, mib / 2);
  expect(() => room.reserve(tenant, 1)).toThrow('1 MiB');
  // Written, it counts as what is stored.
  stored = mib / 2;
  first();
  expect(() => room.reserve(tenant, 1)).toThrow('1 MiB');
  room.reserve({ ...tenant, id: 'other', limits: tenantOf(null).limits }, 10 * mib);
});

test('D2: the floor of the disk comes first, also where a plan has no quota', () => {
  const demand = vi.fn();
  const room = new StorageRoom({ stored: () => 0, space: { demand } });
  room.demand(tenantOf(null), 5);
  expect(demand).toHaveBeenCalledExactlyOnceWith(5);
});
