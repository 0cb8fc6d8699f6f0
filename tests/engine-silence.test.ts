import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { Gpu } from '../gpu/gpu.ts';
import { KeptState } from '../gpu/kept-state.ts';
import { Measurements } from '../gpu/measurements.ts';
import { defaultPolicy } from '../gpu/vram/policy.ts';
import { defaultQueueLimits } from '../gpu/vram/bounds.ts';
import { testMachine, type TestMachine } from './engines.ts';

/* P5, F17, F27: engines that fall silent, with bounds short enough to wait for. */
let machine: TestMachine;
let gpu: Gpu;
afterEach(async () => {
  await gpu.close();
  await machine.close();
});

const caller = { tenant: 't', weight: 1, concurrency: 4, lane: 'interactive' } as const;
const never = new AbortController().signal;

async function start(): Promise<void> {
  machine = await testMachine({ firstByteTimeoutMs: 1_000, idleTimeoutMs: 1_000 });
  gpu = new Gpu({
    engines: [machine.lmStudio()],
    probe: { read: () => Promise.resolve({ kind: 'none', reason: 'declared' }), close: () => undefined },
    ownPids: () => Promise.resolve(new Set()),
    declaredBytes: 8 * 1024 ** 3,
    budget: () => ({ reserveBytes: 0, marginBytes: 0, capBytes: null }),
    defaults: () => ({ text: null, image: null }),
    policy: () => defaultPolicy,
    queue: () => defaultQueueLimits,
    measurements: new Measurements(join(mkdtempSync(join(tmpdir(), 'kilnhouse-silence-')), 'm.json')),
    kept: new KeptState(null, () => undefined),
    pinned: new Set(),
    log: () => undefined,
  });
  await gpu.start();
  await gpu.settled(60_000);
  // On a busy machine the short bounds of this test can meet the engine's own start; then it is started anew.
  await vi.waitFor(read, { timeout: 60_000, interval: 300 });
}

async function read(): Promise<number> {
  const body = { messages: [{ role: 'user', content: 'hello there' }] };
  const run = gpu.stream('demo-chat-3b', { endpoint: 'chat/completions', body }, caller, never);
  let events = 0;
  for await (const _ of run.events) events += 1;
  return events;
}

test.each(['hang_first_byte', 'hang_mid_stream', 'hang_before_done'])(
  'P5: %s: the request ends, its lease with it',
  async (fault) => {
    await start();
    machine.faults(fault);
    await expect(read()).rejects.toMatchObject({ kind: 'silent' });
    expect(gpu.scheduler.state.leases.size).toBe(0);
    machine.faults('');
    await vi.waitFor(async () => expect(await read()).toBeGreaterThan(3), { timeout: 60_000, interval: 300 });
  },
);

test('F27: an engine that lists models and generates nothing is found out by a real generation, and restarted', async () => {
  await start();
  machine.faults('dead_completions');
  await expect(read()).rejects.toMatchObject({ kind: 'silent' });
  await vi.waitFor(() => expect(gpu.scheduler.decisions().some(({ type }) => type === 'lost')).toBe(true), {
    timeout: 60_000,
  });
  machine.faults('');
  await vi.waitFor(async () => expect(await read()).toBeGreaterThan(3), { timeout: 60_000, interval: 300 });
  expect(gpu.engines()[0]?.health).toBe('ready');
}, 180_000);
