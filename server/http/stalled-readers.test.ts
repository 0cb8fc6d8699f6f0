import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { answerOn, answerRawErrors } from './raw-answer.ts';
import { cutStalledReaders } from './stalled-readers.ts';

const afterMs = 100;
const cleanUp: (() => void)[] = [];
afterEach(() => cleanUp.splice(0).forEach((end) => end()));

/** A server that cuts stalled readers, and how many connections it has. */
async function serve(
  listener: RequestListener,
): Promise<{ server: Server; port: number; open: () => Promise<number> }> {
  const server = createServer(listener);
  answerRawErrors(server);
  cutStalledReaders(server, afterMs, answerOn);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp.push(
    () => void server.close(),
    () => server.closeAllConnections(),
  );
  return {
    server,
    port: (server.address() as AddressInfo).port,
    open: () => new Promise((resolve) => server.getConnections((_, count) => resolve(count))),
  };
}

test.each([
  ['one large piece', (size: number) => [Buffer.alloc(size)]],
  ['many small pieces', (size: number) => Array.from({ length: 1_000 }, () => Buffer.alloc(size / 1_000))],
])('S2: a reader that takes nothing of %s is cut', async (_, piecesOf) => {
  const { port, open } = await serve((_request, response) => {
    for (const piece of piecesOf(32 * 1024 ** 2)) response.write(piece);
    response.end();
  });
  const socket = connect(port, '127.0.0.1');
  cleanUp.push(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.pause();
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  await expect.poll(open, { timeout: 10_000 }).toBe(1);
  await expect.poll(open, { timeout: 10_000 }).toBe(0);
});

test('S2: an answer that is longer in coming than a reader may stall is not cut', async () => {
  const { port, server } = await serve((_request, response) => {
    void once(server, 'timeout').then(() => response.end('done'));
  });
  const socket = connect(port, '127.0.0.1');
  cleanUp.push(() => socket.destroy());
  socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  let answer = '';
  for await (const piece of socket) answer += String(piece);
  expect(answer).toMatch(/done$/);
});

test('a connection that is kept alive is closed when it was idle for long', async () => {
  const { port, open } = await serve((_request, response) => response.end('done'));
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined).resume();
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  await once(socket, 'close');
  expect(await open()).toBe(0);
}, 20_000);
