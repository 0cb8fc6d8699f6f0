import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import BetterSqlite3, { type Database } from 'better-sqlite3';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { limits } from '../contract/limits.ts';
import { DurableWrites } from '../db/durable-writes.ts';
import { openDatabase } from '../db/open.ts';
import { Vault } from '../secrets/vault.ts';
import { WebhookSender } from './webhook-sender.ts';
import { WebhookStore } from './webhook-store.ts';

/* The sender alone, to an endpoint on this machine that answers as its path says. */
let db: Database;
let store: WebhookStore;
let writes: DurableWrites;
let sender: WebhookSender;
let server: Server;
let url = '';
/** Paths that were called, in order. */
let calls: string[] = [];

beforeEach(async () => {
  db = openDatabase(':memory:');
  store = new WebhookStore(db, new Vault(Buffer.alloc(32, 1)));
  calls = [];
  server = createServer((request, response) => {
    calls.push(request.url ?? '');
    // The others take the call and never answer.
    if (!request.url?.startsWith('/hang')) response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  writes = new DurableWrites({ atomically: (work) => db.transaction(work)(), onError: () => undefined });
  sender = new WebhookSender({ store, allowed: ['127.0.0.0/8'], writes, onError: () => undefined });
});
afterEach(async () => {
  vi.restoreAllMocks();
  writes.close();
  await sender.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const endpoint = (tenant: string, path: string): string =>
  store.create({ tenant, url: url + path, events: [] }).webhook.id;
const deliveriesOf = (webhook: string) => store.deliveries(webhook, 100);

test('W3, S7: endpoints of one tenant that hang keep nobody else’s deliveries waiting', async () => {
  for (let index = 0; index < limits.webhooks.perTenant; index += 1) {
    const id = endpoint('greedy', `/hang/${index}`);
    for (let count = 0; count < 30; count += 1) store.enqueue(id, 'event', 'test', {});
  }
  const others = ['ann', 'bob', 'cat'].map((tenant) => endpoint(tenant, `/${tenant}`));
  for (const id of others) store.enqueue(id, 'event', 'test', {});
  sender.wake();
  await vi.waitFor(() => expect(others.map((id) => deliveriesOf(id)[0]?.deliveredAt)).not.toContain(null));
  expect(calls.filter((path) => path.startsWith('/hang'))).toHaveLength(limits.webhooks.perTenantAtOnce);
});

test('tenants take turns, whoever has the most to be sent', async () => {
  const many = endpoint('greedy', '/greedy');
  for (let count = 0; count < 20; count += 1) store.enqueue(many, 'event', 'test', {});
  const few = endpoint('modest', '/modest');
  for (let count = 0; count < 3; count += 1) store.enqueue(few, 'event', 'test', {});
  sender.wake();
  await vi.waitFor(() => expect(calls.filter((path) => path === '/modest')).toHaveLength(3));
  const before = calls.slice(0, calls.lastIndexOf('/modest'));
  expect(before.filter((path) => path === '/greedy').length).toBeLessThanOrEqual(8);
});

test('W3: an outcome that the disk does not take is waited for; nothing is sent a second time', async () => {
  const id = endpoint('ann', '/ann');
  store.enqueue(id, 'event', 'test', {});
  store.enqueue(id, 'event', 'test', {});
  let tries = 0;
  const delivered = vi.spyOn(store, 'delivered').mockImplementation(() => {
    tries += 1;
    throw new BetterSqlite3.SqliteError('full', 'SQLITE_FULL');
  });
  sender.wake();
  // Two tries to record it: a second has passed, in which the endpoint could have been called hundreds of times.
  await vi.waitFor(() => expect(tries).toBe(2), { timeout: 5_000 });
  expect(calls).toHaveLength(1);
  delivered.mockRestore();
  await vi.waitFor(() => expect(deliveriesOf(id).map((one) => one.deliveredAt)).not.toContain(null), {
    timeout: 10_000,
  });
  expect(calls).toHaveLength(2);
});

test('an outcome that can never be recorded ends that delivery; the next one goes out', async () => {
  const id = endpoint('ann', '/ann');
  const bad = store.enqueue(id, 'event', 'test', {});
  const good = store.enqueue(id, 'event', 'test', {});
  db.exec(`create trigger never before update on webhook_deliveries when new.id = '${bad}'
    begin select raise(abort, 'never'); end`);
  sender.wake();
  await vi.waitFor(() => expect(deliveriesOf(id).find((one) => one.id === good)?.deliveredAt).not.toBeNull());
  expect(calls).toHaveLength(2);
  expect(writes.status().lost).toEqual({
    'the outcome of a webhook delivery': 1,
    'the end of a webhook delivery': 1,
  });
});

test('S16: what a tenant is told is the same for a name of the inner network and for one that does not exist', async () => {
  const inside = store.create({ tenant: 'ann', url: 'http://localhost:1/', events: [] }).webhook.id;
  const nowhere = store.create({ tenant: 'ann', url: 'http://no.such.name.invalid/', events: [] }).webhook.id;
  await sender.close();
  sender = new WebhookSender({ store, allowed: [], writes, onError: () => undefined });
  for (const id of [inside, nowhere]) store.enqueue(id, 'event', 'test', {});
  sender.wake();
  await vi.waitFor(
    () => expect([inside, nowhere].map((id) => deliveriesOf(id)[0]?.error)).not.toContain(null),
    { timeout: 10_000 },
  );
  const [one, other] = [inside, nowhere].map((id) => deliveriesOf(id)[0]?.error);
  expect(one).toBe(other);
  expect(one).toContain('does not lead to an address that can be called');
});
