import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { Downloads } from './downloads.ts';

const content = Buffer.from('a model, nearly '.repeat(50_000));
const sha256 = createHash('sha256').update(content).digest('hex');
let server: Server;
let base = '';
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let folder = '';
let downloads: Downloads;
const done = vi.fn();

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
  downloads = new Downloads({
    folderOf: (kind) => (kind === 'gguf' ? folder : null),
    spaceOf: () => ({ demand: () => undefined }),
    onDone: done,
  });
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

test('one that broke off goes on where it was', async () => {
  answer = (_, response) => {
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, 300_000), () => setTimeout(() => response.destroy(), 20));
  };
  expect(await ended(start().id)).toMatchObject({ state: 'failed' });
  expect(existsSync(join(folder, 'tiny.gguf'))).toBe(false);
  const ranges: (string | undefined)[] = [];
  answer = (request, response) => {
    ranges.push(request.headers.range);
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(206, { 'content-length': content.length - from }).end(content.subarray(from));
  };
  expect(await ended(start({ sha256 }).id)).toMatchObject({ state: 'done' });
  expect(ranges[0]).toMatch(/^bytes=[1-9]\d*-$/);
});

test('a server that begins anew is followed', async () => {
  writeFileSync(join(folder, 'tiny.gguf.download'), 'something else');
  expect(await ended(start({ sha256 }).id)).toMatchObject({ state: 'done' });
});

test('given up: nothing is left of it', async () => {
  answer = (_, response) => {
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, 1_000));
  };
  const { id } = start();
  await vi.waitFor(() => expect(downloads.list()[0]?.bytes).toBeGreaterThan(0));
  expect(() => start()).toThrow('being fetched');
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
    ['under a name with a control character', { name: 'a\u0000.gguf' }],
    ['without a name', { url: 'https://example.test/' }],
    ['where there is no folder for it', { kind: 'checkpoint', name: 'a.safetensors' }],
  ])('%s', (_, more) => {
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
