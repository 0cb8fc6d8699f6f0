import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fitMatrix } from './fit.ts';

const model = (id: string, vramBytes: number, engineId = 'text', exclusive = false) => ({
  id,
  vramBytes,
  engineId,
  exclusive,
});

test('two small ones fit together, a large one alone, one that is too large not at all', () => {
  const models = [model('a', 3), model('b', 4), model('c', 8), model('d', 9)];
  expect(fitMatrix(models, 8)).toEqual([
    { id: 'a', fits: true, beside: ['b'] },
    { id: 'b', fits: true, beside: ['a'] },
    { id: 'c', fits: true, beside: [] },
    { id: 'd', fits: false, beside: [] },
  ]);
});

test('an engine that holds one at a time holds one at a time', () => {
  const models = [model('x', 1, 'webui', true), model('y', 1, 'webui', true), model('z', 1, 'other', true)];
  expect(fitMatrix(models, 8).map(({ beside }) => beside)).toEqual([['z'], ['z'], ['x', 'y']]);
});

test('beside goes both ways, and never beyond the memory', () => {
  const models = fc.uniqueArray(
    fc.record({
      id: fc.string(),
      engineId: fc.constantFrom('a', 'b'),
      exclusive: fc.boolean(),
      vramBytes: fc.nat(100),
    }),
    {
      selector: ({ id }) => id,
      maxLength: 8,
    },
  );
  fc.assert(
    fc.property(models, fc.nat(150), (all, capacity) => {
      const bytes = new Map(all.map(({ id, vramBytes }) => [id, vramBytes]));
      const rows = new Map(fitMatrix(all, capacity).map((row) => [row.id, row]));
      for (const { id, fits, beside } of rows.values()) {
        expect(fits).toBe((bytes.get(id) ?? 0) <= capacity);
        for (const other of beside) {
          expect(rows.get(other)?.beside).toContain(id);
          expect((bytes.get(id) ?? 0) + (bytes.get(other) ?? 0)).toBeLessThanOrEqual(capacity);
        }
      }
    }),
  );
});
