import { expect, test } from 'vitest';
import { alertsOf } from './alerts.ts';

const well = {
  gpu: { readable: true, declared: false, dirty: false },
  engines: [],
  models: [],
  writes: { waiting: 0, waitingSince: null, lost: {} },
  now: 0,
  tenantsProblem: null,
  tunnelFailure: null,
  settingsFault: null,
  listenerProblem: null,
};
const lm = { id: 'lm', title: 'LM Studio', failure: null } as const;
const model = (id: string, engineId: string, waiting: number) => ({ id, engineId, waiting, spilled: false });

test('D5: a stopped engine says so, with what waits for its models, and is no error of anybody', () => {
  const models = [model('a', 'lm', 12), model('b', 'lm', 4), model('c', 'other', 7)];
  const [alert, ...more] = alertsOf({ ...well, engines: [{ ...lm, health: 'stopped' }], models });
  expect(more).toEqual([]);
  expect(alert).toMatchObject({ level: 'warning', title: 'LM Studio is stopped: 16 requests wait' });
  const [quiet] = alertsOf({ ...well, engines: [{ ...lm, health: 'stopped' }] });
  expect(quiet?.title).toBe('LM Studio is stopped');
});

test('D19: a failing engine says what happened and that it is tried again', () => {
  const failure = 'The engine did not start. "lms daemon up" was ended by signal SIGTERM.';
  const [failing] = alertsOf({ ...well, engines: [{ ...lm, health: 'failing', failure }] });
  expect(failing).toMatchObject({ level: 'error', title: 'LM Studio is down' });
  expect(failing?.advice).toContain(failure);
  const [failed] = alertsOf({ ...well, engines: [{ ...lm, health: 'failed', failure }] });
  expect(failed?.advice).toContain('once in a while');
});

test('an engine that is ready or starting is nothing to tell', () => {
  for (const health of ['ready', 'starting', 'unknown'] as const)
    expect(alertsOf({ ...well, engines: [{ ...lm, health }] })).toEqual([]);
});

test('bug 4: what waits for the disk for long, and what can never be recorded, is told', () => {
  const writes = { waiting: 3, waitingSince: 1_000, lost: {} };
  expect(alertsOf({ ...well, writes, now: 2_000 })).toEqual([]);
  const [waiting, ...more] = alertsOf({ ...well, writes, now: 1_000 + 60_000 });
  expect(more).toEqual([]);
  expect(waiting).toMatchObject({ id: 'storage:waiting', level: 'error' });
  expect(waiting?.advice).toContain('3 ends of requests');
  const [lost] = alertsOf({
    ...well,
    writes: { waiting: 0, waitingSince: null, lost: { 'the end of a request': 2 } },
  });
  expect(lost).toMatchObject({ id: 'storage:lost', level: 'error' });
  expect(lost?.advice).toContain('the end of a request (2)');
});
