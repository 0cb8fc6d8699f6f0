import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Person, TestAppliance } from './appliance.ts';
import { picture } from './picture-files.ts';

/* F10, F14, D2: a disk that fills up and one that may only be read, for real: a small file system of our own. */
let appliance: TestAppliance;
let ann: Person;
let folder = '';

/** Runs a command where the appliance's disk is. */
function inside(...command: string[]): string {
  const pid = String(appliance.process.pid);
  return execFileSync(
    'nsenter',
    ['--target', pid, '--user', '--mount', '--preserve-credentials', ...command],
    {
      encoding: 'utf8',
    },
  );
}

beforeAll(async () => {
  appliance = await TestAppliance.start({
    speed: 50,
    diskMib: 48,
    env: { KILNHOUSE_STORAGE_FLOOR_MIB: '0' },
  });
  ({ folder } = appliance);
  await appliance.ready();
  ann = await appliance.register('ann@example.test', { plan: 'enterprise', credits: 1_000 });
  await appliance.operator(`/api/tenants/${ann.company}`, 'PATCH', {
    allowNSFW: true,
    overrides: { uploadsPerMinute: 1_000, imagesPerHour: 1_000_000, downloadsPerHour: 1_000_000 },
  });
});
afterAll(async () => {
  await appliance.stop();
});

const draw = (headers = {}) =>
  appliance.call('POST', '/api/v1/jobs/image-generation', {
    as: ann.key,
    body: { prompt: 'a kiln', size: '256x256', steps: 2 },
    headers,
  });
const balance = async () => (await appliance.call('GET', '/api/v1/credits/balance', { as: ann.key })).data;
const send = async () => appliance.upload(ann.key, [{ name: 'a.png', bytes: await picture() }]);

test('D2: a full disk: what writes is refused, what reads works, no money is lost, and it goes on when there is room', async () => {
  const kept = await send();
  expect(kept.status).toBe(201);
  const before = await balance();
  inside('sh', '-c', `dd if=/dev/zero of=${folder}/filler bs=64k 2>/dev/null; true`);
  const [job, upload] = [await draw(), await send()];
  for (const { status, code } of [job, upload]) {
    expect([503, 507], code).toContain(status);
    expect(['storage_unavailable', 'storage_full']).toContain(code);
  }
  expect((await appliance.call('GET', '/api/v1/jobs', { as: ann.key })).status).toBe(200);
  expect((await fetch(kept.data.url)).status).toBe(200);
  expect(await balance()).toEqual(before);
  inside('rm', `${folder}/filler`);
  await vi.waitFor(async () => expect((await draw({ prefer: 'wait=30' })).data.state).toBe('succeeded'), {
    timeout: 20_000,
  });
  expect((await send()).status).toBe(201);
  expect(await balance()).toMatchObject({ posted: before.posted - 2, held: 0 });
  expect(await appliance.operator('/api/ledger')).toMatchObject({ ok: true, faults: [] });
});

test('D2: it fills up in the middle of a job: the job ends one way or the other, charged by how it ended', async () => {
  const before = await balance();
  await appliance.operator('/api/pause', 'POST', { unload: false });
  const { data } = await draw();
  // Room for rows, none for a picture.
  inside(
    'sh',
    '-c',
    `dd if=/dev/zero of=${folder}/filler bs=4k 2>/dev/null; truncate -s -65536 ${folder}/filler`,
  );
  await appliance.operator('/api/resume', 'POST');
  await appliance.until(async () => {
    const { state } = (await appliance.call('GET', data.urls.get, { as: ann.key })).data;
    return state !== 'queued' && state !== 'starting';
  });
  inside('rm', `${folder}/filler`);
  await vi.waitFor(
    async () =>
      expect((await appliance.call('GET', data.urls.get, { as: ann.key })).data.finishedAt).not.toBeNull(),
    { timeout: 20_000 },
  );
  const { state, credits } = (await appliance.call('GET', data.urls.get, { as: ann.key })).data;
  expect(credits.charged).toBe(state === 'succeeded' ? 2 : 0);
  expect(await balance()).toMatchObject({ posted: before.posted - credits.charged, held: 0 });
});

test('F14: folders that may only be read: nothing is taken or charged, what is there is given, and jobs wait', async () => {
  const before = await balance();
  const kept = await send();
  for (const name of ['artefacts', 'incoming'])
    inside(
      'sh',
      '-c',
      `mount --bind ${folder}/${name} ${folder}/${name} && mount -o remount,bind,ro ${folder}/${name}`,
    );
  expect((await send()).code).toBe('storage_unavailable');
  const { data } = await draw();
  const job = async () => (await appliance.call('GET', data.urls.get, { as: ann.key })).data;
  // Its picture found no place: the job waits for one, and is not charged.
  await vi.waitFor(
    async () => expect(await job()).toMatchObject({ state: 'queued', startedAt: expect.any(String) }),
    {
      timeout: 20_000,
    },
  );
  expect((await job()).credits.charged).toBeNull();
  expect((await fetch(kept.data.url)).status).toBe(200);
  for (const name of ['artefacts', 'incoming']) inside('umount', `${folder}/${name}`);
  expect((await send()).status).toBe(201);
  expect((await draw({ prefer: 'wait=30' })).data.state).toBe('succeeded');
  await vi.waitFor(async () => expect((await job()).state).toBe('succeeded'), { timeout: 30_000 });
  expect(await balance()).toMatchObject({ posted: before.posted - 4, held: 0 });
});
