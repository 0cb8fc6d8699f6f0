import { describe, expect, test } from 'vitest';
import { internalTargets } from '../../tests/internal-targets.ts';
import { AddressRefused, demandCallable, guardedLookup, mayCall } from './public-address.ts';

const allowed = [
  '1.1.1.1',
  '8.8.8.8',
  '93.184.216.34',
  '172.15.0.1',
  '172.32.0.1',
  '2606:4700::1111',
  '2a00:1450::1',
];

describe('W2, F58: where tenants may not have us call', () => {
  test('the corpus is three hundred at least', () =>
    expect(internalTargets.length).toBeGreaterThanOrEqual(300));

  test.each(internalTargets)('%s', (url) => {
    expect(() => demandCallable(url, [])).toThrow(AddressRefused);
  });

  test.each([
    'file:///etc/passwd',
    'gopher://127.0.0.1/',
    'data:text/plain,x',
    'ftp://example.com/',
    'javascript:alert(1)',
    'https://user:password@example.com/',
    'https://user@example.com/',
    '//example.com/',
    'example.com',
    '',
    'https://',
    'http://[::1',
  ])('%s is no address at all', (url) => {
    expect(() => demandCallable(url, [])).toThrow(AddressRefused);
  });

  test.each(allowed)('%s is out there', (address) => {
    expect(mayCall(address, [])).toBe(true);
  });

  test('the operator may allow some, and only those', () => {
    const list = ['192.168.1.0/24', '10.0.0.5', 'fd00::/8'];
    expect(
      ['192.168.1.7', '10.0.0.5', 'fd12::1', '::ffff:192.168.1.7'].every((one) => mayCall(one, list)),
    ).toBe(true);
    expect(['192.168.2.7', '10.0.0.6', 'fe80::1', '127.0.0.1'].some((one) => mayCall(one, list))).toBe(false);
  });
});

describe('names', () => {
  const resolve = (host: string, list: string[] = [], all = false): Promise<unknown> =>
    new Promise((done, fail) =>
      guardedLookup(list)(host, { all }, (error, address) => (error ? fail(error) : done(address))),
    );
  test('that lead to ourselves are refused when they are resolved', async () => {
    await expect(resolve('localhost')).rejects.toThrow(AddressRefused);
    await expect(resolve('localhost', [], true)).rejects.toThrow(AddressRefused);
  });
  test('unless the operator allows it', async () => {
    expect(await resolve('127.0.0.1', ['127.0.0.0/8'])).toBe('127.0.0.1');
  });
});
