import { expect, test } from 'vitest';
import { phaseMoves } from '../vram/state.ts';
import { Backoff, engineRestart, tunnelRestart } from './backoff.ts';
import { childEnv } from './child-env.ts';
import { endingOf } from './child-error.ts';
import { LogRing, logLimits } from './log-ring.ts';
import { type ChildEvent, type ChildState, childStates, nextState } from './states.ts';

const states = Object.keys(childStates) as ChildState[];
const events = [...new Set(states.flatMap((state) => Object.keys(childStates[state])))] as ChildEvent[];

test('every pair of state and event is either in the table or refused', () => {
  for (const state of states) {
    for (const event of events) {
      const listed = (childStates[state] as Partial<Record<ChildEvent, ChildState>>)[event];
      if (listed) expect(nextState(state, event)).toBe(listed);
      else expect(() => nextState(state, event)).toThrow(`cannot ${event}`);
    }
  }
});

test('every state can be reached, and every one but the end can be left', () => {
  const reached = new Set<ChildState>(['stopped']);
  for (const state of reached) for (const next of Object.values(childStates[state])) reached.add(next);
  expect([...reached].toSorted()).toEqual(states.toSorted());
  expect(phaseMoves.unloading).toEqual([]);
});

test('P4: pauses double up to a cap, with jitter, and are forgotten after a healthy minute', () => {
  const waitOf = (backoff: Backoff, now: number, livedMs = 0): number => backoff.died(now, livedMs).waitMs;
  const shortest = new Backoff(engineRestart, () => 0);
  const longest = new Backoff(engineRestart, () => 1);
  expect([waitOf(shortest, 0), waitOf(longest, 0)]).toEqual([250, 500]);
  expect([waitOf(shortest, 1), waitOf(longest, 1)]).toEqual([500, 1_000]);
  expect(waitOf(longest, 2, engineRestart.healthyMs)).toBe(500);
  const patient = new Backoff(engineRestart, () => 1);
  const rarely = Array.from({ length: 20 }, (_, i) => waitOf(patient, i * 5 * 60_000));
  expect(rarely.at(-1)).toBe(engineRestart.longestMs);
});

test('P4: five deaths in five minutes, and an engine is given up, then tried once in a while', () => {
  const backoff = new Backoff(engineRestart);
  const deaths = [0, 1, 2, 3, 4].map((i) => backoff.died(i * 1_000, 0));
  expect(deaths.map(({ isGivenUp }) => isGivenUp)).toEqual([false, false, false, false, true]);
  expect(deaths[4]?.waitMs).toBe(engineRestart.giveUp?.againAfterMs);
  // The window is long over: one more death is enough all the same.
  expect(backoff.died(3_600_000, 1_000).isGivenUp).toBe(true);
  expect(backoff.died(7_200_000, engineRestart.healthyMs).isGivenUp).toBe(false);
  backoff.reset();
  expect(backoff.died(7_200_001, 0).isGivenUp).toBe(false);
});

test('bug 7: a tunnel is never given up, however long the internet is away, and is tried at least once a minute', () => {
  const backoff = new Backoff(tunnelRestart, () => 1);
  for (let i = 0; i < 5_000; i += 1) {
    const { waitMs, isGivenUp } = backoff.died(i * 10, 0);
    expect(isGivenUp).toBe(false);
    expect(waitMs).toBeLessThanOrEqual(tunnelRestart.longestMs);
  }
  expect(backoff.refused()).toEqual({ waitMs: tunnelRestart.longestMs, isGivenUp: false });
});

test('D19: how a process ended is said, also where a signal ended it or nothing is known', () => {
  expect(endingOf({ exitCode: 139 })).toBe('ended with exit code 139');
  expect(endingOf({ signal: 'SIGKILL' })).toBe('was ended by signal SIGKILL');
  expect(endingOf({})).toBe('ended without an exit code');
});

test('P8: ten megabytes without a line end are kept to the last line', () => {
  const ring = new LogRing();
  for (let i = 0; i < 160; i += 1) ring.write('out', 'x'.repeat(64 * 1024), 0);
  ring.write('out', '\nthe end\n', 0);
  const kept = ring.lines();
  expect(kept.at(-1)?.text).toBe('the end');
  expect(kept.reduce((sum, { text }) => sum + text.length, 0)).toBeLessThan(2 * logLimits.lineBytes);
});

test('P8: only the last lines are kept, oldest first', () => {
  const ring = new LogRing();
  for (let i = 0; i < logLimits.lines + 5; i += 1) ring.write('out', `line ${i}\n`, 0);
  expect(ring.lines()).toHaveLength(logLimits.lines);
  expect(ring.lines()[0]?.text).toBe('line 5');
  expect(ring.lines().at(-1)?.text).toBe(`line ${logLimits.lines + 4}`);
});

test('D7: a child sees what programs need, and no secret of ours', () => {
  const source = {
    PATH: '/bin',
    HOME: '/h',
    CUDA_VISIBLE_DEVICES: '0',
    STRIPE_KEY: 'x',
    OPENAI_API_KEY: 'y',
    KILNHOUSE_DATA: '/d',
  };
  expect(childEnv(source, { owner: 'o', child: 'c' })).toEqual({
    PATH: '/bin',
    HOME: '/h',
    CUDA_VISIBLE_DEVICES: '0',
    KILNHOUSE_OWNER: 'o',
    KILNHOUSE_CHILD: 'c',
  });
});
