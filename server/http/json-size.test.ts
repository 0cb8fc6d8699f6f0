import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonSize } from './json-size.ts';

const unbounded = Number.POSITIVE_INFINITY;

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

/** Values and containers of a tree. */
function nodesOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1;
  return 1 + Object.values(value).reduce((sum: number, child) => sum + nodesOf(child), 0);
}

test('F39: the depth is that of the value, whatever its strings hold', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), fc.integer({ min: 0, max: 8 }), (value, depth) => {
      const { excess } = jsonSize(JSON.stringify(value), { depth, nodes: unbounded });
      expect(excess).toBe(depthOf(value) > depth ? 'depth' : null);
    }),
  );
  expect(jsonSize('["[[[[\\"[[["]', { depth: 1, nodes: unbounded }).excess).toBeNull();
  expect(jsonSize('['.repeat(500_000), { depth: 64, nodes: unbounded }).excess).toBe('depth');
});

test('J7: no tree has more values than were counted, and few have less', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      const { nodes } = jsonSize(JSON.stringify(value), { depth: unbounded, nodes: unbounded });
      expect(nodes).toBeGreaterThanOrEqual(nodesOf(value));
      // Empty containers count for one more.
      expect(nodes).toBeLessThanOrEqual(2 * nodesOf(value));
    }),
  );
});

test.each([
  ['empty objects', `[${'{},'.repeat(100_000)}{}]`],
  ['keys of one object', `{${Array.from({ length: 100_000 }, (_, i) => `"${i}":0`).join()}}`],
  ['numbers', `[${'0,'.repeat(100_000)}0]`],
])('J7: too many %s are found', (_, text) => {
  expect(jsonSize(text, { depth: 64, nodes: 50_000 })).toEqual({ nodes: 50_001, excess: 'nodes' });
});

test('J7: brackets and commas within a text are none', () => {
  const text = JSON.stringify({ prompt: '[,{},],\\",'.repeat(20_000) });
  expect(jsonSize(text, { depth: 2, nodes: 3 }).excess).toBeNull();
});
