import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { installSecret } from './install-secret.ts';
import { Vault } from './vault.ts';

const vault = new Vault(Buffer.alloc(32, 7));

test('what is sealed for a tenant opens for that tenant alone', () => {
  const sealed = vault.seal('a', 'a prompt');
  expect(sealed.toString('latin1')).not.toContain('a prompt');
  expect(vault.open('a', sealed).toString()).toBe('a prompt');
  expect(() => vault.open('b', sealed)).toThrow();
  expect(() => new Vault(Buffer.alloc(32, 8)).open('a', sealed)).toThrow();
  expect(vault.seal('a', 'a prompt').equals(sealed)).toBe(false);
});

test('one changed byte is noticed, wherever it is', () => {
  const sealed = vault.seal('a', 'text');
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    expect(() => vault.open('a', changed)).toThrow();
  }
});

test('A8: a secret is made once, for the owner alone, and a short one is refused', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'kilnhouse-secret-')), 'secret');
  const first = installSecret(file);
  expect(first).toHaveLength(32);
  expect(installSecret(file)).toEqual(first);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, 'utf8').trim()).toMatch(/^[0-9a-f]{64}$/);
  for (const text of ['', 'changeme', 'ff']) {
    writeFileSync(file, text);
    expect(() => installSecret(file)).toThrow('holds no secret');
  }
});
