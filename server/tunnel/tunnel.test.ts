import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { tunnelRestart } from '../../gpu/supervisor/backoff.ts';
import { processes } from '../../gpu/supervisor/processes.ts';
import { Supervisor } from '../../gpu/supervisor/supervisor.ts';
import { makeCloudflared } from '../../tests/tunnel-program.ts';
import { freePorts } from '../free-ports.ts';
import { Tunnel } from './tunnel.ts';

let supervisor: Supervisor;
let tunnel: Tunnel;
afterEach(async () => {
  await tunnel.stop();
  await supervisor.close();
});

function tunnelOf(cloudflared: string, control: string): { logged: string[] } {
  process.env['STANDIN_TUNNEL_CONTROL'] = control;
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-tunnel-unit-'));
  const logged: string[] = [];
  supervisor = new Supervisor({ owner: folder, rosterFile: join(folder, 'roster.json'), processes });
  tunnel = new Tunnel({
    supervisor,
    settings: { cloudflared, token: null, address: null },
    restart: { ...tunnelRestart, firstMs: 20, longestMs: 50 },
    tokenFile: join(folder, 'token'),
    localPort: 1,
    metricsPort: async () => (await freePorts(1))[0] ?? 0,
    hasKeys: () => true,
    log: (message) => logged.push(message),
  });
  return { logged };
}

test('bug 7: an internet outage at the start, of many deaths, and the tunnel opens by itself once it is over', async () => {
  const { cloudflared, control } = makeCloudflared();
  writeFileSync(control, JSON.stringify({ die: true, connections: 0 }));
  const { logged } = tunnelOf(cloudflared, control);
  await expect(tunnel.start()).rejects.toMatchObject({ code: 'tunnel_unavailable', status: 502 });
  const failures = (): number => logged.filter((message) => message === 'the tunnel is down').length;
  await vi.waitFor(() => expect(failures()).toBeGreaterThan(6), { timeout: 15_000 });
  const { state, problem } = tunnel.status();
  expect(state).toBe('failed');
  // It is the program that is named, and no engine.
  expect(problem).toContain('cloudflared ended with exit code 1');
  expect(problem).not.toMatch(/engine|undefined/i);
  writeFileSync(control, '{}');
  await vi.waitFor(
    () => expect(tunnel.status()).toMatchObject({ state: 'up', problem: null, nextTryAt: null }),
    {
      timeout: 15_000,
    },
  );
}, 40_000);

test('shut while it is being tried, it stays shut', async () => {
  const { cloudflared, control } = makeCloudflared();
  writeFileSync(control, JSON.stringify({ connections: 0 }));
  tunnelOf(cloudflared, control);
  const started = tunnel.start().catch((error: unknown) => error);
  await vi.waitFor(() => expect(tunnel.status().state).toBe('starting'));
  await tunnel.stop();
  expect(await started).toMatchObject({ code: 'tunnel_unavailable' });
  expect(tunnel.status()).toMatchObject({ state: 'off', nextTryAt: null, problem: null });
});
