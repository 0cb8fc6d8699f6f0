import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { type Answer, type Person, TestAppliance } from './appliance.ts';
import { picture } from './picture-files.ts';

/* Everything that can be asked of image-generation, and the ways to follow and fetch it. */
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
  await appliance.operator(`/api/tenants/${ann.company}`, 'PATCH', {
    overrides: { uploadsPerMinute: 1_000, imagesPerHour: 1_000_000, downloadsPerHour: 1_000_000 },
  });
});
afterAll(async () => {
  expect(await appliance.operator('/api/ledger')).toMatchObject({ ok: true, held: 0 });
  await appliance.stop();
});

const body = { prompt: 'a kiln', size: '64x64', steps: 4, seed: 1 };
const ask = (more: object = {}, headers = {}): Promise<Answer> =>
  appliance.call('POST', '/api/v1/jobs/image-generation', {
    as: ann.key,
    body: { ...body, ...more },
    headers,
  });
const get = (path: string, as = ann.key): Promise<Answer> => appliance.call('GET', path, { as });
const whole = { prefer: 'wait=60' };
const uploaded = async (bytes: Buffer, as = ann.key): Promise<string> =>
  (await appliance.upload(as, [{ name: 'a.png', bytes }])).data.id;

/** The pictures of a job that was waited for. */
async function made(
  more: object,
): Promise<{ png: Buffer; text: string; file: { [name: string]: unknown } }[]> {
  const { status, data, text } = await ask(more, whole);
  expect([status, data.state], text).toEqual([200, 'succeeded']);
  const { data: files } = await get(data.urls.files);
  return Promise.all(
    files.map(async (file: { url: string }) => {
      const png = Buffer.from(await (await fetch(file.url)).arrayBuffer());
      return { png, file, text: png.toString('latin1') };
    }),
  );
}

/** The mean colour of a part of a picture. */
async function colourOf(png: Buffer, left: number, width: number): Promise<number[]> {
  const { channels } = await sharp(
    await sharp(png).extract({ left, top: 0, width, height: 64 }).toBuffer(),
  ).stats();
  return channels.slice(0, 3).map(({ mean }) => Math.round(mean));
}

describe('a picture', () => {
  test('is the same for the same seed, and another for the next one', async () => {
    const [[one], [same], [other]] = await Promise.all([made({}), made({}), made({ seed: 2 })]);
    expect(one?.png.equals(same?.png ?? Buffer.alloc(0))).toBe(true);
    expect(one?.png.equals(other?.png ?? Buffer.alloc(0))).toBe(false);
  });

  test('in a style, with a sampler; what it was made with is beside it and in it', async () => {
    const [one] = await made({ style: 'watercolour', sampler: 'dpmpp-2m-karras', negative_prompt: 'people' });
    expect(one?.text).toContain('watercolour painting of a kiln');
    expect(one?.text).toContain('Sampler: DPM++ 2M Karras');
    expect(one?.file['metadata']).toMatchObject({
      seed: 1,
      style: 'watercolour',
      sampler: 'dpmpp-2m-karras',
      steps: 4,
    });
    expect(JSON.stringify(one?.file)).not.toContain('a kiln');
  });

  test('without what it was made with in its file, when that is wished', async () => {
    const [[with_], [without]] = await Promise.all([made({}), made({ strip_metadata: true })]);
    expect(with_?.text).toContain('a kiln');
    expect(without?.text).not.toContain('a kiln');
    const [a, b] = await Promise.all([with_, without].map((one) => sharp(one?.png).raw().toBuffer()));
    expect(a?.equals(b ?? Buffer.alloc(0))).toBe(true);
  });

  test('drawn small first and then larger, at the price of the larger one', async () => {
    const [one] = await made({ hires: { scale: 2 } });
    expect(await sharp(one?.png).metadata()).toMatchObject({ width: 128, height: 128 });
    expect(one?.file['metadata']).toMatchObject({ width: 128, hires: { scale: 2, steps: 4, strength: 0.5 } });
    const prices = await appliance.operator('/api/prices');
    await appliance.operator('/api/prices', 'PUT', {
      ...prices,
      image: { each: 2, perPixels: 4_096, perSteps: null },
    });
    const { data } = await ask({ hires: { scale: 2 } }, whole);
    await appliance.operator('/api/prices', 'PUT', prices);
    expect(data.credits.charged).toBe(8);
  });

  test('has a small picture beside it', async () => {
    const [one] = await made({ size: '512x256' });
    const response = await fetch(String(one?.file['thumbnailUrl']));
    expect(response.headers.get('content-type')).toBe('image/webp');
    expect(await sharp(await response.arrayBuffer()).metadata()).toMatchObject({ width: 256, height: 128 });
  });

  test('from a picture, in its size; near to it or far from it', async () => {
    const image = await uploaded(await picture('jpeg', { width: 128, height: 64, colour: '#ff0000' }));
    const [near] = await made({ image, strength: 0.05, size: undefined });
    const [far] = await made({ image, strength: 0.9, size: 'auto' });
    expect(await sharp(near?.png).metadata()).toMatchObject({ width: 128, height: 64 });
    const [red = 0] = await colourOf(near?.png ?? Buffer.alloc(0), 0, 128);
    const [less = 255] = await colourOf(far?.png ?? Buffer.alloc(0), 0, 128);
    expect(red).toBeGreaterThan(225);
    expect(less).toBeLessThan(red - 20);
    expect(near?.file['metadata']).toMatchObject({ image, strength: 0.05 });
  });

  test('only within a mask', async () => {
    const image = await uploaded(await picture('png', { width: 128, height: 64, colour: '#ff0000' }));
    const right = await sharp(await picture('png', { width: 64, height: 64, colour: '#ffffff' }))
      .extend({ left: 64, background: '#000000' })
      .png()
      .toBuffer();
    const [one] = await made({ image, mask: await uploaded(right), strength: 1, size: 'auto' });
    const png = one?.png ?? Buffer.alloc(0);
    const [kept, anew] = [await colourOf(png, 4, 50), await colourOf(png, 74, 50)];
    expect(kept[0]).toBeGreaterThan(250);
    expect(kept[1]).toBeLessThan(5);
    expect(anew[1]).toBeGreaterThan(20);
  });

  test.each<[string, () => object | Promise<object>, string]>([
    ['a style that is none', () => ({ style: 'baroque' }), 'style'],
    ['a sampler that is none', () => ({ sampler: 'dice' }), 'sampler'],
    ['a mask without an image', async () => ({ mask: await uploaded(await picture()) }), 'mask'],
    ['a strength without an image', () => ({ strength: 0.5 }), 'strength'],
    ['an upload that is not there', () => ({ image: `upl_${'0'.repeat(32)}` }), 'image'],
    ['another’s upload', async () => ({ image: await uploaded(await picture(), bob.key) }), 'image'],
    ['an enlargement beyond the largest', () => ({ size: '1024x1024', hires: { scale: 4 } }), 'hires'],
    ['an enlargement to an odd size', () => ({ hires: { scale: 1.1 } }), 'hires'],
    ['a path for an image', () => ({ image: '../../operator-token' }), 'image'],
  ])('%s is refused, and nothing is held', async (_, more, param) => {
    const { status, json } = await ask(await more());
    expect([status, json.errors[0].param]).toEqual([400, param]);
    expect((await get('/api/v1/credits/balance')).data.held).toBe(0);
  });

  test('an upload stays while a job needs it', async () => {
    await appliance.operator('/api/pause', 'POST', { unload: false });
    const image = await uploaded(await picture());
    const { data } = await ask({ image });
    const remove = () => appliance.call('DELETE', `/api/v1/uploads/${image}`, { as: ann.key });
    expect((await remove()).status).toBe(409);
    await appliance.operator('/api/resume', 'POST');
    await vi.waitFor(async () => expect((await get(data.urls.get)).data.state).toBe('succeeded'), {
      timeout: 20_000,
    });
    expect((await remove()).status).toBe(200);
  });

  test('the styles are listed', async () => {
    const { data } = await get('/api/v1/styles');
    expect(data.map(({ name }: { name: string }) => name)).toContain('watercolour');
  });
});

describe('several with one receipt', () => {
  const batch = (items: object[], headers = {}, query = ''): Promise<Answer> =>
    appliance.call('POST', `/api/v1/jobs/batch${query}`, { as: ann.key, body: { items }, headers });
  const item = { feature: 'image-generation', input: body };
  const chat = {
    feature: 'inference',
    input: { model: 'demo-chat-3b', messages: [{ role: 'user', content: 'hi' }] },
  };

  test('all are taken, followed and fetched together', async () => {
    const quote = await batch([item, item, chat], {}, '?dry_run=1');
    expect(quote.json).toMatchObject({ dryRun: true, credits: 4 });
    const { status, data } = await batch([item, item, chat], { 'idempotency-key': 'batch' });
    expect([status, data.jobs.length, data.credits.held]).toEqual([202, 3, 4]);
    const again = await batch([item, item, chat], { 'idempotency-key': 'batch' });
    expect(again.data.id).toBe(data.id);
    const path = `/api/v1/jobs/batch/${data.id}`;
    await vi.waitFor(async () => expect((await get(path)).data.states).toEqual({ succeeded: 3 }), {
      timeout: 20_000,
    });
    expect((await get(path)).data).toMatchObject({ progress: 1, credits: { held: 0, charged: 4 } });
    expect((await get(`/api/v1/jobs?batch=${data.id}`)).data.items).toHaveLength(3);
    expect((await get(path, bob.key)).status).toBe(404);
  });

  test('one that cannot be: none is taken, and which one it was is said', async () => {
    const before = (await get('/api/v1/jobs?limit=1')).data.items[0].id;
    const style = await batch([item, { ...item, input: { ...body, style: 'none' } }]);
    expect([style.status, style.json.errors[0].param]).toEqual([400, 'items.1.input.style']);
    const unknown = await batch([item, { feature: 'alchemy', input: body }]);
    expect(unknown.status).toBe(400);
    expect((await batch([])).status).toBe(400);
    expect((await batch(Array.from({ length: 51 }, () => item))).status).toBe(400);
    const poor = await appliance.register('poor@example.test', { plan: 'enterprise', credits: 5 });
    const answer = await appliance.call('POST', '/api/v1/jobs/batch', {
      as: poor.key,
      body: { items: [item, item, item] },
    });
    expect(answer.status).toBe(402);
    expect((await get('/api/v1/credits/balance', poor.key)).data).toMatchObject({ posted: 5, held: 0 });
    expect((await get('/api/v1/jobs', poor.key)).data.items).toEqual([]);
    expect((await get('/api/v1/jobs?limit=1')).data.items[0].id).toBe(before);
  });

  test('cancelled together', async () => {
    await appliance.operator('/api/pause', 'POST', { unload: false });
    const { data } = await batch([item, item]);
    const canceled = await appliance.call('POST', `/api/v1/jobs/batch/${data.id}/cancel`, { as: ann.key });
    await appliance.operator('/api/resume', 'POST');
    expect(canceled.data.states).toEqual({ canceled: 2 });
    expect(canceled.data.credits).toEqual({ held: 0, charged: 0 });
  });
});

test('all results at once, as an archive', async () => {
  const { data } = await ask({ n: 2 }, whole);
  const response = await appliance.get(data.urls.download, ann.key);
  expect(response.headers.get('content-type')).toBe('application/zip');
  const zip = Buffer.from(await response.arrayBuffer());
  for (const name of ['picture-1.png', 'picture-2.png', 'about.json'])
    expect(zip.includes(name), name).toBe(true);
  const { execFileSync } = await import('node:child_process');
  const { writeFileSync } = await import('node:fs');
  const path = `${appliance.folder}/all.zip`;
  writeFileSync(path, zip);
  const read = 'import zipfile,sys; z=zipfile.ZipFile(sys.argv[1]); print(z.testzip(), len(z.namelist()))';
  expect(execFileSync('python3', ['-c', read, path], { encoding: 'utf8' }).trim()).toBe('None 3');
});

test('a result that is gone from the disk breaks off its archive, and nothing else', async () => {
  const { data } = await ask({}, whole);
  const [file] = (await get(data.urls.files)).data;
  const folder = join(appliance.folder, 'artefacts');
  const place = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((name) =>
    name.endsWith(file.id),
  );
  rmSync(join(folder, place ?? ''));
  await expect(get(data.urls.download)).rejects.toThrow();
  expect((await get(data.urls.get)).status).toBe(200);
  expect(appliance.process.exitCode).toBeNull();
});

test('the longest strip that can be asked for is made, with its small picture', async () => {
  const [one] = await made({ size: '2048x64', steps: 1 });
  expect(await sharp(one?.png).metadata()).toMatchObject({ width: 2048, height: 64 });
});

test('a job that has ended can be forgotten, one that has not cannot', async () => {
  const { data } = await ask({}, whole);
  const remove = () => appliance.call('DELETE', data.urls.get, { as: ann.key });
  expect((await remove()).status).toBe(200);
  expect((await remove()).status).toBe(404);
  await appliance.operator('/api/pause', 'POST', { unload: false });
  const open = await ask();
  expect((await appliance.call('DELETE', open.data.urls.get, { as: ann.key })).status).toBe(409);
  await appliance.call('POST', open.data.urls.cancel, { as: ann.key });
  await appliance.operator('/api/resume', 'POST');
});

test('how it looks on the way can be seen by whom it belongs to', async () => {
  const { data } = await ask({ n: 4, steps: 100, size: '512x512' });
  await vi.waitFor(async () => expect((await get(data.urls.get)).data.preview).toBeGreaterThan(0), {
    timeout: 20_000,
    interval: 10,
  });
  const preview = await appliance.get(data.urls.preview, ann.key);
  expect([preview.status, preview.headers.get('content-type')]).toEqual([200, 'image/png']);
  expect(await sharp(await preview.arrayBuffer()).metadata()).toMatchObject({ format: 'png', width: 128 });
  expect((await get(data.urls.preview, bob.key)).status).toBe(404);
  await appliance.call('POST', data.urls.cancel, { as: ann.key });
  await vi.waitFor(async () => expect((await appliance.get(data.urls.preview, ann.key)).status).toBe(404));
});

test('the operator may ask for one again that failed; it is held and charged as the first time', async () => {
  appliance.faults('status=500');
  const { data } = await ask();
  await vi.waitFor(async () => expect((await get(data.urls.get)).data.state).toBe('failed'), {
    timeout: 20_000,
  });
  appliance.faults('');
  await appliance.ready();
  const before = (await get('/api/v1/credits/balance')).data.posted;
  const again = await appliance.operator(`/api/jobs/${data.id}/retry`, 'POST');
  expect(again).toMatchObject({ retryOf: data.id, tenant: ann.company });
  await vi.waitFor(async () => expect((await get(again.urls.get)).data.state).toBe('succeeded'), {
    timeout: 20_000,
  });
  expect((await get('/api/v1/credits/balance')).data.posted).toBe(before - 2);
  expect((await appliance.operator(`/api/jobs/${again.id}/retry`, 'POST')).error.code).toBe('conflict');
  const { items } = await appliance.operator(`/api/audit?tenant=${ann.company}&action=job.retry`);
  expect(items).toHaveLength(1);
});

describe('all jobs over one WebSocket', () => {
  type Message = { type: string; job?: { id: string; state: string }; jobs?: unknown[] };
  const open = (as: string, headers: Record<string, string> = {}) => {
    const socket = new WebSocket(`${appliance.tenantUrl.replace('http', 'ws')}/api/v1/events`, {
      headers: { ...(as && { authorization: `Bearer ${as}` }), ...headers },
    });
    const messages: Message[] = [];
    socket.on('message', (data) => messages.push(JSON.parse((data as Buffer).toString())));
    const ended = new Promise<number>((resolve) => {
      socket.on('close', resolve);
      socket.on('unexpected-response', (_, response) => resolve(response.statusCode ?? 0));
      socket.on('error', () => undefined);
    });
    return { socket, messages, ended };
  };

  test('tells of each as it changes, and of nobody else’s', async () => {
    const { socket, messages } = open(ann.key);
    const others = open(bob.key);
    await vi.waitFor(() => expect([messages.length, others.messages.length]).toEqual([1, 1]));
    expect(messages[0]).toMatchObject({ type: 'jobs' });
    const { data } = await ask();
    const states = () => messages.filter(({ job }) => job?.id === data.id).map(({ job }) => job?.state);
    await vi.waitFor(() => expect(states().at(-1)).toBe('succeeded'), { timeout: 20_000 });
    expect(others.messages).toHaveLength(1);
    socket.close();
    others.socket.close();
  });

  test('A1: ends within a second when the key is revoked', async () => {
    const key = await appliance.call('POST', '/api/v1/api-keys', { as: ann.token, body: { name: 'k' } });
    const { ended, messages } = open(key.data.key);
    await vi.waitFor(() => expect(messages).toHaveLength(1));
    const { urls } = (await ask({ n: 4, steps: 100, size: '512x512' })).data;
    const events = appliance.call('GET', urls.events, { as: key.data.key });
    await appliance.call('DELETE', `/api/v1/api-keys/${key.data.id}`, { as: ann.token });
    expect(await ended).toBe(4401);
    expect((await events).text).toContain('revoked');
    await appliance.call('POST', urls.cancel, { as: ann.key });
  });

  test('is opened by nobody without a key, and by no other site’s page with a cookie', async () => {
    expect(await open('').ended).toBe(401);
    expect(await open('kh_wrong').ended).toBe(401);
    const cookie = `kh_session=${ann.token}`;
    expect(await open('', { cookie, origin: 'https://evil.example' }).ended).toBe(403);
    const own = open('', { cookie, origin: appliance.tenantUrl });
    await vi.waitFor(() => expect(own.messages).toHaveLength(1));
    own.socket.close();
  });
});
