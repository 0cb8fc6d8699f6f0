import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NoSuchProcess, Pause } from './pause.ts';
import type { Mode } from './vram/state.ts';

let mode: Mode = 'running';
let game: { startTime: string } | null = null;
let pause: Pause;

beforeEach(() => {
  vi.useFakeTimers();
  mode = 'running';
  game = { startTime: '1' };
  pause = new Pause({
    mode: () => mode,
    setMode: (wanted) => (mode = wanted),
    identity: () => Promise.resolve(game),
  });
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
