import { verify } from '@node-rs/argon2';
import { beforeEach, expect, test, vi } from 'vitest';
import { Passwords } from './passwords.ts';

vi.mock(import('@node-rs/argon2'), async (original) => {
  const real = await original();
  return { ...real, verify: vi.fn(real.verify) };
});
const passwords = new Passwords();
beforeEach(() => {
  vi.mocked(verify).mockClear();
});

/** What a hash says of how dear it was to make: $argon2id$v=19$m=19456,t=2,p=1$... */
const costOf = (hash: unknown): string => String(hash).split('$').slice(1, 4).join(' ');

test('A6: a wrong password and a person who is not there cost one check each, and as dear a one', async () => {
  const stored = await passwords.hash('the password');
  expect(await passwords.check(stored, 'not the password')).toBe(false);
  expect(await passwords.check(null, 'not the password')).toBe(false);
  const checked = vi.mocked(verify).mock.calls.map(([hash]) => costOf(hash));
  expect(checked).toEqual([costOf(stored), costOf(stored)]);
  expect(costOf(stored)).toMatch(/^argon2id v=19 m=19456,t=2,p=1$/);
});

test('the password of the one who is not there opens nothing', async () => {
  expect(await passwords.check(null, 'nobody has this password')).toBe(false);
  expect(await passwords.check(await passwords.hash('right'), 'right')).toBe(true);
});
