import fc from 'fast-check';
import { Type } from 'typebox';
import { expect, test } from 'vitest';
import { dropAbsent, dropIgnored, fieldNamesHeader } from './given-fields.ts';
import { Nullable } from './platform.ts';

const schema = Type.Object({
  needed: Type.String(),
  left: Type.Optional(Type.String()),
  cleared: Type.Optional(Nullable(Type.String())),
  any: Type.Optional(Type.Unknown()),
  items: Type.Optional(
    Type.Array(
      Type.Union([
        Type.Object({ kind: Type.Literal('a'), x: Type.Optional(Type.Integer({ 'x-absent': [-1] })) }),
        Type.Object({ kind: Type.Literal('b'), y: Type.Optional(Type.Integer()) }),
      ]),
    ),
  ),
});

test('case 9: null is dropped at every depth where it means "not given", and kept where it means something', () => {
  const value = {
    needed: null,
    left: null,
    cleared: null,
    any: null,
    unknown: null,
    items: [
      { kind: 'a', x: null },
      { kind: 'a', x: -1 },
      { kind: 'b', y: null },
      { kind: 'b', y: -1 },
    ],
  };
  dropAbsent(schema, value);
  expect(value).toEqual({
    needed: null,
    cleared: null,
    any: null,
    unknown: null,
    items: [{ kind: 'a' }, { kind: 'a' }, { kind: 'b' }, { kind: 'b', y: -1 }],
  });
});

test('values that are no object are left alone', () => {
  for (const value of [null, 5, 'x', [], [null]]) expect(() => dropAbsent(schema, value)).not.toThrow();
  expect(dropIgnored(schema, null)).toEqual([]);
});

test('T3: a schema that does not say so has its unknown fields refused, not dropped', () => {
  const body = { needed: 'x', role: 'admin' };
  expect(dropIgnored(schema, body)).toEqual([]);
  expect(body).toEqual({ needed: 'x', role: 'admin' });
});

test('whatever a field is called, the header holds it: visible ASCII, and of a bounded length', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 25 }), (names) => {
      const header = fieldNamesHeader(names);
      expect(header).toMatch(/^[\x20-\x7e]*$/);
      expect(header.length).toBeLessThan(20 * 64 * 9 + 100);
    }),
    { numRuns: 30 },
  );
  expect(fieldNamesHeader(['a\r\nset-cookie: x', '\ud800'])).toBe('a%0D%0Aset-cookie%3A%20x, %EF%BF%BD');
});
