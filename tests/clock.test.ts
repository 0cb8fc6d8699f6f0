import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Answer, type Person, TestAppliance } from './appliance.ts';

/* F15, D6: the wall clock jumps under the running appliance. */
const offsetFile = join(mkdtempSync(join(tmpdir(), 'kilnhouse-clock-')), 'offset');
const hour = 3_600_000;
const year = 365 * 24 * hour;
let appliance: TestAppliance;
let ann: Person;

beforeAll(async () => {
  jump(0);
  const preload = fileURLToPath(new URL('shifted-clock.mjs', import.meta.url));
  appliance = await TestAppliance.start({
    speed: 50,
    env: { CLOCK_OFFSET_FILE: offsetFile, NODE_OPTIONS: `--import=${preload}` },
  });
  await appliance.ready();
  ann = await appliance.register('ann@example.test', { plan: 'enterprise', credits: 1_000 });
});
afterAll(async () => {
  await appliance.stop();
});

function jump(ms: number): void {
  writeFileSync(offsetFile, String(ms));
}

const ask = (more: object = {}, query = '', headers = {}): Promise<Answer> =>
  appliance.call('POST', `/api/v1/jobs/image-generation${query}`, {
    as: ann.key,
    body: { prompt: 'a kiln', size: '256x256', steps: 20, ...more },
    headers,
  });
const get = (path: string): Promise<Answer> => appliance.call('GET', path, { as: ann.key });

test.each([
  ['an hour ahead', hour],
  ['an hour back', -hour],
  ['a year ahead', year],
  ['two years back', -2 * year],
  ['beyond 2038', Date.UTC(2040, 0, 1) - Date.now()],
])('%s, with jobs that run and jobs that wait: each ends once and is charged once', async (_, ms) => {
  const before = (await get('/api/v1/credits/balance')).data.posted;
  const asked = await Promise.all(Array.from({ length: 6 }, () => ask({ n: 2 })));
  await vi.waitFor(async () => expect((await get(asked[0]?.data.urls.get)).data.state).toBe('processing'), {
    interval: 5,
  });
  jump(ms);
  const other = await ask();
  for (const { data } of [...asked, other]) {
    await vi.waitFor(async () => expect((await get(data.urls.get)).data.finishedAt).not.toBeNull(), {
      timeout: 30_000,
    });
    const { state, gpuSeconds } = (await get(data.urls.get)).data;
    expect(state).toBe('succeeded');
    // Measured by the clock that does not jump.
    expect(gpuSeconds).toBeGreaterThan(0);
    expect(gpuSeconds).toBeLessThan(hour / 1000);
  }
  expect((await get('/api/v1/credits/balance')).data).toMatchObject({ posted: before - 26, held: 0 });
  expect((await get('/api/v1/rate-limit')).data.requestsPerMinute.remaining).toBeGreaterThan(0);
  expect(await appliance.operator('/api/ledger')).toMatchObject({ ok: true, faults: [] });
  jump(0);
});

test('what goes by the wall clock does so as it is written: links, and the time by which a job is to begin', async () => {
  const { data } = await ask({}, '', { prefer: 'wait=30' });
  const [file] = (await get(data.urls.files)).data;
  expect((await fetch(file.url)).status).toBe(200);
  jump(2 * hour);
  expect((await fetch(file.url)).status).toBe(403);
  jump(0);
  expect((await fetch(file.url)).status).toBe(200);
  await appliance.operator('/api/pause', 'POST', { unload: false });
  const free = await appliance.register('free@example.test', { plan: 'free', credits: 10 });
  await appliance.operator(`/api/tenants/${free.company}`, 'PATCH', { overrides: { concurrent: 1 } });
  const wait = (): Promise<Answer> =>
    appliance.call('POST', '/api/v1/jobs/image-generation?start_within=600', {
      as: free.key,
      body: { prompt: 'x' },
    });
  await wait();
  const late = await wait();
  jump(hour);
  await vi.waitFor(
    async () =>
      expect((await appliance.call('GET', late.data.urls.get, { as: free.key })).data).toMatchObject({
        state: 'expired',
        credits: { charged: 0 },
      }),
    { timeout: 5_000 },
  );
  jump(0);
  await appliance.operator('/api/resume', 'POST');
});
