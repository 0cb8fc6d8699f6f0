import { describe, expect, test } from 'vitest';
import { AddressRefused, demandCallable, guardedLookup, mayCall } from './public-address.ts';

/** A few addresses of every range that is not the internet. */
const refused = `
  ::7f00:1 ::127.0.0.1 ::a9fe:a9fe ::a00:1 fec0::1 4000::1 64:ff9b:1::7f00:1
  127.0.0.1 127.1.2.3 127.255.255.255 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1
  100.127.255.255 169.254.169.254 169.254.0.1 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255
  192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
  255.255.255.255 :: ::1 fc00::1 fdff::1 fe80::1 febf::1 ff02::1 2001:db8::1 ::ffff:127.0.0.1
  ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:7f00:1 ::ffff:c0a8:1 64:ff9b::7f00:1 64:ff9b::a00:1
  2002:7f00:1:: 2002:a00:1::1 2001:0:7f00:1::1 100::1
`
  .trim()
  .split(/\s+/);
const allowed = [
  '1.1.1.1',
  '8.8.8.8',
  '93.184.216.34',
  '172.15.0.1',
  '172.32.0.1',
  '2606:4700::1111',
  '2a00:1450::1',
];

/** How one and the same address can be written in a URL. */
const disguises = (address: string): string[] => {
  if (address.includes(':'))
    return [`http://[${address}]/`, `https://[${address}]:8443/x`, `http://[${address.toUpperCase()}]/`];
  const parts = address.split('.').map(Number);
  const number = parts.reduce((sum, part) => sum * 256 + part, 0);
  const [a = 0, b = 0, c = 0, d = 0] = parts;
  return [
    `http://${address}/`,
    `https://${address}:8443/hook?x=1`,
    `http://${number}/`,
    `http://0x${number.toString(16)}/`,
    `http://0${number.toString(8)}/`,
    `http://0x${a.toString(16)}.${b}.${c}.${d}/`,
    `http://0${a.toString(8)}.0${b.toString(8)}.0${c.toString(8)}.0${d.toString(8)}/`,
    `http://${a}.${b}.${c * 256 + d}/`,
    `http://${a}.${b * 65_536 + c * 256 + d}/`,
    `http://${address}./`,
    `HTTP://${address}/`,
    `http:\\\\${address}\\`,
    `http:/${address}/`,
    `http://${address.replaceAll(/\d/g, (digit) => String.fromCodePoint(0xff10 + Number(digit)))}/`,
  ];
};
const corpus = refused.flatMap(disguises);

describe('W2, F58: where tenants may not have us call', () => {
  test('the corpus is three hundred at least', () => expect(corpus.length).toBeGreaterThanOrEqual(300));

  test.each(corpus)('%s', (url) => {
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
