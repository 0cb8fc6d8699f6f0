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

test('bug 2: a footprint is believed for thirty days; then the model is estimated until its next load', () => {
  let now = Date.parse('2026-11-01T00:00:00Z');
  const day = 24 * 3_600_000;
  const file = join(mkdtempSync(join(tmpdir(), 'kilnhouse-measured-')), 'measurements.json');
  const open = (): Measurements =>
    new Measurements(
      file,
      () => undefined,
      () => now,
    );
  const first = open();
  first.footprint('a', 5_000);
  first.duration('a', 'loadMs', 3_000);
  first.close();
  now += 29 * day;
  expect(open().of('a')).toMatchObject({ vramBytes: 5_000, loadMs: 3_000 });
  now += 2 * day;
  const later = open();
  expect(later.of('a')).toMatchObject({ vramBytes: null, readings: [], peakBytes: null, loadMs: 3_000 });
  // The next load counts alone, not together with what was believed before.
  later.footprint('a', 9_000);
  expect(later.of('a')).toMatchObject({ vramBytes: 9_000, readings: [9_000] });
  later.close();
});
