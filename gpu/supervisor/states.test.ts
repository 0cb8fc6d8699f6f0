import { expect, test } from 'vitest';
import { phaseMoves } from '../vram/state.ts';
import { Backoff, backoffLimits } from './backoff.ts';
import { childEnv } from './child-env.ts';
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
  const shortest = new Backoff(() => 0);
  const longest = new Backoff(() => 1);
  expect([shortest.died(0, 0), longest.died(0, 0)]).toEqual([250, 500]);
  expect([shortest.died(1, 0), longest.died(1, 0)]).toEqual([500, 1_000]);
  expect(longest.died(2, backoffLimits.healthyMs)).toBe(500);
  const patient = new Backoff(() => 1);
  let pause: number | null = 0;
  for (let i = 0; i < 20; i += 1) pause = patient.died(i * backoffLimits.windowMs, 0);
  expect(pause).toBe(backoffLimits.longestMs);
});

test('P4: five deaths in five minutes, and it is given up', () => {
  const backoff = new Backoff();
  const pauses = [0, 1, 2, 3, 4].map((i) => backoff.died(i * 1_000, 0));
  expect(pauses.map((pause) => pause === null)).toEqual([false, false, false, false, true]);
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
