import { type AddressInfo, createServer } from 'node:net';
import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import { baseApp } from './base-app.ts';
import { PatientListener } from './patient-listener.ts';

test('a port that is taken is said, and listened on once it is free', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as AddressInfo;
  const app = await baseApp(pino({ level: 'silent' }));
  app.get('/hello', async () => 'hello');
  const told: (string | null)[] = [];
  const listener = new PatientListener(app, {
    host: '127.0.0.1',
    port,
    tls: null,
    againMs: 10,
    chosenBy: 'tenant.port',
    onChange: (problem) => told.push(problem),
  });
  await listener.open();
  expect(listener.problem).toBe(
    `Port ${port} is taken by another program. End that program, or choose another port with tenant.port.`,
  );
  expect(listener.url).toBe(`http://127.0.0.1:${port}`);
  await new Promise((resolve) => taken.close(resolve));
  await vi.waitFor(() => expect(listener.problem).toBeNull());
  expect(await (await fetch(`${listener.url}/hello`)).text()).toBe('hello');
  expect(told).toEqual([expect.stringContaining('taken'), null]);
  await listener.close();
});

test('an address that this machine does not have is said', async () => {
  const listener = new PatientListener(await baseApp(pino({ level: 'silent' })), {
    host: '192.0.2.7',
    port: 0,
    tls: null,
    againMs: 60_000,
    chosenBy: 'tenant.port',
    onChange: () => undefined,
  });
  await listener.open();
  expect(listener.problem).toContain('Nothing can listen on 192.0.2.7:0 (EADDRNOTAVAIL)');
  await listener.close();
});
