import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { gzipSync } from 'node:zlib';
import { ApiError } from '../http/api-error.ts';
import { type DownloadParts, Downloads } from './downloads.ts';

const content = ggufOf('a model, nearly '.repeat(50_000));
const other = ggufOf('another one, be '.repeat(50_000));
const sha256 = createHash('sha256').update(content).digest('hex');
let server: Server;
let base = '';
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let folder = '';
let downloads: Downloads;
const done = vi.fn();
let hasCheckpoints = true;
let spaceOf: DownloadParts['spaceOf'] = () => ({ demand: () => undefined });

function downloadsOf(): Downloads {
  return new Downloads({
    folderOf: (kind) => (kind === 'gguf' || hasCheckpoints ? folder : null),
    spaceOf: (path) => spaceOf(path),
    onDone: done,
  });
}

/** The head of a GGUF file, and whatever behind it. */
function ggufOf(rest: string, { version = 3, tensors = 1n } = {}): Buffer {
  const head = Buffer.alloc(24);
  head.write('GGUF');
  head.writeUInt32LE(version, 4);
  head.writeBigUInt64LE(tensors, 8);
  head.writeBigUInt64LE(1n, 16);
  return Buffer.concat([head, Buffer.from(rest)]);
}

beforeAll(async () => {
  server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnhouse-downloads-'));
  done.mockClear();
  asked.length = 0;
  spaceOf = () => ({ demand: () => undefined });
  hasCheckpoints = true;
  downloads = downloadsOf();
  answer = (_, response) => response.writeHead(200, { 'content-length': content.length }).end(content);
});

const start = (more: object = {}) =>
  downloads.start({ kind: 'gguf', url: `${base}/models/tiny.gguf?download=true`, ...more });
const ended = (id: string) =>
  vi.waitFor(
    () => {
      const found = downloads.list().find((one) => one.id === id);
      expect(['done', 'failed', 'canceled']).toContain(found?.state);
      return found;
    },
    { timeout: 5_000 },
  );

test('a file is fetched, compared with its checksum, and only then there', async () => {
  const { id, url } = start({ sha256: sha256.toUpperCase() });
  expect(url, 'no secrets of the address are kept').toBe(`${base}/models/tiny.gguf`);
  expect(await ended(id)).toMatchObject({
    state: 'done',
    bytes: content.length,
    totalBytes: content.length,
    sha256,
  });
  expect(readFileSync(join(folder, 'tiny.gguf')).equals(content)).toBe(true);
  expect(readdirSync(folder)).toEqual(['tiny.gguf']);
  expect(done).toHaveBeenCalledExactlyOnceWith('gguf');
  expect(() => start()).toThrow('there already');
});

test('one with another checksum is not kept', async () => {
  const { id } = start({ sha256: '0'.repeat(64) });
  expect(await ended(id)).toMatchObject({ state: 'failed', error: expect.stringContaining(sha256) });
  expect(readdirSync(folder)).toEqual([]);
});

/** What a server that knows ranges answers, with a validator. It sends only the first bytes where it is told to. */
function serve(
  file: Buffer,
  headers: Record<string, string>,
  { until = null as number | null, heedsIfRange = true } = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    asked.push({ range: request.headers.range, ifRange: request.headers['if-range'], url: request.url });
    const said = request.headers['if-range'];
    const isSame = said === undefined || Object.values(headers).includes(String(said));
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (from > 0 && (isSame || !heedsIfRange)) {
      response.writeHead(206, {
        ...headers,
        'content-length': file.length - from,
        'content-range': `bytes ${from}-${file.length - 1}/${file.length}`,
      });
      response.end(file.subarray(from));
      return;
    }
    response.writeHead(200, { ...headers, 'content-length': file.length });
    if (until === null) response.end(file);
    else response.write(file.subarray(0, until));
  };
}
const asked: {
  range: string | undefined;
  ifRange: string | string[] | undefined;
  url: string | undefined;
}[] = [];

/** A download that breaks off in the middle. */
async function brokenOff(
  more: object = {},
  headers: Record<string, string> = { etag: '"a"' },
): Promise<string> {
  const sockets: ServerResponse[] = [];
  answer = (request, response) => {
    sockets.push(response);
    serve(content, headers, { until: 300_000 })(request, response);
  };
  const { id } = start(more);
  // All that was sent has come, before the connection ends.
  await vi.waitFor(() => expect(downloads.list().find((one) => one.id === id)?.bytes).toBe(300_000));
  for (const response of sockets) response.destroy();
  expect(await ended(id)).toMatchObject({
    state: 'failed',
    error: expect.stringMatching(/^The connection to "127\.0\.0\.1:\d+" broke off\. Try again/),
  });
  expect(existsSync(join(folder, 'tiny.gguf'))).toBe(false);
  asked.length = 0;
  return id;
}

describe('one that broke off', () => {
  test.each([{ etag: '"a"' }, { 'last-modified': 'Tue, 02 Jun 2026 10:00:00 GMT' }])(
    'goes on where it was, if the file is the same: %j',
    async (headers) => {
      const id = await brokenOff({ sha256 }, headers);
      answer = serve(content, headers);
      expect(downloads.retry(id)).toMatchObject({ state: 'waiting', error: null });
      expect(await ended(id)).toMatchObject({ state: 'done', sha256 });
      expect(asked).toMatchObject([{ range: 'bytes=300000-', ifRange: Object.values(headers)[0] }]);
      expect(readdirSync(folder)).toEqual(['tiny.gguf']);
      expect(() => downloads.retry(id)).toThrow('there already');
    },
  );

  test('case 5: the same name at another address begins anew', async () => {
    await brokenOff();
    answer = serve(other, { etag: '"a"' });
    expect(await ended(start({ url: `${base}/other/tiny.gguf` }).id)).toMatchObject({ state: 'done' });
    expect(asked).toMatchObject([{ range: undefined, url: '/other/tiny.gguf' }]);
    expect(readFileSync(join(folder, 'tiny.gguf')).equals(other)).toBe(true);
  });

  test.each([true, false])(
    'review 13: one that was replaced meanwhile begins anew (server heeds If-Range: %s)',
    async (heedsIfRange) => {
      await brokenOff();
      answer = serve(other, { etag: '"b"' }, { heedsIfRange });
      expect(await ended(start().id)).toMatchObject({ state: 'done' });
      expect(readFileSync(join(folder, 'tiny.gguf')).equals(other)).toBe(true);
    },
  );

  test('without anything that says whether it is the same it begins anew', async () => {
    await brokenOff({}, { etag: 'W/"weak"' });
    answer = serve(other, {});
    expect(await ended(start().id)).toMatchObject({ state: 'done' });
    expect(asked).toMatchObject([{ range: undefined }]);
    expect(readFileSync(join(folder, 'tiny.gguf')).equals(other)).toBe(true);
  });

  test.each([
    ['another place', `bytes 299999-${content.length - 1}/${content.length}`],
    ['another length', `bytes 300000-${content.length}/${content.length + 1}`],
    ['no place', ''],
  ])('begins anew when the rest is of %s', async (_, range) => {
    await brokenOff();
    answer = (request, response) => {
      if (request.headers.range === undefined) return serve(other, { etag: '"a"' })(request, response);
      response.writeHead(206, { etag: '"a"', ...(range !== '' && { 'content-range': range }) });
      response.end(content.subarray(300_000));
    };
    expect(await ended(start().id)).toMatchObject({ state: 'done' });
    expect(readFileSync(join(folder, 'tiny.gguf')).equals(other)).toBe(true);
  });

  test('whole already: 416 is believed only where it says the same length', async () => {
    const whole = (total: number) => (request: IncomingMessage, response: ServerResponse) => {
      if (request.headers.range === undefined) return serve(other, { etag: '"a"' })(request, response);
      response.writeHead(416, { etag: '"a"', 'content-range': `bytes */${total}` }).end();
    };
    await brokenOff();
    writeFileSync(join(folder, 'tiny.gguf.download'), content);
    answer = whole(content.length);
    expect(await ended(start().id)).toMatchObject({ state: 'done', sha256 });
    folder = mkdtempSync(join(tmpdir(), 'kilnhouse-downloads-'));
    await brokenOff();
    answer = whole(content.length);
    expect(await ended(start().id)).toMatchObject({ state: 'done' });
    expect(readFileSync(join(folder, 'tiny.gguf')).equals(other)).toBe(true);
  });

  test('a part that nothing is known of is not gone on with', async () => {
    writeFileSync(join(folder, 'tiny.gguf.download'), 'something else');
    answer = serve(content, { etag: '"a"' });
    expect(await ended(start({ sha256 }).id)).toMatchObject({ state: 'done' });
  });

  test('D27: an appliance that starts again lists it; it can be tried again, or removed', async () => {
    await brokenOff({ url: `${base}/models/tiny.gguf` });
    downloads = downloadsOf();
    expect(downloads.list()).toMatchObject([
      { state: 'failed', name: 'tiny.gguf', error: expect.stringContaining('stopped') },
    ]);
    const [{ id } = { id: '' }] = downloads.list();
    answer = serve(content, { etag: '"a"' });
    downloads.retry(id);
    expect(await ended(id)).toMatchObject({ state: 'done', sha256 });
    expect(asked).toMatchObject([{ range: 'bytes=300000-' }]);
  });

  test('D27: an address that was not kept whole has to be given again', async () => {
    await brokenOff();
    downloads = downloadsOf();
    const [{ id } = { id: '' }] = downloads.list();
    expect(() => downloads.retry(id)).toThrow('whole address');
    answer = serve(content, { etag: '"a"' });
    expect(await ended(start().id)).toMatchObject({ state: 'done', sha256 });
    expect(asked).toMatchObject([{ range: 'bytes=300000-' }]);
    expect(downloads.list()).toHaveLength(1);
  });

  test('D27: removed, nothing is left of it', async () => {
    const id = await brokenOff();
    await downloads.remove(id);
    expect(readdirSync(folder)).toEqual([]);
    expect(downloads.list()).toEqual([]);
    await expect(downloads.remove(id)).rejects.toThrow('no such download');
  });
});

describe('S16: a redirect', () => {
  const redirectTo = (to: string): void => {
    answer = (request, response) => {
      if (request.url?.startsWith('/models/')) response.writeHead(302, { location: to }).end();
      else serve(content, { etag: '"a"' })(request, response);
    };
  };

  test('is followed where the first address could have led', async () => {
    redirectTo('/elsewhere');
    expect(await ended(start().id)).toMatchObject({ state: 'done', sha256 });
  });

  test.each([
    ['plain HTTP on another host', () => base.replace('127.0.0.1', '127.0.0.2')],
    ['this machine over HTTPS', () => base.replace('http', 'https')?.replace('127.0.0.1', '127.0.0.2')],
    ['an address of the LAN', () => 'https://192.168.1.1/tiny.gguf'],
    ['a name that leads here', () => 'https://localhost/tiny.gguf'],
    ['a file', () => 'file:///etc/passwd'],
    ['a password', () => base.replace('//', '//a:b@')],
  ])('to %s is refused', async (_, to) => {
    redirectTo(to());
    const failed = await ended(start().id);
    expect(failed).toMatchObject({ state: 'failed' });
    expect(failed?.error).toMatch(/redirects to|may not be called/);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('without an end is given up', async () => {
    redirectTo('/models/again');
    expect((await ended(start().id))?.error).toContain('redirects more than');
  });
});

test('S16: a compressed answer is refused, not inflated', async () => {
  answer = (_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(content));
  expect((await ended(start().id))?.error).toContain('compressed (gzip)');
  expect(readdirSync(folder)).toEqual([]);
});

test('D2: what is not said to be large stops at the floor of the disk, too', async () => {
  let room = 100_000;
  spaceOf = () => ({
    demand: (bytes) => {
      room -= bytes;
      if (room < 0) throw new ApiError('storage_full', 'The disk is nearly full.');
    },
  });
  answer = (_, response) => {
    response.writeHead(200, { etag: '"a"' });
    response.end(content);
  };
  expect(await ended(start().id)).toMatchObject({ state: 'failed', error: 'The disk is nearly full.' });
  room = 100_000;
  answer = serve(content, { etag: '"a"' });
  const { id } = start();
  expect(await ended(id)).toMatchObject({ state: 'failed', bytes: 0 });
});

test('two at once have to find room together', async () => {
  const demanded: number[] = [];
  spaceOf = () => ({ demand: (bytes) => void demanded.push(bytes) });
  answer = (request, response) => serve(content, { etag: '"a"' }, { until: 24 })(request, response);
  const first = start({ name: 'one.gguf' });
  await vi.waitFor(() => expect(downloads.list().at(-1)?.bytes).toBe(24));
  const second = start({ name: 'two.gguf' });
  await vi.waitFor(() => expect(downloads.list()[0]?.bytes).toBe(24));
  expect(demanded).toContain(content.length + content.length - 24);
  for (const { id } of [first, second]) downloads.cancel(id);
  await Promise.all([ended(first.id), ended(second.id)]);
});

describe('what is no model is not kept', () => {
  const safetensors = (header: object, data: number): Buffer => {
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([length, text, Buffer.alloc(data)]);
  };
  const tensors = { a: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } };
  test.each<[string, string, Buffer]>([
    ['two bytes', 'a.gguf', Buffer.from('ok')],
    ['nothing', 'a.gguf', Buffer.alloc(0)],
    [
      'a pointer of Git LFS',
      'a.gguf',
      Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0'),
    ],
    ['GGUF of an old version', 'a.gguf', ggufOf('', { version: 1 })],
    ['GGUF without room for its tensors', 'a.gguf', ggufOf('', { tensors: 100n })],
    ['two bytes', 'a.safetensors', Buffer.from('ok')],
    [
      'a header that is no JSON',
      'a.safetensors',
      Buffer.concat([Buffer.from([8, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(8)]),
    ],
    ['safetensors cut off', 'a.safetensors', safetensors(tensors, 15)],
    ['safetensors with more behind', 'a.safetensors', safetensors(tensors, 17)],
    ['two bytes', 'a.ckpt', Buffer.from('PK')],
    ['text', 'a.ckpt', Buffer.from('x'.repeat(2_000))],
  ])('%s as %s', async (_, name, file) => {
    answer = serve(file, { etag: '"a"' });
    const kind = name.endsWith('gguf') ? 'gguf' : 'checkpoint';
    expect(await ended(start({ kind, name }).id)).toMatchObject({ state: 'failed' });
    expect(readdirSync(folder)).toEqual([]);
    expect(done).not.toHaveBeenCalled();
  });

  test.each<[string, Buffer]>([
    ['a.safetensors', safetensors({ __metadata__: { format: 'pt' }, ...tensors }, 16)],
    ['a.ckpt', Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(2_000)])],
  ])('%s that is one is', async (name, file) => {
    answer = serve(file, { etag: '"a"' });
    expect(await ended(start({ kind: 'checkpoint', name }).id)).toMatchObject({ state: 'done' });
  });
});

test.each([
  [
    'a name that is nowhere',
    'https://nowhere.invalid/a.gguf',
    /^"nowhere\.invalid" (was not found|could not be looked up)/,
  ],
  ['nobody who listens', 'http://127.0.0.1:1/a.gguf', /^"127\.0\.0\.1:1" takes no connections/],
])('D27: %s is said', async (_, url, message) => {
  expect(await ended(start({ url }).id)).toMatchObject({
    state: 'failed',
    error: expect.stringMatching(message),
  });
});

test('given up: nothing is left of it', async () => {
  answer = (_, response) => {
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, 1_000));
  };
  const { id } = start();
  await vi.waitFor(() => expect(downloads.list()[0]?.bytes).toBeGreaterThan(0));
  expect(() => start()).toThrow('being downloaded');
  expect(downloads.cancel(id)).toBe(true);
  expect(await ended(id)).toMatchObject({ state: 'canceled' });
  expect(readdirSync(folder)).toEqual([]);
  expect(downloads.cancel(id)).toBe(false);
});

describe('is not begun', () => {
  test.each([
    ['from plain HTTP elsewhere', { url: 'http://example.test/a.gguf' }],
    ['from a file', { url: 'file:///etc/passwd' }],
    ['with a password in the address', { url: 'https://a:b@example.test/a.gguf' }],
    ['from no address', { url: 'not an address' }],
    ['under a path', { name: '../a.gguf' }],
    ['under a path of Windows', { name: '..\\a.gguf' }],
    ['under a hidden name', { name: '.a.gguf' }],
    ['under a name of another kind', { name: 'a.exe' }],
    ['under the name of a device of Windows', { name: 'CON.gguf' }],
    ['under a name with a control character', { name: 'a\u0000.gguf' }],
    ['without a name', { url: 'https://example.test/' }],
    ['where there is no folder for it', { kind: 'checkpoint', name: 'a.safetensors' }],
  ])('%s', (_, more) => {
    hasCheckpoints = false;
    expect(() => start(more)).toThrow();
    expect(downloads.list()).toEqual([]);
  });
});

test('a web page, and an error, are no models', async () => {
  answer = (_, response) =>
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>');
  expect((await ended(start().id))?.error).toContain('web page');
  answer = (_, response) => response.writeHead(404).end();
  expect((await ended(start().id))?.error).toContain('404');
});
