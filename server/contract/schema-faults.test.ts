import { readdirSync } from 'node:fs';
import { Ajv } from 'ajv';
import { Type, type TSchema } from 'typebox';
import { expect, test } from 'vitest';
import { Config } from '../config/config.ts';
import { InvalidValue, parseChecked } from '../config/checked.ts';
import { Name } from './accounts.ts';
import { CheckoutBody } from './money.ts';
import { schemaFault } from './schema-faults.ts';

const ajv = new Ajv({ strict: false, verbose: true });

function faultOf(schema: TSchema, value: unknown): string | null {
  const validate = ajv.compile(schema);
  if (validate(value)) return null;
  const { place, says } = schemaFault(validate.errors ?? []);
  return `${place}: ${says}`;
}

test.each<[TSchema, unknown, string]>([
  [Type.Object({}), [], ': must be a JSON object'],
  [Type.Integer({ minimum: 1 }), 0.5, ': must be a whole number of at least 1'],
  [Type.Number({ maximum: 5 }), 'x', ': must be a number of at most 5'],
  [Type.Boolean(), 'yes', ': must be true or false'],
  [Type.Array(Type.Integer()), 1, ': must be a list of whole numbers'],
  [Type.Array(Type.String(), { minItems: 2 }), ['a'], ': must hold at least 2 entries'],
  [Type.String({ minLength: 10 }), 'short', ': must have at least 10 characters'],
  [Type.Union([Type.Literal('a'), Type.Literal('b'), Type.Null()]), 'c', ': must be one of "a", "b" or null'],
  [
    Type.Object({ 'a/b': Type.Object({ '~': Type.String() }) }),
    { 'a/b': { '~': 1 } },
    'a/b.~: must be a string',
  ],
  [Name, 'a\nb', ': must be one line of visible text'],
  [CheckoutBody, { plan: 'pro', extra: 1 }, 'extra: is not known here'],
  [
    CheckoutBody,
    { plan: 'a', package: 'b' },
    ': must be a JSON object with "package" or a JSON object with "plan"',
  ],
  [CheckoutBody, {}, ': must be a JSON object with "package" or a JSON object with "plan"'],
])('%# a person can read it: %j', (schema, value, sentence) => {
  expect(faultOf(schema, value)).toBe(sentence);
});

test('D21: names of people as they are written; nothing that cannot be seen makes two names look the same', () => {
  for (const name of ['👩‍👩‍👧‍👦 family', 'می‌خواهم', 'क्‍ष', '❤️‍🔥', '🏴󠁧󠁢󠁥󠁮󠁧󠁿', 'O’Brien', 'Łódź'])
    expect(faultOf(Name, name), name).toBeNull();
  const hidden = [
    'a\u200db',
    '\u200d',
    '\u200c\u200c',
    'می\u200c\u200cخ',
    'a\u202eb',
    'a\u0000',
    'x\u{e0067}',
    '\ufeffx',
    '  ',
  ];
  for (const name of hidden) expect(faultOf(Name, name), JSON.stringify(name)).not.toBeNull();
});

test('a wrong setting is told as every other fault is', () => {
  const told = (text: string): string => {
    try {
      parseChecked(Config, text, 'config.json');
      return '';
    } catch (error) {
      return error instanceof InvalidValue ? error.message : String(error);
    }
  };
  expect(told('{"tenant":{"port":70000}}')).toBe(
    'config.json: tenant.port must be a whole number from 0 to 65535.',
  );
  expect(told('{"tunnel":{"address":"http://x"}}')).toBe(
    'config.json: tunnel.address must be an address that begins with https://.',
  );
  expect(told('{"tenant":{"prot":1}}')).toBe('config.json: tenant.prot is not known here.');
});

test('every text with a pattern says for people what it must look like', async () => {
  const unsaid: string[] = [];
  const look = (schema: unknown, place: string): void => {
    if (typeof schema !== 'object' || schema === null) return;
    if ('pattern' in schema && typeof schema.pattern === 'string' && !('x-form' in schema))
      unsaid.push(place);
    for (const [name, inner] of Object.entries(schema)) look(inner, `${place}.${name}`);
  };
  look(Config, 'config');
  const names = readdirSync(import.meta.dirname).flatMap((file) => /^([a-z-]+)\.ts$/.exec(file)?.[1] ?? []);
  expect(names.length).toBeGreaterThan(10);
  for (const name of names) look({ ...((await import(`../contract/${name}.ts`)) as object) }, name);
  expect(unsaid).toEqual([]);
});
