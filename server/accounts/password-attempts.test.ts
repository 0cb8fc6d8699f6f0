import { expect, test } from 'vitest';
import { limits } from '../contract/limits.ts';
import { PasswordAttempts } from './password-attempts.ts';

const { failures, failuresAnywhere } = limits.login;
const guess = {
  email: 'ann@example.test',
  passwordHash: 'hash-of-the-first',
  address: 'home',
  isKnownAddress: false,
};

function guessFrom(attempts: PasswordAttempts, count: number): void {
  for (let i = 0; i < count; i += 1) attempts.begin({ ...guess, address: `attacker ${i}` });
}

test('S12: guesses from everywhere keep out strangers, not an address that signed in before', () => {
  const attempts = new PasswordAttempts(() => 0);
  guessFrom(attempts, failuresAnywhere);
  expect(() => attempts.begin(guess)).toThrow(/reset the password/);
  expect(() => attempts.begin({ ...guess, isKnownAddress: true })).not.toThrow();
});

test('S12: another password begins with no guesses against it', () => {
  const attempts = new PasswordAttempts(() => 0);
  guessFrom(attempts, failuresAnywhere);
  for (let i = 0; i < failures; i += 1) attempts.begin({ ...guess, isKnownAddress: true });
  expect(() => attempts.begin({ ...guess, isKnownAddress: true })).toThrow(/Too many wrong passwords/);
  expect(() => attempts.begin({ ...guess, passwordHash: 'hash-of-the-second' })).not.toThrow();
});

test('a right password is no guess', () => {
  const attempts = new PasswordAttempts(() => 0);
  for (let i = 0; i < 5 * failures; i += 1) attempts.begin(guess)();
  expect(() => attempts.begin(guess)).not.toThrow();
});

test('S10: the tenth wrong password of a session ends it', () => {
  const attempts = new PasswordAttempts(() => 0);
  const ends = Array.from({ length: failures }, () => attempts.endsSession('ses_1'));
  expect(ends.indexOf(true)).toBe(failures - 1);
});
