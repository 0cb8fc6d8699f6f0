import { createTransport } from 'nodemailer';
import { afterEach, expect, test, vi } from 'vitest';
import type { Database } from 'better-sqlite3';
import { DurableWrites } from '../db/durable-writes.ts';
import { openDatabase } from '../db/open.ts';
import { limits } from '../contract/limits.ts';
import { MailServer } from '../../tests/mail-server.ts';
import { mailTransport } from './transport.ts';
import { Outbox } from './outbox.ts';

const message = { tenant: null, to: 'ann@example.test', subject: 'Hello', text: 'A text.' };
const closers: (() => unknown)[] = [];
const writesTo = (db: Database) =>
  new DurableWrites({ atomically: (work) => db.transaction(work)(), onError: () => undefined });
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function mailServer(refuse = 0): Promise<{ port: number; received: string[] }> {
  const server = new MailServer(refuse);
  closers.push(() => server.stop());
  return { port: await server.start(), received: server.received };
}

function outboxTo(port: number) {
  const db = openDatabase(':memory:');
  const errors: unknown[] = [];
  const transport = createTransport({ host: '127.0.0.1', port }, { from: 'kiln@example.test' });
  const outbox = new Outbox({ db, transport, writes: writesTo(db), onError: (error) => errors.push(error) });
  closers.push(() => outbox.close());
  return { db, outbox, errors };
}

test('a message goes out once, and is written down as sent', async () => {
  const { port, received } = await mailServer();
  const { outbox } = outboxTo(port);
  outbox.send(message);
  await vi.waitFor(() => expect(outbox.page(undefined, 10)[0]?.sentAt).not.toBeNull());
  await outbox.deliver();
  expect(received).toHaveLength(1);
  expect(received[0]).toContain('Subject: Hello');
});

test('one that is refused is tried again later, and not before', async () => {
  const { port, received } = await mailServer(1);
  const { db, outbox, errors } = outboxTo(port);
  outbox.send(message);
  await vi.waitFor(() => expect(errors).toHaveLength(1));
  await outbox.deliver();
  expect(received).toEqual([]);
  expect(outbox.page(undefined, 10)[0]).toMatchObject({ attempts: 1, sentAt: null });
  db.exec('update outbox set next_at = 0');
  await outbox.deliver();
  expect(received).toHaveLength(1);
});

test('without a mail server messages wait for the operator, for two weeks', async () => {
  const db = openDatabase(':memory:');
  const none = { host: null, port: 0, secure: false, user: null, password: null, from: '' };
  const outbox = new Outbox({
    db,
    transport: await mailTransport(none),
    writes: writesTo(db),
    onError: () => undefined,
  });
  outbox.send(message);
  expect(outbox.isDelivered).toBe(false);
  expect(outbox.page(undefined, 10)).toMatchObject([
    { recipient: message.to, body: message.text, sentAt: null },
  ]);
  outbox.sweep(50);
  expect(outbox.page(undefined, 10)).toHaveLength(1);
  db.prepare('update outbox set created_at = created_at - ?').run(limits.mail.keptMs + 1_000);
  outbox.sweep(50);
  expect(outbox.page(undefined, 10)).toEqual([]);
});

test('D2: a message that went out, and cannot be recorded as sent, is not sent again', async () => {
  const { port, received } = await mailServer();
  const { db, outbox } = outboxTo(port);
  outbox.send(message);
  db.exec(`create trigger never before update on outbox begin select raise(abort, 'never'); end`);
  await vi.waitFor(() => expect(received).toHaveLength(1));
  for (let round = 0; round < 5; round += 1) await outbox.deliver();
  expect(received).toHaveLength(1);
});

test('S7: tenants take turns, however many messages one of them has', async () => {
  const { port, received } = await mailServer();
  const { db, outbox } = outboxTo(port);
  db.transaction(() => {
    for (let count = 0; count < 2 * limits.mail.atOnce; count += 1)
      outbox.send({ ...message, tenant: 'greedy' });
    outbox.send({ ...message, tenant: 'modest', subject: 'Modest' });
    outbox.send({ ...message, tenant: null, subject: 'Nobody’s' });
  })();
  await vi.waitFor(() => expect(received.length).toBeGreaterThanOrEqual(3));
  expect(received.slice(0, 3).filter((text) => /Subject: (Modest|=\?)/.test(text))).toHaveLength(2);
});
