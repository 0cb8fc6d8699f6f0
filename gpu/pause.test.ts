import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NoSuchProcess, Pause } from './pause.ts';
import type { KeptPause } from './kept-state.ts';
import type { Mode } from './vram/state.ts';

let mode: Mode = 'running';
let game: { startTime: string } | null = null;
let pause: Pause;
let identity: () => Promise<typeof game>;
let kept: { pause: KeptPause | null; setPause: (next: KeptPause | null) => void };
const errors: unknown[] = [];

function newPause(): Pause {
  return new Pause({
    mode: () => mode,
    setMode: (wanted) => (mode = wanted),
    identity: () => identity(),
    kept,
    onError: (error) => errors.push(error),
  });
}

beforeEach(() => {
  vi.useFakeTimers();
  mode = 'running';
  game = { startTime: '1' };
  identity = () => Promise.resolve(game);
  kept = { pause: null, setPause: (next) => (kept.pause = next) };
  errors.length = 0;
  pause = newPause();
});
afterEach(() => {
  pause.close();
  vi.useRealTimers();
});

test('until it is resumed, with the models or without', async () => {
  await pause.begin(true, { kind: 'resumed' });
  expect(pause.status()).toMatchObject({ mode: 'paused', until: null, pid: null });
  await vi.advanceTimersByTimeAsync(30 * 24 * 3_600_000);
  expect(mode).toBe('paused');
  pause.end();
  expect(pause.status()).toEqual({ mode: 'running', since: null, until: null, pid: null });
  await pause.begin(false, { kind: 'resumed' });
  expect(mode).toBe('holding');
});

test('for an hour, and not an hour longer', async () => {
  await pause.begin(true, { kind: 'time', ms: 3_600_000 });
  expect(pause.status().until).toBe(Date.now() + 3_600_000);
  await vi.advanceTimersByTimeAsync(3_599_999);
  expect(mode).toBe('paused');
  await vi.advanceTimersByTimeAsync(1);
  expect(mode).toBe('running');
});

test('until the game has ended, also when its number is another program’s at once', async () => {
  for (const after of [null, { startTime: '2' }]) {
    game = { startTime: '1' };
    await pause.begin(true, { kind: 'process', pid: 7 });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(pause.status()).toMatchObject({ mode: 'paused', pid: 7 });
    game = after;
    await vi.advanceTimersByTimeAsync(2_000);
    expect(mode).toBe('running');
  }
});

test('a game that is not there pauses nothing', async () => {
  game = null;
  await expect(pause.begin(true, { kind: 'process', pid: 7 })).rejects.toThrow(NoSuchProcess);
  expect(mode).toBe('running');
});

test('what is said last counts', async () => {
  await pause.begin(true, { kind: 'time', ms: 1_000 });
  await pause.begin(true, { kind: 'resumed' });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(mode).toBe('paused');
  pause.end();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(mode).toBe('running');
});

/** The appliance ends and starts again, so long later. */
async function restart(afterMs: number): Promise<void> {
  pause.close();
  mode = 'running';
  await vi.advanceTimersByTimeAsync(afterMs);
  pause = newPause();
  pause.restore();
}

test('bug 24: a pause holds over a restart, with its end: a time', async () => {
  await pause.begin(true, { kind: 'time', ms: 3_600_000 });
  await restart(60_000);
  expect(mode).toBe('paused');
  await vi.advanceTimersByTimeAsync(3_600_000 - 60_001);
  expect(mode).toBe('paused');
  await vi.advanceTimersByTimeAsync(1);
  expect([mode, kept.pause]).toEqual(['running', null]);
});

test('bug 24: a pause whose time has passed meanwhile is over', async () => {
  await pause.begin(true, { kind: 'time', ms: 1_000 });
  await restart(5_000);
  expect([mode, kept.pause]).toEqual(['running', null]);
});

test('bug 24: a pause holds over a restart until the game ends, and until it is resumed', async () => {
  await pause.begin(true, { kind: 'process', pid: 7 });
  await restart(1_000);
  expect(pause.status()).toMatchObject({ mode: 'paused', pid: 7 });
  game = { startTime: '2' };
  await vi.advanceTimersByTimeAsync(2_000);
  expect(mode).toBe('running');
  await pause.begin(false, { kind: 'resumed' });
  await restart(1_000);
  expect(mode).toBe('holding');
  pause.end();
  await restart(1_000);
  expect(mode).toBe('running');
});

test('a look at the game that fails ends neither the pause nor the appliance', async () => {
  await pause.begin(true, { kind: 'process', pid: 7 });
  identity = () => Promise.reject(new TypeError('stdout is undefined'));
  await vi.advanceTimersByTimeAsync(4_000);
  expect([mode, errors.length]).toEqual(['paused', 2]);
});
