import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generate } from 'selfsigned';
import { type Config, loadConfig, writeAt } from './config.ts';
import { demandMeaning, type World } from './meaning.ts';

const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-meaning-'));
const { config } = loadConfig({ KILNHOUSE_DATA: folder });
const world: World = {
  plans: ['free', 'pro'],
  hasKeys: true,
  cardBytes: 8 * 1024 ** 3,
  ownPorts: [],
  misfit: () => null,
};
const file = join(folder, 'a-file');
const program = join(folder, 'a-program');
let taken: Server;
let port = 0;

beforeAll(async () => {
  writeFileSync(file, 'hello');
  writeFileSync(program, '#!/bin/sh\n');
  chmodSync(program, 0o755);
  mkdirSync(join(folder, 'inside'));
  for (const name of ['one', 'other']) {
    const pair = await generate([{ name: 'commonName', value: name }]);
    writeFileSync(join(folder, `${name}.pem`), pair.cert);
    writeFileSync(join(folder, `${name}.key`), pair.private);
  }
  taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  ({ port } = taken.address() as AddressInfo);
});
afterAll(() => {
  taken.close();
  rmSync(folder, { recursive: true });
});

/** What is said of some settings; null when they are fine. */
async function faultOf(
  set: Readonly<Record<string, unknown>>,
  more: Partial<World> = {},
): Promise<string | null> {
  const next = structuredClone(config) as unknown as Record<string, unknown>;
  for (const [path, value] of Object.entries(set)) writeAt(next, path.split('.'), value);
  return demandMeaning(next as unknown as Config, Object.keys(set), { ...world, ...more }).then(
    () => null,
    (error: Error) => error.message,
  );
}
const at = (name: string): string => join(folder, name);

describe('what would stop the next start is refused, with the place and what to do', () => {
  test.each([
    ['a plan that is not there', { 'accounts.plan': 'nonexistent-plan' }, 'The plans are free, pro'],
    ['a host that is none', { 'tenant.host': 'not a host!!' }, 'not an address or name of this machine'],
    ['an address of another machine', { 'tenant.host': '192.0.2.7' }, 'EADDRNOTAVAIL'],
    ['one port for both', { 'tenant.port': 3051 }, 'the port of the console already'],
    ['the other way round', { 'operator.port': 3050 }, 'the port of the tenant API already'],
    ['a certificate without its key', { 'tenant.certificateFile': file }, 'needs tenant.keyFile'],
    ['a sender that is none', { 'mail.from': 'garbage' }, 'is not a sender'],
    ['a public address that is none', { 'tenant.publicUrl': 'kiln.example' }, 'Begin it with https://'],
    ['memory that leaves nothing', { 'gpu.reserveMib': 999_999 }, 'the card has 8192 MiB'],
    ['a time zone that is none', { 'usage.timeZone': 'Berlin' }, 'Europe/Berlin'],
    ['a range that is none', { 'webhooks.allow': ['10.0.0.0/40'] }, 'holds "10.0.0.0/40"'],
    ['a folder that is not there', { 'webui.folder': '/does/not/exist' }, 'does not exist'],
    ['a file for a folder', { 'webui.folder': file }, 'is not a folder'],
    ['a folder under a file', { 'backup.folder': join(file, 'backups') }, 'is not a folder'],
    ['a path that depends on where it is started', { 'backup.folder': 'backups' }, 'not a whole path'],
    ['a program that may not be run', { 'webui.python': file }, 'may not be run'],
    ['a program that is not on the PATH', { 'tunnel.cloudflared': 'no-such-program' }, 'not on the PATH'],
  ])('%s', async (_, set, words) => {
    expect(await faultOf(set)).toContain(words);
    expect(await faultOf(set)).toMatch(/^The settings: [a-zA-Z]+\.[a-zA-Z]+ /);
  });

  test('the LAN while nobody has a key', async () => {
    expect(await faultOf({ 'tenant.host': '0.0.0.0' }, { hasKeys: false })).toContain('Make a key first');
    expect(await faultOf({ 'tenant.host': '0.0.0.0' })).toBeNull();
  });

  test('a port that another program uses, but not one of our own', async () => {
    expect(await faultOf({ 'tenant.port': port })).toContain('which another program uses');
    expect(await faultOf({ 'tenant.port': port }, { ownPorts: [port] })).toBeNull();
  });

  test('a default or a pin that could never be loaded', async () => {
    const misfit = (id: string, pinned: readonly string[]): string | null =>
      id === 'large' && pinned.includes('small') ? '"large" does not fit.' : null;
    const pins = { 'scheduler.pinned': ['small', 'large'] };
    expect(await faultOf(pins, { misfit })).toContain(
      'holds large, which could never be loaded: "large" does not fit.',
    );
    expect(await faultOf({ 'scheduler.pinned': ['small'] }, { misfit })).toBeNull();
    const chosen = { 'scheduler.pinned': ['small'], 'scheduler.defaultText': 'large' };
    expect(await faultOf(chosen, { misfit })).toContain('scheduler.defaultText is large, which cannot run');
    expect(await faultOf({ 'scheduler.defaultText': 'large' }, { misfit })).toBeNull();
  });

  test('a certificate with the key of another one', async () => {
    const set = { 'tenant.certificateFile': at('one.pem'), 'tenant.keyFile': at('other.key') };
    expect(await faultOf(set)).toContain('cannot be used together with tenant.keyFile');
    expect(await faultOf({ ...set, 'tenant.keyFile': at('one.key') })).toBeNull();
  });
});

test.each([
  [{ 'accounts.plan': 'pro' }],
  [{ 'tenant.host': '127.0.0.1', 'tenant.port': 0, 'operator.port': 0 }],
  [{ 'mail.from': 'ann@example.com' }],
  [{ 'mail.from': 'Ann <ann@localhost>' }],
  [{ 'backup.folder': at('to/be/made'), 'webui.folder': at('inside') }],
  [{ 'webui.python': program, 'tunnel.cloudflared': 'node' }],
  [{ 'usage.timeZone': 'America/New_York' }],
  [{ 'gpu.reserveMib': 512, 'webhooks.allow': ['10.0.0.0/8', '::1'] }],
  [{ 'webui.folder': null, 'tenant.publicUrl': null }],
])('%j is fine', async (set) => {
  expect(await faultOf(set)).toBeNull();
});

test('what is not changed is not looked at: a folder that went away stands in the way of nothing', async () => {
  const next = structuredClone(config);
  next.webui.folder = '/does/not/exist';
  await expect(demandMeaning(next, ['log.level'], world)).resolves.toBeUndefined();
});
