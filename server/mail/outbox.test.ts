import { createTransport } from 'nodemailer';
import { afterEach, expect, test, vi } from 'vitest';
import { openDatabase } from '../db/open.ts';
import { limits } from '../contract/limits.ts';
import { MailServer } from '../../tests/mail-server.ts';
import { mailTransport } from './transport.ts';
import { Outbox } from './outbox.ts';

const message = { to: 'ann@example.test', subject: 'Hello', text: 'A text.' };
const closers: (() => unknown)[] = [];
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
  const outbox = new Outbox(db, transport, (error) => errors.push(error));
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
  const outbox = new Outbox(db, await mailTransport(none), () => undefined);
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
