import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { limits } from '../server/contract/limits.ts';
import { TestAppliance } from './appliance.ts';

/* S4: answers that are not streamed and are long in coming. The waits are the real ones, side by side. */
let appliance: TestAppliance;
beforeAll(async () => {
  appliance = await TestAppliance.start();
  await appliance.ready();
  await appliance.operator('/api/pause', 'POST', { unload: false });
});
afterAll(() => appliance.stop());

/** A raw request, to see every byte and how the connection ends. */
function ask(prompt: string): { received: () => string; ended: Promise<'ended' | 'broken off'> } {
  const body = JSON.stringify({ prompt, model: 'demo-chat-3b' });
  const socket = connect(Number(new URL(appliance.tenantUrl).port), '127.0.0.1');
  let received = '';
  socket.setEncoding('utf8').on('data', (piece: string) => (received += piece));
  socket.write(
    `POST /generate-text HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: ${appliance.key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  const ended = new Promise<'ended' | 'broken off'>((resolve) => {
    // The last chunk of a complete answer is empty.
    socket.on('close', () => resolve(received.endsWith('0\r\n\r\n') ? 'ended' : 'broken off'));
    socket.on('error', () => undefined);
  });
  return { received: () => received, ended };
}

test('spaces keep the connection alive; then comes the answer, or an error that nothing takes for success', async () => {
  const [answered, cancelled] = [ask('hello'), ask('goodbye')];
  await appliance.until(
    () => [answered, cancelled].every(({ received }) => /\r\n\r\n1\r\n \r\n/.test(received())),
    limits.jsonPatienceMs + 5_000,
    200,
  );
  expect(answered.received()).toMatch(/^HTTP\/1\.1 200 /);
  // The second of the two, by its place in the queue.
  const queue: { id: string; position: number }[] = await appliance.operator('/api/queue');
  const second = queue.find(({ position }) => position === 2);
  await appliance.operator(`/api/queue/${second?.id}`, 'DELETE');
  expect(await cancelled.ended).toBe('broken off');
  expect(cancelled.received()).toContain('"code":"conflict"');
  await appliance.operator('/api/resume', 'POST');
  expect(await answered.ended).toBe('ended');
  expect(answered.received()).toContain('You wrote: hello.');
});
