import fc from 'fast-check';
import { expect, test } from 'vitest';
import { deeperThan } from './json-depth.ts';

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

test('F39: the depth is that of the value, whatever its strings hold', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), fc.integer({ min: 0, max: 8 }), (value, most) => {
      expect(deeperThan(JSON.stringify(value), most)).toBe(depthOf(value) > most);
    }),
  );
  expect(deeperThan('["[[[[\\"[[["]', 1)).toBe(false);
  expect(deeperThan('['.repeat(500_000), 64)).toBe(true);
});
