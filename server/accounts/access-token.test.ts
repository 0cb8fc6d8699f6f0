import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { AccessTokens } from './access-token.ts';

const secret = Buffer.alloc(32, 3);
const tokens = new AccessTokens(secret);
const claims = { user: 'usr_1', tenant: 'ten_1', role: 'admin', session: 'ses_1' } as const;
const { token: genuine } = await tokens.sign(claims);
const [head = '', body = '', signature = ''] = genuine.split('.');
const header = JSON.parse(Buffer.from(head, 'base64url').toString()) as Record<string, unknown>;
const payload = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>;
const now = Math.floor(Date.now() / 1000);

const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A token with a signature that is right for the key and algorithm given. */
function forged(
  headers: unknown,
  claimed: unknown,
  key: Uint8Array | string = secret,
  hash: 'sha256' | 'sha384' | 'sha512' = 'sha256',
): string {
  const text = `${encode(headers)}.${encode(claimed)}`;
  return `${text}.${createHmac(hash, key).update(text).digest('base64url')}`;
}

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
function rsaSigned(headers: unknown): string {
  const text = `${encode(headers)}.${body}`;
  return `${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`;
}

const without = (object: Record<string, unknown>, name: string): object =>
  Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));

const corpus: [string, string][] = [
  // Algorithms.
  ...[
    'none',
    'None',
    'NONE',
    'nOnE',
    '',
    'HS256 ',
    'hs256',
    'Hs256',
    'HS1',
    'RS256',
    'ES256',
    'PS256',
    'EdDSA',
    'dir',
    'A256KW',
  ].flatMap((alg): [string, string][] => [
    [`alg ${alg} with our signature`, forged({ ...header, alg }, payload)],
    [`alg ${alg} without one`, `${encode({ ...header, alg })}.${body}.`],
  ]),
  ['alg missing', forged(without(header, 'alg'), payload)],
  ['alg a list', forged({ ...header, alg: ['HS256'] }, payload)],
  ['alg null', forged({ ...header, alg: null }, payload)],
  ['HS384, rightly signed', forged({ ...header, alg: 'HS384' }, payload, secret, 'sha384')],
  ['HS512, rightly signed', forged({ ...header, alg: 'HS512' }, payload, secret, 'sha512')],
  ['RS256 with a key of the forger', rsaSigned({ ...header, alg: 'RS256' })],
  ['HS256 signed with a public key', forged(header, payload, pem)],
  ['a key in the header', forged({ ...header, jwk: { kty: 'oct', k: encode('x') } }, payload, 'x')],
  ['an address of keys', forged({ ...header, jku: 'https://evil.test/keys' }, payload, 'x')],
  ['a certificate in the header', forged({ ...header, x5c: ['MII'] }, payload, 'x')],
  // Keys.
  ['an empty key', forged(header, payload, '')],
  ['a key of a space', forged(header, payload, ' ')],
  ['a guessed key', forged(header, payload, 'secret')],
  ['a key of zeros', forged(header, payload, Buffer.alloc(32))],
  ['our key as text', forged(header, payload, secret.toString('hex'))],
  ['our key with a line end', forged(header, payload, Buffer.concat([secret, Buffer.from('\n')]))],
  // Key ids.
  ['kid missing', forged(without(header, 'kid'), payload)],
  ['kid of another installation', forged({ ...header, kid: '0'.repeat(16) }, payload)],
  ['kid a path', forged({ ...header, kid: '../../../../dev/null' }, payload, '')],
  ['kid SQL', forged({ ...header, kid: "x' union select 'secret' --" }, payload, 'secret')],
  ['kid empty', forged({ ...header, kid: '' }, payload)],
  ['kid a number', forged({ ...header, kid: 1 }, payload)],
  // Types and extensions.
  ['typ missing', forged(without(header, 'typ'), payload)],
  ['typ JWT', forged({ ...header, typ: 'JWT' }, payload)],
  ['typ of a refresh token', forged({ ...header, typ: 'rt+jwt' }, payload)],
  ['crit unknown', forged({ ...header, crit: ['exp'] }, payload)],
  ['crit of something', forged({ ...header, crit: ['x-admin'], 'x-admin': true }, payload)],
  ['crit empty', forged({ ...header, crit: [] }, payload)],
  ['b64 false', forged({ ...header, b64: false, crit: ['b64'] }, payload)],
  // Claims.
  ['expired', forged(header, { ...payload, exp: now - 1 })],
  ['exp missing', forged(header, without(payload, 'exp'))],
  ['exp a text', forged(header, { ...payload, exp: String(now + 900) })],
  ['exp null', forged(header, { ...payload, exp: null })],
  ['exp nought', forged(header, { ...payload, exp: 0 })],
  ['exp negative', forged(header, { ...payload, exp: -1 })],
  ['not yet', forged(header, { ...payload, nbf: now + 900 })],
  ['iss of another', forged(header, { ...payload, iss: 'evil' })],
  ['iss missing', forged(header, without(payload, 'iss'))],
  ['iss a list', forged(header, { ...payload, iss: ['kilnhouse'] })],
  ['aud of another', forged(header, { ...payload, aud: 'operator' })],
  ['aud missing', forged(header, without(payload, 'aud'))],
  ['sid missing', forged(header, without(payload, 'sid'))],
  ['sid a number', forged(header, { ...payload, sid: 1 })],
  ['sid an object', forged(header, { ...payload, sid: { $ne: null } })],
  ['sub missing', forged(header, without(payload, 'sub'))],
  ['iat missing', forged(header, without(payload, 'iat'))],
  // Shapes.
  ['claims changed', `${head}.${encode({ ...payload, sid: 'ses_2' })}.${signature}`],
  ['signature cut', genuine.slice(0, -1)],
  ['signature of another', `${head}.${body}.${encode('x'.repeat(32))}`],
  ['signature missing', `${head}.${body}.`],
  ['two parts', `${head}.${body}`],
  ['four parts', `${genuine}.${signature}`],
  ['five parts, encrypted', `${encode({ alg: 'dir', enc: 'A256GCM' })}....`],
  ['a space before', ` ${genuine}`],
  ['a line end after', `${genuine}\n`],
  ['padding', `${head}==.${body}.${signature}`],
  ['not base64', `${head}.${body}.%%%`],
  ['no JSON', forged('not json', payload)],
  ['claims no JSON', forged(header, 'not json')],
  ['claims a list', forged(header, [payload])],
  ['claims null', forged(header, null)],
  ['header a list', forged([header], payload)],
  ['JSON serialisation', JSON.stringify({ payload: body, signatures: [{ protected: head, signature }] })],
  ['nothing', ''],
  ['dots', '..'],
  ['of another installation', (await new AccessTokens(Buffer.alloc(32, 4)).sign(claims)).token],
];

describe('A4, F51: forged tokens', () => {
  test('there are sixty at least, and the genuine one is good', async () => {
    expect(corpus.length).toBeGreaterThanOrEqual(60);
    expect(new Set(corpus.map(([, token]) => token)).size).toBeGreaterThan(corpus.length - 3);
    expect(await tokens.sessionOf(genuine)).toBe('ses_1');
    // The forger's tools are good: only what each entry changes is why it is refused.
    expect(await tokens.sessionOf(forged(header, payload))).toBe('ses_1');
  });

  test.each(corpus)('%s', async (_, token) => {
    expect(await tokens.sessionOf(token)).toBeNull();
  });
});

test('A8: a short secret makes no tokens', () => {
  expect(() => new AccessTokens(Buffer.alloc(31))).toThrow('256 bits');
  expect(() => new AccessTokens(Buffer.alloc(0))).toThrow('256 bits');
});

test('a token says who it is for, and nothing secret', () => {
  expect(payload).toMatchObject({ sub: 'usr_1', company: 'ten_1', role: 'admin', sid: 'ses_1' });
  expect(Number(payload['exp']) - now).toBeLessThanOrEqual(15 * 60);
});
