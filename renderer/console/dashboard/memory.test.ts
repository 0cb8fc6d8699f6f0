import fc from 'fast-check';
import { expect, test } from 'vitest';
import { segmentsOf } from './memory.ts';

const model = (id: string, phase: string, vramBytes: number) => ({ [id]: { id, phase, vramBytes } });
const state = (gpu: object, models: object, processes: { name: string; ours?: boolean }[] = []) =>
  ({ gpu: { excessBytes: 0, ...gpu }, models, machine: { card: { processes } } }) as never;

test('other programs, models, what is free and what is kept free, in that order', () => {
  const gpu = { totalBytes: 8_000, budgetBytes: 6_500, othersBytes: 1_000 };
  const models = { ...model('chat', 'ready', 5_000), ...model('sd', 'absent', 3_000) };
  expect(
    segmentsOf(state(gpu, models, [{ name: 'C:\\Games\\game.exe' }]), () => 'red').map(
      ({ kind, label, bytes }) => [kind, label, bytes],
    ),
  ).toEqual([
    ['others', 'game.exe', 1_000],
    ['model', 'chat', 5_000],
    ['free', 'Free for models', 1_500],
    ['reserve', 'Kept free', 500],
  ]);
});

test('D6: our engines are never named among other programs; what they hold beside their models is theirs', () => {
  const gpu = { totalBytes: 8_000, budgetBytes: 6_200, othersBytes: 1_000, excessBytes: 300 };
  const processes = [{ name: '/kilnhouse/server.ts', ours: true }];
  expect(
    segmentsOf(state(gpu, model('chat', 'ready', 5_000), processes), () => 'red').map(({ label, bytes }) => [
      label,
      bytes,
    ]),
  ).toEqual([
    ['Desktop and other programs', 1_000],
    ['chat', 5_000],
    ['Engines, beside their models', 300],
    ['Free for models', 1_200],
    ['Kept free', 500],
  ]);
});

test('whatever is measured, the parts add up to the card unless models alone are more', () => {
  const bytes = fc.integer({ min: 0, max: 20_000 });
  fc.assert(
    fc.property(
      bytes,
      bytes,
      bytes,
      bytes,
      bytes,
      (totalBytes, budgetBytes, othersBytes, excessBytes, vramBytes) => {
        const parts = segmentsOf(
          state({ totalBytes, budgetBytes, othersBytes, excessBytes }, model('chat', 'ready', vramBytes)),
          () => 'red',
        );
        const sum = parts.reduce((total, part) => total + part.bytes, 0);
        expect(sum).toBe(Math.max(totalBytes, vramBytes));
        for (const part of parts) expect(part.bytes).toBeGreaterThanOrEqual(0);
      },
    ),
  );
});
