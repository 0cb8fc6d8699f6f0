import fc from 'fast-check';
import { apply, generate } from 'json-merge-patch';
import { expect, test } from 'vitest';
import { mergePatch } from './merge-patch.ts';

test('agrees with the library that makes the patches', () => {
  const value = fc.jsonValue();
  fc.assert(
    fc.property(value, value, (before, after) => {
      // The library leaves these names out of every patch; no id of ours is one of them.
      fc.pre(!/"(__proto__|constructor|prototype)":/.test(JSON.stringify([before, after])));
      const [a, b] = [structuredClone(before), structuredClone(after)] as [never, never];
      const patch = generate(a, b) as unknown;
      if (patch === undefined) return;
      const expected = apply(structuredClone(before) as never, structuredClone(patch) as never) as unknown;
      expect(mergePatch(before, patch)).toEqual(expected);
    }),
  );
});

test('what a patch does not touch is the same object', () => {
  const before = { models: { a: { phase: 'ready' }, b: { phase: 'absent' } }, queue: {} };
  const after = mergePatch(before, { models: { b: { phase: 'loading' } } }) as typeof before;
  expect(after.queue).toBe(before.queue);
  expect(after.models.a).toBe(before.models.a);
  expect(after.models.b).toEqual({ phase: 'loading' });
  expect(before.models.b.phase).toBe('absent');
});
