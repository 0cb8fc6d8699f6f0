import { expect, test } from 'vitest';
import { parseSmi } from './nvidia-parse.ts';

const mib = 1024 ** 2;
const gpu = {
  uuid: 'GPU-1',
  product_name: 'NVIDIA GeForce RTX 3050',
  fb_memory_usage: { total: '8192 MiB', reserved: '181 MiB', used: '5312 MiB', free: '2699 MiB' },
  utilization: { gpu_util: '97 %' },
  temperature: { gpu_temp: '61 C' },
};
const log = (change: object): unknown => ({
  nvidia_smi_log: { driver_version: '580.88', gpu: { ...gpu, ...change } },
});

test('one card: what the driver reserves counts as taken', () => {
  const [card] = parseSmi(log({ gpu_power_readings: { power_draw: 'N/A', instant_power_draw: '112.35 W' } }));
  expect(card).toMatchObject({
    uuid: 'GPU-1',
    driver: '580.88',
    totalBytes: 8192 * mib,
    usedBytes: (8192 - 2699) * mib,
    utilization: 0.97,
    temperatureC: 61,
    powerWatts: 112.35,
    processes: [],
  });
});

test('F25: what is not said is null, never zero', () => {
  const [card] = parseSmi(
    log({ utilization: { gpu_util: 'N/A' }, temperature: { gpu_temp: '[Not Supported]' } }),
  );
  expect(card).toMatchObject({ utilization: null, temperatureC: null, powerWatts: null });
});

test('a real zero stays a zero', () => {
  expect(parseSmi(log({ utilization: { gpu_util: '0 %' } }))[0]?.utilization).toBe(0);
});

test('F25: decimal commas are read', () => {
  expect(parseSmi(log({ power_readings: { power_draw: '62,35 W' } }))[0]?.powerWatts).toBe(62.35);
});

test.each([
  ['one process', { process_info: { pid: '7', process_name: 'game.exe', used_memory: 'N/A' } }, 1],
  ['two', { process_info: [{ pid: '7' }, { pid: '8', used_memory: '300 MiB' }] }, 2],
  ['none, as text', 'None', 0],
  ['missing', undefined, 0],
])('processes come as %s', (_, processes, count) => {
  expect(parseSmi(log({ processes }))[0]?.processes).toHaveLength(count);
});

test('several cards, and a card without memory figures left out', () => {
  const many = {
    nvidia_smi_log: { gpu: [gpu, { ...gpu, uuid: 'GPU-2' }, { ...gpu, fb_memory_usage: { total: 'N/A' } }] },
  };
  expect(parseSmi(many).map(({ uuid }) => uuid)).toEqual(['GPU-1', 'GPU-2']);
});

test.each([null, undefined, 'NVIDIA-SMI has failed', {}, { nvidia_smi_log: { gpu: 'N/A' } }, []])(
  'what is no reading gives no card: %j',
  (garbage) => {
    expect(parseSmi(garbage)).toEqual([]);
  },
);
