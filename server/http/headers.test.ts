import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bearerOf, credentialsOf } from './credentials.ts';
import { preferenceOf } from './preferences.ts';

test.each<[string | undefined, string | null]>([
  ['Bearer k', 'k'],
  ['bearer k', 'k'],
  ['BEARER   k ', 'k'],
  ['Bearer\tk', 'k'],
  ['Bearer', null],
  ['Bearer ', null],
  ['Bearerk', null],
  ['Basic abc', null],
  [undefined, null],
])('Authorization: %j is the credential %j', (authorization, credential) => {
  expect(bearerOf({ authorization })).toBe(credential);
});

test('credentials of several headers are all tried, Authorization first', () => {
  expect(credentialsOf({ authorization: 'Bearer a', 'x-api-key': 'b', 'api-key': 'c' })).toEqual([
    'a',
    'b',
    'c',
  ]);
  expect(credentialsOf({ authorization: 'Basic x', 'x-api-key': 'b' })).toEqual(['b']);
  expect(credentialsOf({ 'x-api-key': '' })).toEqual([]);
});

test.each<[string | string[] | undefined, string | null]>([
  ['wait=10', '10'],
  ['respond-async, wait=10', '10'],
  ['Wait = "10"', '10'],
  ['wait=10; priority=5', '10'],
  [['respond-async', 'wait=10'], '10'],
  ['wait=5, wait=9', '5'],
  ['x-wait=10', null],
  ['foo="a, wait=10"', null],
  ['foo; wait=10', null],
  ['wait', ''],
  ['', null],
  [undefined, null],
])('RFC 7240: the preference "wait" of Prefer: %j is %j', (header, value) => {
  expect(preferenceOf(header, 'wait')).toBe(value);
});

test('no header takes long or throws', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      preferenceOf(text, 'wait');
      bearerOf({ authorization: text });
    }),
  );
  for (const text of [
    '"'.repeat(16_000),
    'wait='.repeat(4_000),
    `wait${' '.repeat(16_000)}`,
    '\\"'.repeat(8_000),
  ])
    expect(preferenceOf(text, 'other')).toBeNull();
});
