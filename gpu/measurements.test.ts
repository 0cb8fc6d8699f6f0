import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Measurements } from './measurements.ts';

test('case 1: what was measured of a checkpoint under a title with its hash is still known', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'kilnhouse-measured-')), 'measurements.json');
  const kept = {
    'webui/x.safetensors [aaaaaaaaaa]@image-8g': { loadMs: 5_000 },
    'lm-studio/a@text-8g': { loadMs: 7_000 },
  };
  writeFileSync(file, JSON.stringify(kept));
  const measurements = new Measurements(file);
  expect(measurements.of('webui/x.safetensors@image-8g').loadMs).toBe(5_000);
  expect(measurements.of('lm-studio/a@text-8g').loadMs).toBe(7_000);
});
