import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SignedLinks } from './signed-links.ts';

const links = new SignedLinks(Buffer.alloc(32, 5));
const target = { tenant: 'ten_1', object: 'job_1/art_1' };
const later = Date.now() + 60_000;
const signature = links.sign(target, later);

test('W4: a link is good as it was given out, until its time is over', () => {
  expect(links.isGood(target, String(later), signature)).toBe(true);
  const past = Date.now() - 1;
  expect(links.isGood(target, String(past), links.sign(target, past))).toBe(false);
});

test('W4: any changed byte makes it worth nothing', () => {
  fc.assert(
    fc.property(fc.nat(signature.length - 1), fc.integer({ min: 33, max: 126 }), (at, code) => {
      const changed = signature.slice(0, at) + String.fromCharCode(code) + signature.slice(at + 1);
      expect(links.isGood(target, String(later), changed)).toBe(changed === signature);
    }),
    { numRuns: 1_000 },
  );
  for (const other of [
    { ...target, tenant: 'ten_2' },
    { ...target, object: 'job_1/art_2' },
    { tenant: 'ten_1job_1/', object: 'art_1' },
  ])
    expect(links.isGood(other, String(later), signature)).toBe(false);
  expect(new SignedLinks(Buffer.alloc(32, 6)).isGood(target, String(later), signature)).toBe(false);
});

test.each([
  '',
  'never',
  '0x1',
  ' 1',
  '1e15',
  `${later}0`,
  `0${later}`,
  `+${later}`,
  `${later}.0`,
  `${later + 1}`,
  '9'.repeat(30),
])('F61: an expiry of "%s" is none', (expires) => {
  expect(links.isGood(target, expires, signature)).toBe(false);
});
