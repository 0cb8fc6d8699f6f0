import { appendFileSync, mkdtempSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { hashApiKey } from './api-key.ts';
import { loadPlans } from './plans.ts';
import { createTenantsFile, type TenantsWatch, watchTenantsFile } from './tenants-file.ts';
import { Tenants } from './tenants.ts';

const plans = loadPlans(fileURLToPath(new URL('../../resources/defaults/plans.json', import.meta.url)));
const key = 'kh_this-is-a-key-for-tests';
const log = { info: () => undefined, error: () => undefined };
let path = '';
let tenants: Tenants;
let watching: TenantsWatch;

beforeEach(async () => {
  path = join(mkdtempSync(join(tmpdir(), 'kilnhouse-tenants-')), 'tenants.json');
  writeFileSync(path, JSON.stringify({ [key]: { name: 'acme', plan: 'pro' } }));
  tenants = new Tenants();
  watching = await watchTenantsFile(path, tenants, plans, log);
});
afterEach(() => watching.close());

test('a key works as it stands in the file, or by its hash', () => {
  expect(tenants.byKey(key)?.tenant).toMatchObject({ id: 'acme', plan: 'pro', allowNSFW: false });
  expect(tenants.byHash(hashApiKey(key))?.tenant.id).toBe('acme');
  expect(tenants.byKey('kh_another')).toBeUndefined();
});

test('A1: a key that is removed is refused within a second', async () => {
  const began = performance.now();
  writeFileSync(path, '{}');
  await vi.waitFor(() => expect(tenants.byKey(key)).toBeUndefined(), { timeout: 1_000, interval: 5 });
  expect(performance.now() - began).toBeLessThan(1_000);
});

test('a half-written file changes nothing and says so, and the whole one is taken when it comes', async () => {
  writeFileSync(path, '{"kh_a-second-key-for-tests": {"plan": "fr');
  await vi.waitFor(() => expect(watching.problem() ?? '').toContain('not complete JSON'), { timeout: 2_000 });
  expect(tenants.byKey(key)).toBeDefined();
  appendFileSync(path, 'ee"}}');
  await vi.waitFor(() => expect(tenants.byKey('kh_a-second-key-for-tests')).toBeDefined(), {
    timeout: 2_000,
  });
  expect(watching.problem()).toBeNull();
});

test('an editor that replaces the file is followed', async () => {
  writeFileSync(`${path}.tmp`, JSON.stringify({ [key]: { name: 'acme', plan: 'free' } }));
  renameSync(`${path}.tmp`, path);
  await vi.waitFor(() => expect(tenants.byKey(key)?.tenant.plan).toBe('free'), { timeout: 2_000 });
});

test.each([
  ['an unknown plan', { [key]: { plan: 'gold' } }, 'gold'],
  ['an unknown field', { [key]: { plan: 'pro', admin: true } }, 'admin'],
  ['a key that is too short', { short: { plan: 'pro' } }, 'short'],
  ['a date that is none', { [key]: { plan: 'pro', expires: 'tomorrow' } }, 'tomorrow'],
])('%s is not taken', async (_, content, word) => {
  writeFileSync(path, JSON.stringify(content));
  await vi.waitFor(() => expect(watching.problem() ?? '').toContain(word), { timeout: 2_000 });
  expect(tenants.byKey(key)?.tenant.plan).toBe('pro');
});

test('A2: the file of the first start holds the hash of its key, not the key', () => {
  const fresh = join(mkdtempSync(join(tmpdir(), 'kilnhouse-tenants-')), 'tenants.json');
  const made = createTenantsFile(fresh);
  expect(made).toMatch(/^kh_[\w-]{32}$/);
  expect(readFileSync(fresh, 'utf8')).not.toContain(made);
  expect(readFileSync(fresh, 'utf8')).toContain(hashApiKey(made ?? ''));
  expect(createTenantsFile(fresh)).toBeNull();
});
