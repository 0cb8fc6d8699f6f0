import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { answerRawErrors } from './raw-answer.ts';
import { SlowBodies } from './slow-bodies.ts';

const limits = { bytes: 1_000, windowMs: 10_000, lookEveryMs: 1_000_000 };
const cleanUp: (() => void)[] = [];
afterEach(() => cleanUp.splice(0).forEach((end) => end()));

/** A request whose head has arrived, with the watch over it and its clock. */
async function arriving(isRead = true) {
  let now = 0;
  const slow = new SlowBodies(limits, () => now);
  const server = createServer();
  answerRawErrors(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket: Socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  let answer = '';
  socket.on('data', (piece) => (answer += String(piece))).on('error', () => undefined);
  cleanUp.push(
    () => socket.destroy(),
    () => slow.close(),
    () => void server.close(),
  );
  socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n');
  const [request] = (await once(server, 'request')) as [IncomingMessage];
  slow.watch(request);
  if (isRead) request.resume();
  const seen = (): number => request.socket.bytesRead;
  return {
    socket,
    answer: () => answer,
    send: async (bytes: number) => {
      const before = seen();
      socket.write(Buffer.alloc(bytes));
      await expect.poll(seen).toBe(before + bytes);
    },
    pass: (ms: number) => {
      now += ms;
      slow.look();
    },
  };
}

test('F31: a body that trickles is cut, and told why', async () => {
  const { socket, send, pass, answer } = await arriving();
  await send(999);
  pass(9_999);
  expect(answer()).toBe('');
  pass(1);
  await once(socket, 'close');
  expect(answer()).toMatch(/^HTTP\/1.1 408 [\s\S]*1000 bytes in 10 s is the least/);
});

test('F31: a body that comes fast enough is not, however long it takes', async () => {
  const { socket, send, pass } = await arriving();
  for (let i = 0; i < 20; i += 1) {
    await send(1_000);
    pass(9_000);
  }
  expect(socket.destroyed).toBe(false);
});

test('a sender whose body we do not read is not cut', async () => {
  const { socket, send, pass } = await arriving(false);
  await send(500);
  for (let i = 0; i < 20; i += 1) pass(9_000);
  expect(socket.destroyed).toBe(false);
});
