import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { EngineError } from './engines/engine-error.ts';
import { FakeEngine, fakeGpu, gib } from './fake-machine.fixture.ts';
import type { Caller, Gpu } from './gpu.ts';
import { KeptState } from './kept-state.ts';

// Reading the machine takes real time, and none of it passes here.
vi.mock('systeminformation', () => ({
  default: {
    currentLoad: () => Promise.resolve({ currentLoad: 1 }),
    mem: () => Promise.resolve({ active: 1, total: 2 }),
  },
}));

const person: Caller = { tenant: 'a', weight: 1, concurrency: 4, lane: 'interactive' };
const job: Caller = { ...person, tenant: 'b', lane: 'batch' };
const body = { endpoint: 'chat/completions', body: {} } as const;
const never = new AbortController().signal;

let engine: FakeEngine;
let other: FakeEngine;
let gpu: Gpu;
let file: string;
const kept = (): KeptState => new KeptState(file, () => undefined);

beforeEach(() => {
  file = join(mkdtempSync(join(tmpdir(), 'kilnhouse-care-')), 'state.json');
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'],
  });
  engine = new FakeEngine('lm', { small: gib });
  other = new FakeEngine('ui', { picture: gib }, { pid: 2_000, modality: 'image' });
});
afterEach(async () => {
  await gpu.close();
  vi.useRealTimers();
});

async function started(): Promise<void> {
  gpu = fakeGpu([engine, other], { kept: kept() });
  await gpu.start();
  await vi.advanceTimersByTimeAsync(0);
}

const healthOf = (id = 'lm') => gpu.engines().find((one) => one.id === id);
const ask = (caller: Caller) => gpu.complete('small', body, caller, never).result;
/** What became of work: the kind of its error, or that it was done; null while it waits. */
function watch(work: Promise<unknown>): { outcome: string | null } {
  const seen: { outcome: string | null } = { outcome: null };
  work.then(
    () => (seen.outcome = 'done'),
    (error: unknown) => (seen.outcome = error instanceof EngineError ? error.kind : String(error)),
  );
  return seen;
}

test('bug 8: nothing but the operator’s start starts an engine that the operator stopped', async () => {
  await started();
  await ask(person);
  await gpu.stopEngine('lm');
  const { starts } = engine;
  const waiting = watch(ask(job));
  gpu.scheduler.requestLoad('small');
  await gpu.refreshEngine('lm');
  // Health checks, telemetry and whatever else looks after engines.
  await vi.advanceTimersByTimeAsync(30 * 60_000);
  expect(engine.starts).toBe(starts);
  expect(healthOf()).toMatchObject({ health: 'stopped', failure: null, nextTryAt: null });
  await gpu.startEngine('lm');
  await vi.advanceTimersByTimeAsync(100);
  expect([engine.starts, waiting.outcome]).toEqual([starts + 1, 'done']);
});

test('bug 8: a stop holds over a restart of the appliance, and so does the start after it', async () => {
  await started();
  await gpu.stopEngine('lm');
  await gpu.close();
  engine = new FakeEngine('lm', { small: gib });
  await started();
  await vi.advanceTimersByTimeAsync(10 * 60_000);
  expect([engine.starts, healthOf()?.health, healthOf('ui')?.health]).toEqual([0, 'stopped', 'ready']);
  await gpu.startEngine('lm');
  expect(kept().stoppedEngines).toEqual([]);
});

test('D5: what waits for a stopped engine is told so, has no time, and people are sent away after a minute; jobs wait', async () => {
  await started();
  await gpu.stopEngine('lm');
  const [early, batch] = [watch(ask(person)), watch(ask(job))];
  await vi.advanceTimersByTimeAsync(10);
  expect(gpu.scheduler.standings().map(({ reason, etaMs }) => [reason, etaMs])).toEqual([
    ['engine_stopped', null],
    ['engine_stopped', null],
  ]);
  await vi.advanceTimersByTimeAsync(61_000);
  expect([early.outcome, batch.outcome]).toEqual(['stopped', null]);
  await expect(ask(person)).rejects.toMatchObject({ kind: 'stopped', retryAfterMs: 60_000 });
  expect(gpu.canServe('text')).toBe(false);
  expect(gpu.defaultModel('text')).toBeUndefined();
});

test('a restart by the operator loses nobody’s request', async () => {
  await started();
  const restarted = gpu.restartEngine('lm');
  const asked = ask(person);
  await restarted;
  await expect(asked).resolves.toBeDefined();
});

test('work that the stop broke off is told that it was the operator, so that a job waits and does not fail', async () => {
  await started();
  let letGo = (): void => undefined;
  engine.hold = new Promise((resolve) => (letGo = resolve));
  const broken = watch(ask(job));
  await vi.advanceTimersByTimeAsync(10);
  await gpu.stopEngine('lm');
  letGo();
  await vi.advanceTimersByTimeAsync(10);
  expect(broken.outcome).toBe('stopped');
});

test('P4, bug 7: five deaths, and an engine is given up; it is tried again by itself, and heals', async () => {
  engine.failure = new EngineError('start_failed', 'lm ended with exit code 1.');
  await started();
  await vi.advanceTimersByTimeAsync(60_000);
  expect([engine.starts, healthOf()?.health]).toEqual([5, 'failed']);
  expect(healthOf()?.failure).toContain('exit code 1');
  expect(healthOf()?.nextTryAt).toBeGreaterThan(Date.now());
  expect(healthOf('ui')?.health).toBe('ready');
  engine.failure = null;
  await vi.advanceTimersByTimeAsync(3 * 60_000);
  expect([healthOf()?.health, healthOf()?.failure, healthOf()?.nextTryAt]).toEqual(['ready', null, null]);
});

test('P4: the operator’s start gives a failed engine its chances anew, at once', async () => {
  engine.failure = new EngineError('start_failed', 'it ended.');
  await started();
  await vi.advanceTimersByTimeAsync(60_000);
  engine.failure = null;
  await gpu.startEngine('lm');
  expect(healthOf()?.health).toBe('ready');
});

test('what cannot pass by itself is not tried five times in a row', async () => {
  engine.failure = new EngineError('not_installed', 'There is no lms.');
  await started();
  await vi.advanceTimersByTimeAsync(60_000);
  expect([engine.starts, healthOf()?.health]).toEqual([1, 'failed']);
});

test('one death that is told by several counts once', async () => {
  await started();
  for (let i = 0; i < 4; i += 1) {
    engine.failure = new EngineError('start_failed');
    engine.crash();
    engine.crash();
    engine.failure = null;
    await vi.advanceTimersByTimeAsync(10_000);
  }
  expect(healthOf()?.health).toBe('ready');
});

test('bug 10: an engine that vanished with nothing loaded is found out within a minute, and comes back', async () => {
  await started();
  engine.vanish();
  engine.failure = new EngineError('start_failed', 'it does not come up.');
  expect(healthOf()?.health).toBe('ready');
  await vi.advanceTimersByTimeAsync(61_000);
  expect(healthOf()?.health).not.toBe('ready');
  expect(gpu.canServe('text')).toBe(false);
  engine.failure = null;
  await vi.advanceTimersByTimeAsync(10 * 60_000);
  expect(healthOf()?.health).toBe('ready');
});

test('an engine that is down keeps no other waiting', async () => {
  await started();
  engine.failure = new EngineError('start_failed');
  engine.crash();
  watch(ask(job));
  await gpu.complete('picture', body, person, never).result;
  expect(other.loads).toBe(1);
});

test('bug 9: what an engine said it holds before a load or an unload changes nothing after it', async () => {
  await started();
  const phase = () => gpu.models().find(({ id }) => id === 'small')?.phase;
  /** Asks the engine, whose answer comes only after something else has been done. */
  const askedBefore = async (change: () => void): Promise<void> => {
    let arrive = (): void => undefined;
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    const answer = await engine.loaded();
    vi.spyOn(engine, 'loaded').mockImplementationOnce(() => arrived.then(() => answer));
    const refreshed = gpu.refreshEngine('lm');
    await vi.advanceTimersByTimeAsync(0);
    change();
    await vi.advanceTimersByTimeAsync(1_000);
    arrive();
    await refreshed;
  };
  await askedBefore(() => gpu.load('small'));
  expect(phase()).toBe('ready');
  await askedBefore(() => gpu.scheduler.requestUnload('small'));
  expect(phase()).toBe('absent');
});

test('bug 9: work that fails late, after its engine was lost and is up again, does not make the engine suspect', async () => {
  await started();
  let fail = (_: Error): void => undefined;
  engine.hold = new Promise((_, reject) => (fail = reject));
  const late = watch(ask(person));
  await vi.advanceTimersByTimeAsync(10);
  engine.crash();
  await vi.advanceTimersByTimeAsync(5_000);
  engine.hold = null;
  await ask(person);
  const health = vi.spyOn(engine, 'health');
  fail(new EngineError('broken_stream'));
  await vi.advanceTimersByTimeAsync(10);
  expect([late.outcome, health.mock.calls.length]).toEqual(['broken_stream', 0]);
});
