import { expect, test } from 'vitest';
import { kindOf, titleOf } from './setting-kind.ts';

const nothing = { type: 'null' };

test.each([
  [{ type: 'boolean' }, { kind: 'flag', isOptional: false }],
  [
    { type: 'integer', minimum: 0 },
    { kind: 'number', min: 0, max: null, isWhole: true, isOptional: false },
  ],
  [
    { anyOf: [{ type: 'number', maximum: 1 }, nothing] },
    { kind: 'number', min: null, max: 1, isWhole: false, isOptional: true },
  ],
  [{ anyOf: [{ type: 'string' }, nothing] }, { kind: 'text', isOptional: true }],
  [{ anyOf: [{ const: 'a' }, { const: 'b' }] }, { kind: 'choice', choices: ['a', 'b'], isOptional: false }],
  [
    { anyOf: [{ anyOf: [{ const: 'a' }, { const: 'b' }] }, nothing] },
    { kind: 'choice', choices: ['a', 'b'], isOptional: true },
  ],
  [{ type: 'array' }, { kind: 'list', isOptional: false }],
])('%j', (schema, kind) => expect(kindOf(schema, false)).toEqual(kind));

test('a secret is asked for as one, whatever it may be', () =>
  expect(kindOf({ anyOf: [{ type: 'string' }, nothing] }, true)).toEqual({
    kind: 'secret',
    isOptional: true,
  }));

test.each([
  ['gpu.capMib', 'Cap (MiB)'],
  ['scheduler.maxWaitSeconds', 'Max wait (seconds)'],
  ['tenant.publicUrl', 'Public URL'],
  ['demo', 'Demo'],
  ['backup.keepDays', 'Keep (days)'],
])('%s: %s', (path, title) => expect(titleOf(path)).toBe(title));
