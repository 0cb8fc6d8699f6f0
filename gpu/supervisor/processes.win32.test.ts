import { expect, test } from 'vitest';
import { identityQuery, taskkillArguments } from './processes.win32.ts';

test('a tree is ended whole, and forced only when it must be', () => {
  expect(taskkillArguments(4242, false)).toEqual(['/PID', '4242', '/T']);
  expect(taskkillArguments(4242, true)).toEqual(['/PID', '4242', '/T', '/F']);
});

test('a process is named by its creation time and executable', () => {
  expect(identityQuery(7)).toContain('ProcessId=7');
});
