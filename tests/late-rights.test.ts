import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { passwordOf, type Person, TestAppliance } from './appliance.ts';

/*
 * A1, A5: rights that are lost while the body of a request is on its way. Each request sends its headers and all of its
 * body but the end; then the right is taken; then the rest is sent.
 */
let appliance: TestAppliance;
let count = 0;

beforeAll(async () => {
  appliance = await TestAppliance.start({ speed: 50 });
  await appliance.ready();
});
afterAll(() => appliance.stop());

/** A fresh company with an administrator. */
const company = (): Promise<Person> =>
  appliance.register(`late-${(count += 1)}@example.test`, { plan: 'enterprise', credits: 100 });

const chat = { model: 'demo-chat-8b', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 5 };
const job = { prompt: 'a kiln', size: '64x64', steps: 1 };
const works: [string, string, object][] = [
  ['a chat', '/v1/chat/completions', chat],
  ['a stream', '/v1/chat/completions', { ...chat, stream: true }],
  ['a picture', '/v1/images/generations', { prompt: 'a kiln', size: '64x64', steps: 1 }],
  ['a job', '/api/v1/jobs/image-generation', job],
  [
    'a batch',
    '/api/v1/jobs/batch',
    { items: Array.from({ length: 5 }, () => ({ feature: 'image-generation', input: job })) },
  ],
];

/** Sends a request, with `between` before its last two bytes. Resolves to its status. */
async function late(
  path: string,
  as: string,
  body: object,
  between: () => Promise<unknown>,
): Promise<number> {
  const text = JSON.stringify(body);
  const { hostname, port } = new URL(appliance.tenantUrl);
  const socket = connect(Number(port), hostname);
  const status = answerOf(socket);
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nauthorization: Bearer ${as}\r\nconnection: close\r\n` +
      `content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n`,
  );
  // "Continue" is said once the headers were read; whoever asks was let in in the same turn.
  await appliance.until(() => status.hasBegun());
  socket.write(text.slice(0, -2));
  await between();
  socket.write(text.slice(-2));
  return status.final;
}

function answerOf(socket: Socket): { hasBegun: () => boolean; final: Promise<number> } {
  let text = '';
  socket.setEncoding('utf8');
  const final = new Promise<number>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('data', (piece: string) => {
      text += piece;
      const found = /HTTP\/1\.1 ([2-5]\d\d)/.exec(text)?.[1];
      if (found !== undefined) {
        resolve(Number(found));
        socket.destroy();
      }
    });
  });
  return { hasBegun: () => text.includes(' 100 '), final };
}

const keyOf = async (person: Person): Promise<string> => {
  const { data } = await appliance.call('GET', '/api/v1/api-keys', { as: person.token });
  return data[0].id;
};

test.each(works)('S3: %s by a key that is revoked meanwhile is refused', async (_, path, body) => {
  const ann = await company();
  const id = await keyOf(ann);
  const revoke = () => appliance.call('DELETE', `/api/v1/api-keys/${id}`, { as: ann.token });
  expect(await late(path, ann.key, body, revoke)).toBe(401);
  const { data } = await appliance.call('GET', '/api/v1/credits/balance', { as: ann.token });
  expect(data).toMatchObject({ posted: 100, held: 0 });
});

test.each(works)('S3: %s of a company that is suspended meanwhile is refused', async (_, path, body) => {
  const ann = await company();
  const suspend = () => appliance.operator(`/api/tenants/${ann.company}`, 'PATCH', { suspended: true });
  expect(await late(path, ann.key, body, suspend)).toBe(403);
});

test('S3, A5: a session that ends meanwhile makes no key', async () => {
  const ann = await company();
  const other = await appliance.call('POST', '/api/v1/auth/login', {
    body: { email: ann.email, password: passwordOf(ann.email) },
  });
  const change = () =>
    appliance.call('POST', '/api/v1/users/password', {
      as: ann.token,
      body: { current: passwordOf(ann.email), password: 'another password of hers' },
    });
  const before = (await appliance.call('GET', '/api/v1/api-keys', { as: ann.token })).data.length;
  expect(await late('/api/v1/api-keys', other.data.token, { name: 'thief' }, change)).toBe(401);
  expect((await appliance.call('GET', '/api/v1/api-keys', { as: ann.token })).data).toHaveLength(before);
});

test.each([
  ['is made a member', { role: 'member' }, 403],
  ['is disabled', { disabled: true }, 401],
])('S3: an administrator who %s meanwhile invites nobody', async (_, change, status) => {
  const ann = await company();
  const bob = await appliance.register(`bob-${count}@example.test`, { tenant: ann.company, role: 'admin' });
  const demote = () =>
    appliance.call('PATCH', `/api/v1/company/users/${bob.id}`, { as: ann.token, body: change });
  const body = { email: `friend-${count}@example.test`, role: 'admin' };
  expect(await late('/api/v1/company/invitations', bob.token, body, demote)).toBe(status);
  const { data } = await appliance.call('GET', '/api/v1/company/invitations', { as: ann.token });
  expect(data).toEqual([]);
});

test('S16: a kept answer is given only to who may have it, and before anything is looked up', async () => {
  const ann = await company();
  const make = (name: string, more: object = {}) =>
    appliance
      .call('POST', '/api/v1/api-keys', { as: ann.token, body: { name, ...more } })
      .then(({ data }) => data.key as string);
  const ask = (as: string) =>
    appliance.call('POST', '/v1/chat/completions', { as, body: chat, headers: { 'idempotency-key': 'one' } });
  const first = await ask(ann.key);
  expect(first.status).toBe(200);
  const [same, otherModel, otherFeature] = await Promise.all([
    make('same'),
    make('model', { models: ['demo-sd15'] }),
    make('feature', { features: ['image'] }),
  ]);
  expect((await ask(same)).headers.get('idempotent-replayed')).toBe('true');
  expect((await ask(otherModel)).code).toBe('model_not_in_plan');
  expect((await ask(otherFeature)).code).toBe('feature_not_in_plan');
  const member = await appliance.register(`member-${count}@example.test`, { tenant: ann.company });
  expect((await ask(member.key)).code).toBe('idempotency_key_reused');
  // The engine is away: what was answered is answered again.
  await appliance.operator('/api/engines/lm-studio/stop', 'POST');
  expect((await ask(ann.key)).text).toBe(first.text);
});

test('12: what is refused before admission counts against the rate', async () => {
  const ann = await appliance.register(`rate-${(count += 1)}@example.test`, { plan: 'free', credits: 10 });
  const answers = [];
  for (let index = 0; index < 12; index += 1)
    answers.push(
      await appliance.call('POST', '/v1/chat/completions', {
        as: ann.key,
        body: { ...chat, model: 'none-such' },
      }),
    );
  expect(answers.map(({ status }) => status)).toEqual([...Array.from({ length: 10 }, () => 404), 429, 429]);
  expect(answers.at(-1)?.headers.get('x-ratelimit-remaining-requests')).toBe('0');
  expect(
    (await appliance.call('POST', '/v1/chat/completions', { as: ann.key, body: { nonsense: 1 } })).status,
  ).toBe(429);
});
