import { expect, test } from 'vitest';
import { chooseProfile } from './profiles.ts';

const gib = 1024 ** 3;

test.each([
  ['text', 24, 'text-24g'],
  ['text', 12, 'text-12g'],
  ['text', 8, 'text-8g'],
  ['text', 4, 'text-small'],
  ['webui', 12, 'image-12g'],
  ['webui', 8, 'image-8g'],
  ['webui', 4, 'image-small'],
  ['forge', 8, 'forge'],
] as const)('%s on %i GiB: %s', (kind, size, name) => {
  // A card reports a little less than its name says.
  expect(chooseProfile(kind, size * gib - 300 * 1024 ** 2).name).toBe(name);
});

test('an 8 GiB card gets the memory savings, and the operator has the last word', () => {
  expect(chooseProfile('webui', 8 * gib).args).toContain('--medvram-sdxl');
  const own = chooseProfile('webui', 8 * gib, { args: ['--xformers'] });
  expect(own).toMatchObject({ args: ['--xformers'], reason: expect.stringContaining('operator') });
  expect(chooseProfile('text', 8 * gib, { slots: 2, gpuRatio: 0.5 })).toMatchObject({
    slots: 2,
    gpuRatio: 0.5,
  });
});
