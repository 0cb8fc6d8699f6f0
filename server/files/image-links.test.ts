import { mkdtempSync, readdirSync, readFileSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { limits } from '../contract/limits.ts';
import { ImageLinks } from './image-links.ts';
import type { Tenant } from '../tenants/tenant.ts';
import { Vault } from '../secrets/vault.ts';
import { StorageRoom } from './storage-room.ts';
import { SignedLinks } from './signed-links.ts';

const secret = Buffer.alloc(32, 1);

let folder = '';
let links: ImageLinks;
const picture = Buffer.from('a picture with a prompt');
const acme = { id: 'acme', limits: { storageMib: 1 } } as Tenant;
const room = new StorageRoom({
  stored: (tenant) => links.bytesOf(tenant),
  space: { demand: () => undefined },
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kilnhouse-links-'));
  links = new ImageLinks(folder, new SignedLinks(secret), new Vault(secret));
  await links.start();
});
afterEach(() => {
  links.close();
  vi.useRealTimers();
});

async function parts(): Promise<[owner: string, id: string, expires: string, signature: string]> {
  const { path } = await links.save(acme, picture, 'png', room);
  const url = new URL(path, 'http://x');
  const [, , owner = '', file = ''] = url.pathname.split('/');
  const of = (name: string): string => url.searchParams.get(name) ?? '';
  return [owner, file, of('expires'), of('signature')];
}

test('a link opens its picture', async () => {
  expect(await links.open(...(await parts()))).toEqual({ bytes: picture, contentType: 'image/png' });
});

test('W4: a link with any character changed opens nothing', async () => {
  const genuine = await parts();
  await fc.assert(
    fc.asyncProperty(
      fc.nat(3),
      fc.nat(200),
      fc.string({ minLength: 1, maxLength: 1 }),
      async (part, at, character) => {
        const changed = [...genuine] as typeof genuine;
        const text = changed[part] ?? '';
        changed[part] = text.slice(0, at % text.length) + character + text.slice((at % text.length) + 1);
        if (changed[part] === genuine[part]) return;
        expect(await links.open(...changed)).toBeNull();
      },
    ),
  );
});

test('W4: a link ends at its hour', async () => {
  const genuine = await parts();
  vi.useFakeTimers({ now: Date.now() + limits.imageLink.lifetimeMs + 1, toFake: ['Date'] });
  expect(await links.open(...genuine)).toBeNull();
});

test('W5: names that lead elsewhere open nothing', async () => {
  for (const id of ['../link-secret', '..%2flink-secret', '/etc/passwd', 'x'.repeat(32)]) {
    expect(await links.open('0123456789abcdef', id, '9999999999999', 'x')).toBeNull();
  }
});

test('what has expired is removed', async () => {
  await links.save(acme, picture, 'png', room);
  const [name = ''] = readdirSync(join(folder, 'images'));
  utimesSync(join(folder, 'images', name), new Date(0), new Date(0));
  await links.sweep();
  expect(readdirSync(join(folder, 'images'))).toEqual([]);
});

test('S8: nothing of a picture can be read on the disk', async () => {
  await parts();
  for (const name of readdirSync(join(folder, 'images')))
    expect(readFileSync(join(folder, 'images', name)).includes('prompt')).toBe(false);
});

test('review 23: pictures behind links count against the quota, also after a restart', async () => {
  const large = Buffer.alloc(600 * 1024);
  await links.save(acme, large, 'png', room);
  await expect(links.save(acme, large, 'png', room)).rejects.toMatchObject({
    code: 'storage_quota_exceeded',
  });
  links.close();
  links = new ImageLinks(folder, new SignedLinks(secret), new Vault(secret));
  await links.start();
  expect(links.bytesOf('acme')).toBeGreaterThanOrEqual(large.length);
  expect(links.bytesOf('other')).toBe(0);
});
