import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Answer, passwordOf, type Person, TestAppliance } from './appliance.ts';

/* Jobs over the wire: they go on whatever happens to who asked, and to the appliance. */
const body = { prompt: 'a kiln', size: '64x64', steps: 4 };
let appliance: TestAppliance;
let ann: Person;
let bob: Person;

beforeAll(async () => {
  appliance = await TestAppliance.start({
    speed: 50,
    config: { scheduler: { interactiveQueueSeconds: 100_000 } },
  });
  await appliance.ready();
  ann = await appliance.register('ann@example.test', { plan: 'enterprise', credits: 10_000 });
  bob = await appliance.register('bob@example.test', { plan: 'enterprise', credits: 10_000 });
  // These tests make more pictures than a company may have in an hour.
  await appliance.operator(`/api/tenants/${ann.company}`, 'PATCH', { overrides: { imagesPerHour: 10_000 } });
});
afterAll(async () => {
  expect(await appliance.operator('/api/ledger')).toMatchObject({ ok: true, held: 0 });
  await appliance.stop();
});

const ask = (more: object = {}, as = ann.key, headers = {}, query = ''): Promise<Answer> =>
  appliance.call('POST', `/api/v1/jobs/image-generation${query}`, {
    as,
    body: { ...body, ...more },
    headers,
  });
const job = async (id: string, as = ann.key) =>
  (await appliance.call('GET', `/api/v1/jobs/${id}`, { as })).data;
const files = async (id: string, as = ann.key) =>
  (await appliance.call('GET', `/api/v1/download/${id}/files`, { as })).data;
const balance = async (as = ann.key) => (await appliance.call('GET', '/api/v1/credits/balance', { as })).data;
const cancel = (id: string, as = ann.key): Promise<Answer> =>
  appliance.call('POST', `/api/v1/jobs/${id}/cancel`, { as });

async function ended(id: string, as = ann.key) {
  return vi.waitFor(
    async () => {
      const found = await job(id, as);
      expect(['succeeded', 'failed', 'canceled', 'expired']).toContain(found.state);
      return found;
    },
    { timeout: 30_000, interval: 20 },
  );
}

async function restart(): Promise<void> {
  appliance = await TestAppliance.start({ folder: appliance.folder, speed: 50 });
}

/** What lies on the disk, by name. */
function onDisk(): string[] {
  const folder = join(appliance.folder, 'artefacts');
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(folder, name)).isFile(),
  );
}

describe('a job', () => {
  test('answers at once with an id, its price and where to look; is done, charged once, and its pictures are there', async () => {
    const before = await balance();
    const { status, data, headers } = await ask({ n: 3, seed: 7 });
    expect(status).toBe(202);
    expect(headers.get('location')).toBe(data.urls.get);
    expect(data).toMatchObject({ feature: 'image-generation', credits: { held: 6, charged: null } });
    expect(await ended(data.id)).toMatchObject({
      state: 'succeeded',
      progress: 1,
      credits: { held: 0, charged: 6 },
    });
    expect(await balance()).toMatchObject({ posted: before.posted - 6, held: 0 });
    const list = await files(data.id);
    expect(list.map(({ metadata }: { metadata: { seed: number } }) => metadata.seed)).toEqual([7, 8, 9]);
    const response = await fetch(list[0].url);
    expect(response.headers.get('content-disposition')).toBe('attachment; filename="picture-1.png"');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    const png = Buffer.from(await response.arrayBuffer());
    expect([png.length, png.subarray(1, 4).toString()]).toEqual([list[0].bytes, 'PNG']);
  });

  test('W4: a link needs no key, gives ranges, and is good for nothing else', async () => {
    const { data } = await ask({}, ann.key, { prefer: 'wait=30' });
    const [file] = await files(data.id);
    const part = await fetch(file.url, { headers: { range: 'bytes=1-3' } });
    expect([part.status, await part.text(), part.headers.get('content-range')]).toEqual([
      206,
      'PNG',
      `bytes 1-3/${file.bytes}`,
    ]);
    const url = new URL(file.url);
    const status = async (change: (changed: URL) => void): Promise<number> => {
      const changed = new URL(url);
      change(changed);
      return (await fetch(changed)).status;
    };
    expect(await status(() => undefined)).toBe(200);
    const later = String(Number(url.searchParams.get('expires')) + 1);
    expect(await status((one) => one.searchParams.set('expires', later))).toBe(403);
    expect(await status((one) => one.searchParams.set('signature', 'x'.repeat(43)))).toBe(403);
    expect(
      await status(
        (one) => (one.pathname = one.pathname.replace(/.$/, (last) => (last === '0' ? '1' : '0'))),
      ),
    ).toBe(403);
    expect(await status((one) => (one.pathname = '/files/..%2f..%2f/operator-token'))).toBe(403);
    expect(await status((one) => one.searchParams.append('expires', later))).toBe(400);
    expect(await status((one) => one.searchParams.delete('signature'))).toBe(400);
    const many = Array.from({ length: 1_000 }, (_, i) => `${i}-${i}`).join(',');
    const abused = await fetch(file.url, { headers: { range: `bytes=${many}` } });
    expect([200, 206, 416]).toContain(abused.status);
    expect((await abused.arrayBuffer()).byteLength).toBeLessThanOrEqual(file.bytes);
  });

  test('Prefer: wait holds the answer back until it is done', async () => {
    const { status, data } = await ask({}, ann.key, { prefer: 'wait=30' });
    expect([status, data.state]).toEqual([200, 'succeeded']);
  });

  test('its price can be asked for before', async () => {
    const before = await balance();
    const { json } = await ask({ n: 4 }, ann.key, {}, '?dry_run=1');
    expect(json).toMatchObject({ dryRun: true, credits: 8 });
    expect(await balance()).toEqual(before);
  });

  test('events tell all of it, in order, and go on where one was', async () => {
    const { data } = await ask({ n: 2 });
    const read = async (method: string, headers = {}): Promise<string> =>
      (await appliance.call(method, data.urls.events, { as: ann.key, headers })).text;
    const whole = await read('GET');
    const names = [...whole.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name);
    expect(names.filter((name) => name !== 'progress')).toEqual([
      'state',
      'state',
      'state',
      'step',
      'step',
      'state',
      'end',
    ]);
    const ids = [...whole.matchAll(/^id: (\d+)$/gm)].map(([, id]) => id);
    const rest = await read('POST', { 'last-event-id': ids[2] ?? '' });
    expect([...rest.matchAll(/^id: (\d+)$/gm)].map(([, id]) => id)).toEqual(ids.slice(3));
  });

  test.each([
    ['no prompt', { prompt: undefined }, 'prompt'],
    ['five pictures', { n: 5 }, 'n'],
    ['a size that is not allowed', { size: '65x64' }, 'size'],
    ['an unknown field', { priority: 1 }, 'priority'],
  ])('%s is refused, and nothing is held', async (_, more, param) => {
    const before = await balance();
    const { status, json } = await ask(more);
    expect([status, json.errors[0].param]).toEqual([400, param]);
    expect(await balance()).toEqual(before);
  });

  test('the policy, the plan and the credits hold for jobs as for everything', async () => {
    expect((await ask({ prompt: 'nude' })).code).toBe('content_policy_violation');
    const poor = await appliance.register('poor@example.test', { credits: 1 });
    expect((await ask({}, poor.key)).status).toBe(402);
    const made = await appliance.call('POST', '/api/v1/api-keys', {
      as: ann.token,
      body: { name: 'k', features: ['chat'] },
    });
    expect((await ask({}, made.data.key)).code).toBe('feature_not_in_plan');
  });
});

test('L9: one Idempotency-Key is one job, also many at once', async () => {
  const before = await balance();
  const key = { 'idempotency-key': 'one-job' };
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask({}, ann.key, key)));
  const ids = new Set(answers.filter(({ status }) => status === 202).map(({ data }) => data.id));
  expect(ids.size).toBe(1);
  const again = await ask({}, ann.key, key);
  expect([again.status, again.data.id]).toEqual([202, [...ids][0]]);
  await ended(again.data.id);
  expect((await balance()).posted).toBe(before.posted - 2);
});

test('listed, the newest first, by state, page by page', async () => {
  const list = async (query: string) =>
    (await appliance.call('GET', `/api/v1/jobs?${query}`, { as: ann.key })).data;
  const all = (await list('limit=100')).items.map(({ id }: { id: string }) => id);
  const first = await list('limit=2');
  const second = await list(`limit=2&after=${first.next}`);
  expect([...first.items, ...second.items].map(({ id }: { id: string }) => id)).toEqual(all.slice(0, 4));
  expect((await list('state=failed')).items).toEqual([]);
  expect((await appliance.call('GET', '/api/v1/jobs?state=lost', { as: ann.key })).status).toBe(400);
});

describe('a text as a job', () => {
  const chat = { model: 'demo-chat-3b', messages: [{ role: 'user', content: 'hello' }], max_tokens: 20 };
  const infer = (body: object = chat, headers = {}): Promise<Answer> =>
    appliance.call('POST', '/api/v1/inference', { as: ann.key, body, headers });

  test('is answered for who comes back for it, and charged by its tokens', async () => {
    const prices = await appliance.operator('/api/prices');
    await appliance.operator('/api/prices', 'PUT', { ...prices, text: { per1000Tokens: 1_000 } });
    const before = await balance();
    const { status, data } = await infer();
    await appliance.operator('/api/prices', 'PUT', prices);
    expect(status).toBe(202);
    expect(data.credits.held).toBeGreaterThan(20);
    const done = await ended(data.id);
    const result = await appliance.call('GET', `/api/v1/inference/${data.id}/result`, { as: ann.key });
    expect(result.json.choices[0].message.content).toContain('hello');
    expect(done.credits.charged).toBe(result.json.usage.total_tokens);
    expect((await balance()).posted).toBe(before.posted - done.credits.charged);
  });

  test('its result is not there before it is, and a picture is none', async () => {
    await appliance.operator('/api/pause', 'POST', { unload: false });
    const { data } = await infer();
    const early = await appliance.call('GET', `/api/v1/inference/${data.id}/result`, { as: ann.key });
    expect([early.status, early.code]).toEqual([409, 'conflict']);
    await appliance.operator('/api/resume', 'POST');
    await ended(data.id);
    const picture = await ask({}, ann.key, { prefer: 'wait=30' });
    expect(
      (await appliance.call('GET', `/api/v1/inference/${picture.data.id}/result`, { as: ann.key })).status,
    ).toBe(404);
  });

  test('it is not streamed', async () => {
    expect((await infer({ ...chat, stream: true })).status).toBe(400);
  });
});

describe('J6: cancelled', () => {
  test('while it waits: nothing is charged', async () => {
    await appliance.operator('/api/pause', 'POST', { unload: false });
    const before = await balance();
    const { data } = await ask({ n: 4 });
    expect((await balance()).held).toBe(8);
    expect((await cancel(data.id)).data).toMatchObject({ state: 'canceled', credits: { charged: 0 } });
    expect(await balance()).toEqual(before);
    expect((await cancel(data.id)).data.state).toBe('canceled');
    await appliance.operator('/api/resume', 'POST');
  });

  test('in the middle: what was finished is charged, and nothing comes after', async () => {
    const { data } = await ask({ n: 4, steps: 60, size: '512x512' });
    await vi.waitFor(async () => expect(await files(data.id)).toHaveLength(1), {
      timeout: 20_000,
      interval: 5,
    });
    const canceled = (await cancel(data.id)).data;
    const there = await files(data.id);
    expect(canceled.credits.charged).toBe(2 * there.length);
    const other = await ask();
    await ended(other.data.id);
    const ids = (list: { id: string }[]): string[] => list.map(({ id }) => id);
    expect(ids(await files(data.id))).toEqual(ids(there));
    await vi.waitFor(() => {
      for (const { id } of there) expect(onDisk().some((name) => name.endsWith(id))).toBe(true);
      expect(onDisk().filter((name) => name.endsWith('.part'))).toEqual([]);
    });
  });
});

test('J6: cancelled at any moment, also as it ends: one end, one charge that fits it, and nothing after it', async () => {
  const before = await balance();
  const asked = await Promise.all(Array.from({ length: 40 }, () => ask({ n: 2 })));
  const answers = await Promise.all(
    asked.map(async ({ data }, index) => {
      // At forty moments between before the first has begun and after the last has ended.
      await appliance.until(async () => (await job(data.id)).progress >= index / 40);
      return Promise.all([cancel(data.id), cancel(data.id)]);
    }),
  );
  let charged = 0;
  for (const [{ data: first }, { data: second }] of answers.map(([a, b]) => [a, b] as const)) {
    expect(first.state).toBe(second.state);
    expect(first.credits).toEqual(second.credits);
    charged += first.credits.charged;
    const there = await files(first.id);
    expect(first.credits.charged).toBe(2 * there.length);
    if (first.state === 'succeeded') expect(there).toHaveLength(2);
  }
  expect(new Set(answers.map(([{ data }]) => data.state)).size).toBeGreaterThan(1);
  expect(await balance()).toMatchObject({ posted: before.posted - charged, held: 0 });
});

test('who waits is told when its turn is likely to come', async () => {
  await appliance.operator('/api/pause', 'POST', { unload: false });
  const free = await appliance.register('eta@example.test', { plan: 'free', credits: 100 });
  const asked = [];
  for (let i = 0; i < 6; i += 1) asked.push((await ask({}, free.key)).data);
  const waiting = await Promise.all(asked.map(({ id }) => job(id, free.key)));
  const last = waiting.filter(({ state }) => state === 'queued').map(({ queue }) => queue);
  expect(last.length).toBeGreaterThan(1);
  for (const [index, queue] of last.entries()) {
    expect(queue).toMatchObject({ position: index + 1, reason: 'tenant_concurrency' });
    expect(queue.etaMs).toBeGreaterThan(index === 0 ? 0 : last[index - 1].etaMs);
  }
  await appliance.operator('/api/resume', 'POST');
  for (const { id } of asked) await ended(id, free.key);
});

test('a job that does not begin in time is dropped, and costs nothing', async () => {
  const before = await balance(bob.key);
  const free = await appliance.register('slow@example.test', { plan: 'free', credits: 100 });
  await appliance.operator(`/api/tenants/${free.company}`, 'PATCH', { overrides: { concurrent: 1 } });
  await appliance.operator('/api/pause', 'POST', { unload: false });
  await ask({}, free.key);
  const { data } = await ask({}, free.key, {}, '?start_within=1');
  expect(await ended(data.id, free.key)).toMatchObject({ state: 'expired', credits: { charged: 0 } });
  await appliance.operator('/api/resume', 'POST');
  expect(await balance(bob.key)).toEqual(before);
});

test('the operator sees the jobs of all, without what was asked, and may cancel', async () => {
  await appliance.operator('/api/pause', 'POST', { unload: false });
  const { data } = await ask({ prompt: 'a wish for nobody' });
  const { items } = await appliance.operator(`/api/jobs?tenant=${ann.company}&limit=1`);
  expect(items[0]).toMatchObject({ id: data.id, tenant: ann.company, attempts: 1 });
  expect(JSON.stringify(items)).not.toContain('a wish for nobody');
  expect(await appliance.operator(`/api/jobs/${data.id}/cancel`, 'POST')).toMatchObject({
    state: 'canceled',
  });
  await appliance.operator('/api/resume', 'POST');
  expect((await job(data.id)).state).toBe('canceled');
});

test('T2: another’s job is none', async () => {
  const { data } = await ask();
  await ended(data.id);
  const [file] = await files(data.id);
  for (const [method, path] of [
    ['GET', data.urls.get],
    ['GET', `${data.urls.get}/status`],
    ['GET', data.urls.events],
    ['POST', data.urls.cancel],
    ['GET', data.urls.files],
    ['GET', `/api/v1/download/${data.id}/files/${file.id}`],
  ] as const) {
    expect((await appliance.call(method, path, { as: bob.key })).status, path).toBe(404);
  }
});

test('what a person asked for is exported, and is gone with the person', async () => {
  const eve = await appliance.register('eve@example.test', { tenant: ann.company });
  const { data } = await ask({ prompt: 'a wish of eve' }, eve.key);
  await ended(data.id, eve.key);
  const list = await files(data.id, eve.key);
  const { text } = await appliance.call('GET', '/api/v1/account/export', { as: eve.token });
  expect(text).toContain('a wish of eve');
  expect(onDisk().some((name) => name.endsWith(list[0].id))).toBe(true);
  const body = { password: passwordOf(eve.email) };
  expect((await appliance.call('DELETE', '/api/v1/account', { as: eve.token, body })).status).toBe(200);
  expect((await appliance.call('GET', data.urls.get, { as: ann.key })).status).toBe(404);
  await vi.waitFor(() => expect(onDisk().some((name) => name.endsWith(list[0].id))).toBe(false));
});

describe('engines that fail', () => {
  test('J4: a job is tried again a few times, then given up and not charged', async () => {
    const before = await balance();
    appliance.faults('status=500');
    const { data } = await ask();
    const failed = await ended(data.id);
    appliance.faults('');
    expect(failed).toMatchObject({ state: 'failed', error: { code: 'poison' }, credits: { charged: 0 } });
    expect(await balance()).toEqual(before);
    await appliance.ready();
  });

  test('one that fails for a moment: the job goes on after its last picture', async () => {
    const { data } = await ask({ n: 3 });
    await appliance.until(async () => (await files(data.id)).length > 0, 10_000, 5);
    const isUp = async (): Promise<boolean> =>
      (await appliance.operator('/api/engines')).every((e: { health: string }) => e.health === 'ready');
    appliance.faults('die_in_work');
    // Once: it takes longer to be up again than to be looked at.
    await appliance.until(async () => !(await isUp()), 10_000, 5);
    appliance.faults('');
    expect(await ended(data.id)).toMatchObject({ state: 'succeeded', credits: { charged: 6 } });
    expect(await files(data.id)).toHaveLength(3);
  });
});

describe('J1, J3: an end of the appliance', () => {
  test.each(['SIGKILL', 'SIGTERM'])('%s: every job goes on where it was, charged once', async (signal) => {
    const before = await balance();
    const asked = await Promise.all(
      Array.from({ length: 6 }, () => ask({ n: 2, steps: 30, size: '512x512', seed: 1 })),
    );
    await vi.waitFor(
      async () => {
        const counts = await Promise.all(asked.map(async ({ data }) => (await files(data.id)).length));
        expect(counts.some((count) => count > 0)).toBe(true);
      },
      { timeout: 20_000, interval: 5 },
    );
    const made = (await Promise.all(asked.map(({ data }) => files(data.id)))).flat();
    if (signal === 'SIGKILL') await appliance.kill();
    else await appliance.stop();
    await restart();
    for (const { data } of asked)
      expect(await ended(data.id)).toMatchObject({ state: 'succeeded', credits: { charged: 4 } });
    expect(await balance()).toMatchObject({ posted: before.posted - 24, held: 0 });
    const all = (await Promise.all(asked.map(({ data }) => files(data.id)))).flat();
    expect(all).toHaveLength(12);
    // What was finished before was not made again.
    const ids = new Set(all.map(({ id }: { id: string }) => id));
    for (const { id } of made) expect(ids.has(id)).toBe(true);
    expect(onDisk().filter((name) => name.endsWith('.part'))).toEqual([]);
  });
});
