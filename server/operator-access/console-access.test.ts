import { describe, expect, test } from 'vitest';
import { limits } from '../contract/limits.ts';
import { ConsoleAccess } from './console-access.ts';

const token = 'the-token-of-this-installation-000000000000';

describe('D8: a session of the console', () => {
  test('is opened by a link once, and by the token again and again', () => {
    const access = new ConsoleAccess(token);
    const { code } = access.newCode();
    const session = access.open(code);
    expect(access.isGood(session?.token ?? '')).toBe(true);
    expect(access.open(code)).toBeNull();
    expect(access.open(token)).not.toBeNull();
    expect(access.open(token)).not.toBeNull();
    expect(access.open('')).toBeNull();
    expect(access.open('a guess')).toBeNull();
  });

  test('ends in time, and so does a link that nobody used', () => {
    let now = 1_000;
    const access = new ConsoleAccess(token, () => now);
    const session = access.open(token)?.token ?? '';
    const { code } = access.newCode();
    now += limits.console.codeMs;
    expect(access.open(code)).toBeNull();
    now = 1_000 + limits.console.sessionMs - 1;
    expect(access.isGood(session)).toBe(true);
    now += 1;
    expect(access.isGood(session)).toBe(false);
  });

  test('holds over a restart, and not with another token', () => {
    const session = new ConsoleAccess(token).open(token)?.token ?? '';
    expect(new ConsoleAccess(token).isGood(session)).toBe(true);
    expect(new ConsoleAccess(`${token}x`).isGood(session)).toBe(false);
  });

  test('cannot be made longer', () => {
    const access = new ConsoleAccess(token);
    const session = access.open(token)?.token ?? '';
    const [, signature] = session.split('.');
    const later = (Date.now() + 10 * limits.console.sessionMs).toString(36);
    expect(access.isGood(`khs_${later}.${signature}`)).toBe(false);
    expect(access.isGood(session.slice(0, -1))).toBe(false);
    expect(access.isGood('')).toBe(false);
  });

  test('links that wait are bounded: the oldest goes', () => {
    const access = new ConsoleAccess(token);
    const codes = Array.from({ length: limits.console.codes + 1 }, () => access.newCode().code);
    expect(access.open(codes[0] ?? '')).toBeNull();
    expect(access.open(codes[1] ?? '')).not.toBeNull();
  });
});
