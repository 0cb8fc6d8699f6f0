import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openDatabase } from '../db/open.ts';
import { Offers } from '../offers/offers.ts';
import { hashApiKey, isApiKey, newApiKey } from './api-key.ts';
import { createTenantsFile, type TenantsWatch, watchTenantsFile } from './tenants-file.ts';
import { FileTenants } from './file-tenants.ts';

const offers = new Offers(openDatabase(':memory:'));
const key = 'kh_this-is-a-key-for-tests';
const log = { info: () => undefined, error: () => undefined };
const find = (text: string) => tenants.byHash(hashApiKey(text));
let path = '';
let tenants: FileTenants;
let watching: TenantsWatch;

beforeEach(async () => {
  path = join(mkdtempSync(join(tmpdir(), 'kilnhouse-tenants-')), 'tenants.json');
  writeFileSync(path, JSON.stringify({ [key]: { name: 'acme', plan: 'pro' } }));
  tenants = new FileTenants();
  watching = await watchTenantsFile(path, tenants, offers, log);
});
afterEach(() => watching.close());

test('a key works as it stands in the file, or by its hash', () => {
  expect(find(key)?.tenant).toMatchObject({ id: 'acme', plan: 'pro', allowNSFW: false });
  expect(tenants.byHash(hashApiKey(key))?.tenant.id).toBe('acme');
  expect(find('kh_another')).toBeUndefined();
});

test('A1: a key that is removed is refused within a second', async () => {
  writeFileSync(path, '{}');
  await vi.waitFor(() => expect(find(key)).toBeUndefined());
});

test('a half-written file changes nothing and says so, and the whole one is taken when it comes', async () => {
  writeFileSync(path, '{"kh_a-second-key-for-tests": {"plan": "fr');
  await vi.waitFor(() => expect(watching.problem() ?? '').toContain('not valid JSON'), { timeout: 2_000 });
  expect(find(key)).toBeDefined();
  appendFileSync(path, 'ee"}}');
  await vi.waitFor(() => expect(find('kh_a-second-key-for-tests')).toBeDefined(), {
    timeout: 2_000,
  });
  expect(watching.problem()).toBeNull();
});

test('a file saved by Notepad or PowerShell is read: UTF-16, a byte order mark, hashes in capitals', async () => {
  const text = JSON.stringify({
    [`SHA256:${hashApiKey(key).toUpperCase()}`]: { name: 'notepad', plan: 'pro' },
  });
  writeFileSync(path, `\uFEFF${text}`, 'utf16le');
  await vi.waitFor(() => expect(find(key)?.tenant.id).toBe('notepad'), { timeout: 2_000 });
  writeFileSync(path, `\uFEFF${text.replace('notepad', 'marked')}`);
  await vi.waitFor(() => expect(find(key)?.tenant.id).toBe('marked'), { timeout: 2_000 });
  expect(watching.problem()).toBeNull();
});

test('a file that cannot be read for a moment changes nothing, says so, and is read when it can be', async () => {
  rmSync(path);
  mkdirSync(path);
  await vi.waitFor(() => expect(watching.problem()).toContain('EISDIR'), { timeout: 2_000 });
  expect(find(key)?.tenant.id).toBe('acme');
  rmdirSync(path);
  writeFileSync(path, JSON.stringify({ [key]: { name: 'back', plan: 'pro' } }));
  await vi.waitFor(() => expect(find(key)?.tenant.id).toBe('back'), { timeout: 2_000 });
});

test('an editor that replaces the file is followed', async () => {
  writeFileSync(`${path}.tmp`, JSON.stringify({ [key]: { name: 'acme', plan: 'free' } }));
  renameSync(`${path}.tmp`, path);
  await vi.waitFor(() => expect(find(key)?.tenant.plan).toBe('free'), { timeout: 2_000 });
});

test.each([
  ['an unknown plan', { [key]: { plan: 'gold' } }, 'gold'],
  ['an unknown field', { [key]: { plan: 'pro', admin: true } }, 'admin'],
  ['a key that is too short', { short: { plan: 'pro' } }, 'short'],
  ['a hash that is cut off', { 'sha256:abcdef0123456789': { plan: 'pro' } }, 'sha256: and 64'],
  ['one key twice', { [key]: { plan: 'pro' }, [`sha256:${hashApiKey(key)}`]: { plan: 'free' } }, 'twice'],
  ['a name like those of accounts', { [key]: { plan: 'pro', name: 'ten_0' } }, 'ten_0'],
  ['a date that is none', { [key]: { plan: 'pro', expires: 'tomorrow' } }, 'tomorrow'],
])('%s is not taken', async (_, content, word) => {
  writeFileSync(path, JSON.stringify(content));
  await vi.waitFor(() => expect(watching.problem() ?? '').toContain(word), { timeout: 2_000 });
  expect(find(key)?.tenant.plan).toBe('pro');
});

test('A2: the file of the first start holds the hash of its key, not the key', () => {
  const fresh = join(mkdtempSync(join(tmpdir(), 'kilnhouse-tenants-')), 'tenants.json');
  const made = createTenantsFile(fresh);
  expect(isApiKey(made ?? '')).toBe(true);
  expect(readFileSync(fresh, 'utf8')).not.toContain(made);
  expect(readFileSync(fresh, 'utf8')).toContain(hashApiKey(made ?? ''));
  expect(createTenantsFile(fresh)).toBeNull();
});

test('a change of the plans counts for the tenants of the file at once', () => {
  const pro = offers.plans['pro'];
  if (!pro) throw new Error('no plan');
  offers.replace('plans', { ...offers.plans, pro: { ...pro, concurrent: 3 } });
  expect(find(key)?.tenant.limits.concurrent).toBe(3);
});

test('a key carries a checksum: one wrong character, and it is none of ours', () => {
  const one = newApiKey();
  expect(isApiKey(one)).toBe(true);
  for (let at = 0; at < one.length; at += 1) {
    const wrong = one.slice(0, at) + (one[at] === 'x' ? 'y' : 'x') + one.slice(at + 1);
    expect(isApiKey(wrong)).toBe(false);
  }
  expect(isApiKey(one.slice(0, -1))).toBe(false);
});
