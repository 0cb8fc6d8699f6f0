import { pino } from 'pino';
import { Type } from 'typebox';
import { expect, test } from 'vitest';
import { baseApp } from './base-app.ts';

const app = await baseApp(pino({ level: 'silent' }));
app.post(
  '/strict',
  { schema: { body: Type.Object({ n: Type.Integer() }, { additionalProperties: false }) } },
  async ({ body }) => body,
);
app.post('/bare', async ({ body }) => ({ body: body ?? null }));

function send(url: string, type: string | undefined, payload: string) {
  return app.inject({
    method: 'POST',
    url,
    payload,
    headers: type === undefined ? {} : { 'content-type': type },
  });
}

test.each([
  'application/json',
  'Application/JSON',
  'application/json;charset=utf-8',
  'application/json; charset="UTF-8"',
  'application/json ; charset=utf-8',
  'application/json; odata=verbose; charset=utf-8',
])('F43: a body of the type %j is read, and checked', async (type) => {
  expect((await send('/strict', type, '{"n":1}')).statusCode).toBe(200);
  const wrong = await send('/strict', type, '{"n":"1"}');
  expect([wrong.statusCode, wrong.json().error.message]).toEqual([400, '"n" must be a whole number.']);
});

test.each([
  'application/jsonx',
  'text/plain',
  'text/json',
  'application/json/x',
  'application/x-www-form-urlencoded',
  'application',
  'json',
  ' ',
  'application/json\t; charset=utf-8, text/plain',
  'a'.repeat(5_000),
  undefined,
])('F43: a body of the type %j is refused, never let by unchecked', async (type) => {
  const { statusCode } = await send('/strict', type, '{"n":"1"}');
  expect([400, 415]).toContain(statusCode);
});

test('an empty body is one that was not sent, where none is needed', async () => {
  expect((await send('/bare', 'application/json', '')).json()).toEqual({ body: null });
  expect((await send('/strict', 'application/json', '')).json().error.message).toBe(
    'The body is empty; send a JSON object.',
  );
});
