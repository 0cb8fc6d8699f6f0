import { readdirSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Answer, passwordOf, type Person, TestAppliance } from './appliance.ts';
import { animation, bomb, picture, tellingJpeg, trickyNames } from './picture-files.ts';

/* Pictures that tenants send: what is taken, what becomes of it, and what is left of what is not. */
let appliance: TestAppliance;
let ann: Person;
let bob: Person;

beforeAll(async () => {
  appliance = await TestAppliance.start({ speed: 50 });
  await appliance.ready();
  ann = await appliance.register('ann@example.test', { plan: 'enterprise', credits: 1_000 });
  bob = await appliance.register('bob@example.test', { plan: 'enterprise', credits: 1_000 });
  for (const { company } of [ann, bob])
    await appliance.operator(`/api/tenants/${company}`, 'PATCH', {
      overrides: { uploadsPerMinute: 100_000, imagesPerHour: 1_000_000, downloadsPerHour: 1_000_000 },
    });
});
afterAll(async () => {
  await appliance.stop();
});

const send = (bytes: Buffer, { as = ann.key, name = 'a.png', type = 'image/png' } = {}): Promise<Answer> =>
  appliance.upload(as, [{ name, bytes, type }]);
const fetched = async (url: string): Promise<Buffer> => Buffer.from(await (await fetch(url)).arrayBuffer());

/** Everything that lies below the data folder, but for the logs and what the demonstration has. */
function onDisk(part = ''): string[] {
  return readdirSync(join(appliance.folder, part), { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(appliance.folder, part, name), { throwIfNoEntry: false })?.isFile(),
  );
}

describe('what is taken', () => {
  test.each(['png', 'jpeg', 'webp'] as const)('%s, whatever it is said to be', async (format) => {
    const sent = await picture(format);
    const { status, data } = await send(sent, { name: 'holiday.html', type: 'text/html' });
    expect(status).toBe(201);
    expect(data).toMatchObject({
      name: 'holiday.html',
      contentType: `image/${format}`,
      width: 96,
      height: 64,
    });
    const response = await fetch(data.url);
    expect(response.headers.get('content-type')).toBe(`image/${format}`);
    expect(response.headers.get('content-disposition')).toBe('attachment; filename="holiday.html"');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect((await sharp(await response.arrayBuffer()).metadata()).format).toBe(format);
  });

  test('it is upright, and says nothing of people any more', async () => {
    const sent = await tellingJpeg();
    expect(sent.includes('canary-of-the-artist')).toBe(true);
    const { data } = await send(sent);
    expect(data).toMatchObject({ width: 64, height: 96 });
    const kept = await fetched(data.url);
    expect(kept.includes('canary-of-the-artist')).toBe(false);
    expect((await sharp(kept).metadata()).exif).toBeUndefined();
  });

  test('several in one form; of each that cannot be taken it is said why', async () => {
    const { status, data } = await appliance.upload(
      ann.key,
      [
        { name: 'one.png', bytes: await picture('png') },
        { name: 'two.png', bytes: Buffer.from('no picture') },
        { name: 'three.webp', bytes: await picture('webp') },
      ],
      '/api/v1/upload/batch',
    );
    expect(status).toBe(201);
    expect(
      data.map((one: { name: string; error?: { code: string } }) => one.error?.code ?? one.name),
    ).toEqual(['one.png', 'invalid_image', 'three.webp']);
  });

  test('L9: one Idempotency-Key is one upload', async () => {
    const bytes = await picture('png', { colour: '#123456' });
    const sendKeyed = (file: Buffer): Promise<Answer> =>
      appliance.upload(ann.key, [{ name: 'a.png', bytes: file }], '/api/v1/upload', {
        'idempotency-key': 'one',
      });
    const first = await sendKeyed(bytes);
    const again = await sendKeyed(bytes);
    expect([again.status, again.text]).toEqual([201, first.text]);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect((await sendKeyed(await picture('png', { colour: '#654321' }))).code).toBe(
      'idempotency_key_reused',
    );
    const { items } = (await appliance.call('GET', '/api/v1/uploads', { as: ann.key })).data;
    expect(items[0].id).toBe(first.data.id);
  });

  test('listed, shown, deleted; it is one’s own', async () => {
    const { data } = await send(await picture());
    const list = await appliance.call('GET', '/api/v1/uploads?limit=1', { as: ann.key });
    expect(list.data.items[0].id).toBe(data.id);
    const path = `/api/v1/uploads/${data.id}`;
    for (const method of ['GET', 'DELETE'])
      expect((await appliance.call(method, path, { as: bob.key })).status).toBe(404);
    const file = onDisk('artefacts').find((name) => name.endsWith(data.id));
    expect(file).toBeDefined();
    expect((await appliance.call('DELETE', path, { as: ann.key })).status).toBe(200);
    expect((await appliance.call('GET', path, { as: ann.key })).status).toBe(404);
    expect((await fetch(data.url)).status).toBe(403);
    await vi.waitFor(() => expect(onDisk('artefacts')).not.toContain(file));
  });
});

describe('W6, F37: what is not taken', () => {
  const tail = Buffer.from('<script>alert(1)</script>PK\x03\x04%PDF-1.7');
  test.each<[string, () => Promise<Buffer> | Buffer, RegExp]>([
    ['nothing', () => Buffer.alloc(0), /is not a PNG/],
    ['a text', () => Buffer.from('hello'), /is not a PNG/],
    ['a page', () => Buffer.from('<html><script>alert(1)</script>'), /is not a PNG/],
    ['an SVG', () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), /is not a PNG/],
    ['a GIF', () => picture('gif'), /is not a PNG/],
    ['a TIFF', () => picture('tiff'), /is not a PNG/],
    ['a PDF', () => Buffer.from('%PDF-1.7\n1 0 obj'), /is not a PNG/],
    ['an archive', () => Buffer.from('PK\x03\x04'), /is not a PNG/],
    ['a program', () => Buffer.from('\x7fELF'), /is not a PNG/],
    [
      'a PNG’s first bytes and then something else',
      () => Buffer.concat([bomb(8, 8).subarray(0, 8), tail]),
      /is not a PNG/,
    ],
    [
      'a WebP’s first bytes and then something else',
      () => Buffer.from('RIFF\x10\0\0\0WEBPVP8 nonsense'),
      /is not a PNG/,
    ],
    [
      'half a picture',
      async () => (await picture('jpeg', { width: 512, height: 512 })).subarray(0, 1_500),
      /damaged/,
    ],
    ['a PNG without its pixels', () => bomb(64, 64), /damaged/],
    ['a few bytes that claim 64250 x 64250', () => bomb(64_250, 64_250), /pixels/],
    ['a few bytes that are 30000 x 30000', () => bomb(30_000, 30_000, 30_000), /pixels/],
    ['one pixel high and 16000 wide', () => bomb(16_000, 1, 1), /times the shorter/],
    ['two frames', () => animation(), /2 frames/],
  ])('%s', async (_, make, why) => {
    const { status, code, message } = await send(await make());
    expect([status, code]).toEqual([400, 'invalid_image']);
    expect(message).toMatch(why);
  });

  test.each(['png', 'jpeg', 'webp'] as const)('what hangs behind a %s', async (format) => {
    const { status, data } = await send(Buffer.concat([await picture(format), tail]));
    expect(status).toBe(201);
    const kept = await fetched(data.url);
    for (const part of ['script', 'PK\x03\x04', '%PDF']) expect(kept.includes(part), part).toBe(false);
  });

  test('more bytes than are allowed, other fields, more files, no form', async () => {
    const large = Buffer.alloc(17 * 1024 ** 2);
    expect((await send(large)).status).toBe(413);
    const small = { name: 'a.png', bytes: await picture() };
    const newest = async () =>
      (await appliance.call('GET', '/api/v1/uploads?limit=1', { as: ann.key })).data.items;
    const before = await newest();
    expect((await appliance.upload(ann.key, [small, small])).status).toBe(400);
    expect(await newest()).toEqual([expect.objectContaining({ id: before[0].id })]);
    expect((await appliance.upload(ann.key, [])).status).toBe(400);
    expect((await appliance.call('POST', '/api/v1/upload', { as: ann.key, body: {} })).status).toBe(415);
  });

  test('nothing is left of any of it, nor of who hangs up in the middle', async () => {
    const { hostname, port } = new URL(appliance.tenantUrl);
    const socket = connect(Number(port), hostname);
    socket.write(
      [
        'POST /api/v1/upload HTTP/1.1',
        'host: x',
        `authorization: Bearer ${ann.key}`,
        'content-type: multipart/form-data; boundary=b',
        'content-length: 1000000',
        '',
        '--b',
        'content-disposition: form-data; name="file"; filename="a.png"',
        'content-type: image/png',
        '',
        'x'.repeat(100_000),
      ].join('\r\n'),
    );
    await vi.waitFor(() => expect(onDisk('incoming')).toHaveLength(1));
    socket.destroy();
    await vi.waitFor(() => expect(onDisk('incoming')).toEqual([]));
  });
});

test('W5: five hundred names that try to be somewhere else are names, and nothing more', async () => {
  const names = trickyNames();
  expect(names.length).toBeGreaterThan(500);
  const bytes = await picture('png', { width: 64, height: 64 });
  const before = new Set(
    onDisk().filter((name) => !/^(logs|demo|artefacts|incoming|kilnhouse\.db)/.test(name)),
  );
  for (let start = 0; start < names.length; start += 10) {
    const files = names.slice(start, start + 10).map((name) => ({ name, bytes }));
    const { status, data } = await appliance.upload(ann.key, files, '/api/v1/upload/batch');
    // Some are no file names to a form at all; then the form is refused as a whole.
    expect([201, 400]).toContain(status);
    for (const one of data ?? []) {
      expect(one.name).not.toMatch(/[/\\\p{C}"<>:|?*]/u);
      expect(one.name.length).toBeGreaterThan(0);
      expect(one.name.length).toBeLessThanOrEqual(200);
      const response = await fetch(one.url);
      expect(response.status).toBe(200);
      expect(response.headers.get('x-evil')).toBeNull();
      expect((await response.arrayBuffer()).byteLength).toBe(one.bytes);
    }
  }
  const after = onDisk().filter((name) => !/^(logs|demo|artefacts|incoming|kilnhouse\.db)/.test(name));
  expect(after.filter((name) => !before.has(name))).toEqual([]);
  for (const name of onDisk('artefacts'))
    expect(name).toMatch(/^[0-9a-f]{32}\/[0-9a-f]{32}\/upl_[0-9a-f]{32}$/);
});

test('RFC 9110: a range beyond the end of a file is 416, with the size of the file', async () => {
  const { data } = await send(await picture());
  const get = (range: string) => fetch(data.url, { headers: { range } });
  const part = await get('bytes=0-3');
  expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 0-3/${data.bytes}`]);
  const beyond = await get(`bytes=${data.bytes}-`);
  expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, `bytes */${data.bytes}`]);
  expect(await beyond.json()).toMatchObject({ error: { code: 'range_not_satisfiable', side: 'client' } });
});

test('D21: a name keeps the joiners of an emoji, and never ends in half a character', async () => {
  const bytes = await picture('png', { width: 64, height: 64 });
  const names = ['👨‍👩‍👧.png', `${'x'.repeat(199)}😀`];
  const { data } = await appliance.upload(
    ann.key,
    names.map((name) => ({ name, bytes })),
    '/api/v1/upload/batch',
  );
  expect(data.map(({ name }: { name: string }) => name)).toEqual(['👨‍👩‍👧.png', 'x'.repeat(199)]);
  for (const { url } of data) expect((await fetch(url)).status).toBe(200);
});

test('W5: ids and files in paths are looked up, never opened', async () => {
  const { data } = await send(await picture());
  const [, , group] = new URL(data.url).pathname.split('/');
  const { search } = new URL(data.url);
  for (const name of trickyNames()) {
    const trick = encodeURIComponent(name).replaceAll('.', '%2e');
    if (name === '' || trick.length > 400) continue;
    for (const path of [
      `/files/${group}/${trick}${search}`,
      `/files/${trick}/${data.id}${search}`,
      `/images/x/${trick}${search}`,
    ])
      expect([400, 403, 404], path).toContain((await appliance.call('GET', path)).status);
    for (const path of [`/api/v1/uploads/${trick}`, `/api/v1/jobs/${trick}/download`])
      expect([400, 404], path).toContain((await appliance.call('GET', path, { as: ann.key })).status);
  }
  const token = readFileSync(join(appliance.folder, 'operator-token'), 'utf8').trim();
  const raw = await fetch(`${appliance.tenantUrl}/files/${group}/..%2f..%2f..%2foperator-token${search}`);
  expect(await raw.text()).not.toContain(token);
});

describe('D2: room', () => {
  test('a plan holds so much and no more; deleting makes room', async () => {
    const carl = await appliance.register('carl@example.test', { plan: 'free', credits: 100 });
    await appliance.operator(`/api/tenants/${carl.company}`, 'PATCH', {
      overrides: { storageMib: 1, uploadsPerMinute: 1_000 },
    });
    const noise = await sharp({
      create: {
        width: 512,
        height: 512,
        channels: 3,
        background: '#000',
        noise: { type: 'gaussian', mean: 128, sigma: 60 },
      },
    })
      .png()
      .toBuffer();
    const first = await send(noise, { as: carl.key });
    expect(first.status).toBe(201);
    const second = await send(noise, { as: carl.key });
    expect([second.status, second.code]).toEqual([507, 'storage_quota_exceeded']);
    await appliance.call('DELETE', `/api/v1/uploads/${first.data.id}`, { as: carl.key });
    expect((await send(noise, { as: carl.key })).status).toBe(201);
  });

  test('so many a minute and no more', async () => {
    const dora = await appliance.register('dora@example.test', { plan: 'free' });
    const bytes = await picture();
    const answers = [];
    for (let i = 0; i < 11; i += 1) answers.push(await send(bytes, { as: dora.key }));
    expect(answers.map(({ status }) => status)).toEqual([...Array.from({ length: 10 }, () => 201), 429]);
    expect(Number(answers.at(-1)?.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test('below the floor of the disk nothing new is taken, and what is there is given', async () => {
    const { data } = await send(await picture());
    await appliance.stop();
    const { folder } = appliance;
    appliance = await TestAppliance.start({
      folder,
      speed: 50,
      env: { KILNHOUSE_STORAGE_FLOOR_MIB: '999999999' },
    });
    await appliance.ready();
    const refused = await send(await picture());
    expect([refused.status, refused.code]).toEqual([507, 'storage_full']);
    const job = await appliance.call('POST', '/api/v1/jobs/image-generation', {
      as: ann.key,
      body: { prompt: 'x' },
    });
    expect([job.status, job.code]).toEqual([507, 'storage_full']);
    const shown = await appliance.call('GET', `/api/v1/uploads/${data.id}`, { as: ann.key });
    expect((await fetch(shown.data.url)).status).toBe(200);
    expect(await appliance.operator('/api/ledger')).toMatchObject({ ok: true, held: 0 });
    await appliance.stop();
    appliance = await TestAppliance.start({ folder, speed: 50 });
    await appliance.ready();
    expect((await send(await picture())).status).toBe(201);
  });
});

test('what a person sent is exported, and is gone with the person', async () => {
  const eve = await appliance.register('eve@example.test', { tenant: ann.company });
  const { data } = await send(await picture(), { as: eve.key, name: 'face of eve.png' });
  const { text } = await appliance.call('GET', '/api/v1/account/export', { as: eve.token });
  expect(text).toContain('face of eve.png');
  const body = { password: passwordOf(eve.email) };
  expect((await appliance.call('DELETE', '/api/v1/account', { as: eve.token, body })).status).toBe(200);
  await vi.waitFor(() => expect(onDisk('artefacts').some((name) => name.endsWith(data.id))).toBe(false));
});

test('files that belong to nothing are deleted at the next start', async () => {
  const { data } = await send(await picture());
  const { folder } = appliance;
  await appliance.stop();
  const place = onDisk('artefacts').find((name) => name.endsWith(data.id)) ?? '';
  const { copyFileSync, utimesSync, writeFileSync } = await import('node:fs');
  const orphan = join(folder, 'artefacts', place.replace(data.id, `art_${'0'.repeat(32)}`));
  copyFileSync(join(folder, 'artefacts', place), orphan);
  const part = join(folder, 'artefacts', place.replace(data.id, 'x.part'));
  writeFileSync(part, 'half');
  for (const path of [orphan, part]) utimesSync(path, 1, 1);
  writeFileSync(join(folder, 'incoming', 'half'), 'half');
  appliance = await TestAppliance.start({ folder, speed: 50 });
  await vi.waitFor(() => {
    expect(onDisk('artefacts').filter((name) => /art_0{32}|part/.test(name))).toEqual([]);
    expect(onDisk('incoming')).toEqual([]);
  });
  expect(onDisk('artefacts')).toContain(place);
});
