import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Answer, passwordOf, type Person, TestAppliance } from './appliance.ts';
import { MailServer } from './mail-server.ts';

/* People and companies, over the wire, against the whole appliance. No engine is needed for this. */
const withoutEngines = {
  KILNHOUSE_DEMO: '0',
  KILNHOUSE_LM_STUDIO_ENABLED: 'false',
  KILNHOUSE_WEBUI_ENABLED: 'false',
};
const password = 'correct horse battery';
let appliance: TestAppliance;
let count = 0;
const newEmail = (): string => `person-${(count += 1)}@example.test`;
const auth = (path: string, body: object, headers = {}): Promise<Answer> =>
  appliance.call('POST', `/api/v1/auth/${path}`, { body, headers });

/** The token in the last message to somebody. */
async function mailed(email: string, to = appliance): Promise<string> {
  let token = '';
  await to.until(async () => {
    const { items } = await to.operator('/api/outbox?limit=100');
    const message = items.find(({ recipient }: { recipient: string }) => recipient === email);
    token = /^[\w-]{43}$/m.exec(message?.body ?? '')?.[0] ?? '';
    return token !== '';
  });
  return token;
}

beforeAll(async () => {
  appliance = await TestAppliance.start({
    config: { accounts: { registration: 'open', welcomeCredits: 25, callsPerAddress: 10_000 } },
    env: withoutEngines,
  });
});
afterAll(() => appliance.stop());

/** Registers freely. */
async function enrol(email = newEmail(), more: object = {}): Promise<Person> {
  const { status, data, text } = await auth('register', {
    email,
    password: passwordOf(email),
    name: 'Ann',
    ...more,
  });
  expect(status, text).toBe(201);
  return { ...data.user, token: data.token, refreshToken: data.refreshToken, key: data.apiKey };
}
const login = (email: string, with_ = passwordOf(email)): Promise<Answer> =>
  auth('login', { email, password: with_ });

/** Signs in from another address of this machine; the status. */
function loginFrom(localAddress: string, email: string, with_: string): Promise<number> {
  const { hostname, port } = new URL(appliance.tenantUrl);
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    request(
      { hostname, port, localAddress, path: '/api/v1/auth/login', method: 'POST', headers },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    )
      .on('error', reject)
      .end(JSON.stringify({ email, password: with_ }));
  });
}

describe('registration', () => {
  test('answers with a token, the user and the first key; credits to begin with are there', async () => {
    const ann = await enrol(newEmail(), { company: 'Acme' });
    expect(ann).toMatchObject({ role: 'admin' });
    for (const as of [ann.token, ann.key]) {
      expect((await appliance.call('GET', '/api/v1/credits/balance', { as })).data).toEqual({
        metered: true,
        posted: 25,
        held: 0,
        available: 25,
      });
    }
    expect((await appliance.call('GET', '/api/v1/company', { as: ann.token })).data).toMatchObject({
      name: 'Acme',
      plan: 'free',
    });
  });

  test.each<[string, object, string | null]>([
    ['no e-mail address', { email: 'nobody' }, 'email'],
    ['an address with a line end', { email: 'a@b.test\r\nbcc: x@y.test' }, 'email'],
    ['a short password', { password: 'short' }, 'password'],
    ['a password of ten thousand characters', { password: 'x'.repeat(10_000) }, 'password'],
    ['a name of nothing', { name: ' ' }, 'name'],
    ['F41: a name that turns the line around', { name: 'Ann\u202egnp.exe' }, 'name'],
    ['F42: a name with a line end', { name: 'Ann\nadmin' }, 'name'],
    ['T3: a role', { role: 'admin' }, 'role'],
    ['T3: a tenant', { tenant: 'ten_1' }, 'tenant'],
    ['T3: credits', { credits: 1_000_000 }, 'credits'],
    ['T3: a plan', { plan: 'enterprise' }, 'plan'],
    ['an invitation that is none', { invitation: 'x'.repeat(43) }, 'invitation'],
  ])('%s is refused with its place', async (_, change, param) => {
    const form = { email: newEmail(), password, name: 'Ann', ...change };
    const { status, json } = await auth('register', form);
    expect([status, json.errors[0].param]).toEqual([400, param]);
  });

  test('F41: twins of an address are one', async () => {
    const ann = await enrol();
    const twin = ann.email.toUpperCase().replace('P', '\uff30');
    expect((await auth('register', { email: ` ${twin} `, password, name: 'Ann' })).status).toBe(409);
    expect((await login(` ${twin}`, passwordOf(ann.email))).status).toBe(200);
  });

  test('two at once with one address: one is in, one is told', async () => {
    const email = newEmail();
    const both = await Promise.all([1, 2].map(() => auth('register', { email, password, name: 'Ann' })));
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409]);
  });
});

describe('sessions', () => {
  test('a token is refreshed, the old refresh token is spent, and logging out ends it all', async () => {
    const ann = await enrol();
    const next = await auth('refresh', { refreshToken: ann.refreshToken });
    expect(next.status).toBe(200);
    expect(next.data.user.id).toBe(ann.id);
    const as = next.data.token as string;
    expect((await appliance.call('POST', '/api/v1/auth/logout', { as })).status).toBe(200);
    for (const token of [as, ann.token]) {
      const { status, code } = await appliance.call('GET', '/api/v1/users/profile', { as: token });
      expect([status, code]).toEqual([401, 'invalid_session']);
    }
    expect((await auth('refresh', { refreshToken: next.data.refreshToken })).status).toBe(401);
  });

  test('A5: another password ends every other session at once', async () => {
    const ann = await enrol();
    const elsewhere = (await login(ann.email)).data;
    const body = { current: passwordOf(ann.email), password };
    expect((await appliance.call('POST', '/api/v1/users/password', { as: ann.token, body })).status).toBe(
      200,
    );
    expect((await appliance.call('GET', '/api/v1/users/profile', { as: ann.token })).status).toBe(200);
    expect((await appliance.call('GET', '/api/v1/users/profile', { as: elsewhere.token })).status).toBe(401);
    expect((await auth('refresh', { refreshToken: elsewhere.refreshToken })).status).toBe(401);
    expect((await login(ann.email)).status).toBe(401);
    expect((await login(ann.email, password)).status).toBe(200);
  });

  test('A5: somebody who is disabled is out at once, and so are the keys', async () => {
    const ann = await enrol();
    await appliance.operator('/api/tenants/' + ann.company, 'PATCH', { plan: 'pro' });
    const bob = await appliance.register(newEmail(), { tenant: ann.company });
    const path = `/api/v1/company/users/${bob.id}`;
    expect((await appliance.call('PATCH', path, { as: ann.token, body: { disabled: true } })).status).toBe(
      200,
    );
    for (const as of [bob.token, bob.key])
      expect((await appliance.call('GET', '/api/v1/credits/balance', { as })).status).toBe(401);
    expect((await login(bob.email)).status).toBe(401);
    await appliance.call('PATCH', path, { as: ann.token, body: { disabled: false } });
    expect((await appliance.call('GET', '/api/v1/credits/balance', { as: bob.key })).status).toBe(200);
    expect((await appliance.call('GET', '/api/v1/credits/balance', { as: bob.token })).status).toBe(401);
  });

  test('one of several sessions can be seen and ended', async () => {
    const ann = await enrol();
    await login(ann.email);
    const { data } = await appliance.call('GET', '/api/v1/users/sessions', { as: ann.token });
    expect(data).toHaveLength(2);
    const other = data.find(({ current }: { current: boolean }) => !current);
    await appliance.call('DELETE', `/api/v1/users/sessions/${other.id}`, { as: ann.token });
    expect((await appliance.call('GET', '/api/v1/users/sessions', { as: ann.token })).data).toHaveLength(1);
  });

  test('pages get cookies that no script reads and no other site can use (F55)', async () => {
    const ann = await enrol();
    const { headers, data } = await auth('login', {
      email: ann.email,
      password: passwordOf(ann.email),
      mode: 'cookie',
    });
    expect([data.token, data.refreshToken]).toEqual([null, null]);
    const set = headers.getSetCookie();
    expect(set).toHaveLength(2);
    for (const one of set) expect(one).toMatch(/HttpOnly.*SameSite=Strict/i);
    const cookie = set.map((one) => one.split(';')[0]).join('; ');
    const rename = (origin?: string): Promise<Answer> =>
      appliance.call('PATCH', '/api/v1/users/profile', {
        body: { name: 'Anna' },
        headers: { cookie, ...(origin !== undefined && { origin }) },
      });
    expect((await appliance.call('GET', '/api/v1/users/profile', { headers: { cookie } })).status).toBe(200);
    expect((await rename(appliance.tenantUrl)).status).toBe(200);
    expect((await rename()).status).toBe(403);
    expect((await rename('https://evil.test')).status).toBe(403);
    expect((await rename('null')).status).toBe(403);
    const refresh = (origin: string): Promise<Answer> => auth('refresh', {}, { cookie, origin });
    expect((await refresh('https://evil.test')).status).toBe(403);
    expect((await refresh(appliance.tenantUrl)).data.token).toBeNull();
  });
});

describe('A6: signing in', () => {
  // That it takes as long is counted in server/accounts/passwords.test.ts.
  test('a wrong password and a person who is not there get the same answer', async () => {
    const ann = await enrol();
    const answers = await Promise.all(
      [ann.email, newEmail()].map((email) => login(email, 'not the password')),
    );
    expect(answers.map(({ status }) => status)).toEqual([401, 401]);
    const [wrong, nobody] = answers.map(({ json }) => ({ ...json, request_id: '' }));
    expect(nobody).toEqual(wrong);
  });

  test('guessing is stopped, also many at once; the right password from elsewhere is another matter', async () => {
    const ann = await enrol();
    const tries = await Promise.all(Array.from({ length: 20 }, () => login(ann.email, 'not the password')));
    expect(tries.filter(({ status }) => status === 401)).toHaveLength(10);
    const refused = tries.find(({ status }) => status === 429);
    expect(refused?.code).toBe('too_many_attempts');
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await login(ann.email)).status).toBe(429);
    expect((await login((await enrol()).email)).status).toBe(200);
  });

  test('S10: who has a session may guess the password as little, and loses the session', async () => {
    const ann = await enrol();
    const guess = (method: string, path: string, body: object) =>
      appliance.call(method, path, { as: ann.token, body });
    const wrong = 'not the password';
    const answers: Answer[] = [];
    for (let i = 0; i < 4; i += 1) {
      answers.push(
        await guess('POST', '/api/v1/users/password', { current: wrong, password }),
        await guess('DELETE', '/api/v1/account', { password: wrong }),
        await guess('DELETE', '/api/v1/company', { password: wrong }),
      );
    }
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 401));
    expect(answers.slice(0, 9).every(({ code }) => code === 'invalid_credentials')).toBe(true);
    expect(answers.slice(9).every(({ code }) => code === 'invalid_session')).toBe(true);
    expect((await auth('refresh', { refreshToken: ann.refreshToken })).status).toBe(401);
    // They count as those of the sign-in do.
    expect((await login(ann.email)).status).toBe(429);
  });

  test('S12: an account that strangers guess at opens for its owner, and by a reset for everybody', async () => {
    const ann = await enrol();
    for (let start = 1; start <= 100; start += 20) {
      await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          loginFrom(`127.0.1.${start + i}`, ann.email, 'not the password'),
        ),
      );
    }
    // From where the account was made, from elsewhere, and from elsewhere after a reset.
    expect((await login(ann.email)).status).toBe(200);
    expect(await loginFrom('127.0.2.1', ann.email, passwordOf(ann.email))).toBe(429);
    await auth('forgot-password', { email: ann.email });
    const token = await mailed(ann.email);
    expect((await auth('reset-password', { token, password })).status).toBe(200);
    expect(await loginFrom('127.0.2.1', ann.email, password)).toBe(200);
  });

  test('a flood of sign-ins does not hold others up', async () => {
    const ann = await enrol();
    const flood = Array.from({ length: 60 }, () => login(newEmail(), 'not the password'));
    let over = 0;
    for (const one of flood) one.finally(() => (over += 1)).catch(() => undefined);
    for (let i = 0; i < 10; i += 1)
      expect((await appliance.call('GET', '/api/v1/credits/balance', { as: ann.key })).status).toBe(200);
    // The flood takes well over a second of both cores; one who only asks for a balance waits for none of it.
    expect(over, 'sign-ins answered before ten balances were').toBeLessThan(flood.length);
    const answered = await Promise.all(flood);
    expect(answered.every(({ status }) => status === 401 || status === 429)).toBe(true);
  });
});

test('A7: one address has a hundred calls, whatever it writes into its headers', async () => {
  const other = await TestAppliance.start({ env: withoutEngines });
  const answers = await Promise.all(
    Array.from({ length: 110 }, (_, i) =>
      other.call('POST', '/api/v1/auth/forgot-password', {
        body: { email: newEmail() },
        headers: {
          'x-forwarded-for': `192.0.2.${i}`,
          'cf-connecting-ip': `192.0.2.${i}`,
          forwarded: `for=192.0.2.${i}`,
        },
      }),
    ),
  );
  expect(answers.filter(({ status }) => status === 202)).toHaveLength(100);
  for (const path of [
    '/api/v1/auth/forgot-password/',
    '/API/v1/auth/forgot-password',
    '//api/v1/auth/forgot-password',
  ])
    // No route, or the same one with the same count.
    expect([404, 429], path).toContain(
      (await other.call('POST', path, { body: { email: newEmail() } })).status,
    );
  await other.stop();
});

test('S16: an invitation does not tell whether its address has an account, and withdrawing one takes no other mail', async () => {
  const [ann, bob] = [await enrol(newEmail(), { company: 'Acme' }), await enrol()];
  const invite = (email: string) =>
    appliance.call('POST', '/api/v1/company/invitations', { as: ann.token, body: { email } });
  const known = await invite(bob.email);
  const unknown = await invite(newEmail());
  expect([known.status, unknown.status]).toEqual([201, 201]);
  expect(Object.keys(known.data)).toEqual(Object.keys(unknown.data));
  expect((await invite(ann.email)).status).toBe(409);
  // Bob has lost his password meanwhile.
  await auth('forgot-password', { email: bob.email });
  const token = await mailed(bob.email);
  const path = `/api/v1/company/invitations/${known.data.id}`;
  expect((await appliance.call('DELETE', path, { as: ann.token })).status).toBe(200);
  expect(await mailed(bob.email)).toBe(token);
});

describe('a lost password', () => {
  test('nobody is told who has an account; the token is good once, and every session ends', async () => {
    const ann = await enrol();
    const [known, unknown] = [
      await auth('forgot-password', { email: ann.email }),
      await auth('forgot-password', { email: newEmail() }),
    ];
    expect(known.json).toEqual(unknown.json);
    expect([known.status, unknown.status]).toEqual([202, 202]);
    const token = await mailed(ann.email);
    expect((await auth('reset-password', { token, password })).status).toBe(200);
    expect((await auth('reset-password', { token, password: 'another password' })).status).toBe(400);
    expect((await appliance.call('GET', '/api/v1/users/profile', { as: ann.token })).status).toBe(401);
    expect((await login(ann.email, password)).status).toBe(200);
  });

  test('no mailbox is flooded', async () => {
    const ann = await enrol();
    for (let i = 0; i < 8; i += 1) await auth('forgot-password', { email: ann.email });
    // Written before the answer to a later call from the same connection pool: the last one is waited for.
    await enrol();
    const { items } = await appliance.operator('/api/outbox?limit=100');
    const sent = items.filter(({ recipient }: { recipient: string }) => recipient === ann.email);
    expect(sent).toHaveLength(5);
  });

  test('a second message makes the first one worthless', async () => {
    const ann = await enrol();
    await auth('forgot-password', { email: ann.email });
    const first = await mailed(ann.email);
    await auth('forgot-password', { email: ann.email });
    await vi.waitFor(async () => expect(await mailed(ann.email)).not.toBe(first));
    expect((await auth('reset-password', { token: first, password })).status).toBe(400);
    expect((await auth('reset-password', { token: await mailed(ann.email), password })).status).toBe(200);
  });
});

describe('a company', () => {
  test('invites, gives roles, restricts and removes; the last administrator stays', async () => {
    const ann = await enrol();
    const email = newEmail();
    const as = ann.token;
    const invited = await appliance.call('POST', '/api/v1/company/invitations', { as, body: { email } });
    expect(invited.status).toBe(201);
    expect(invited.text).not.toContain(await mailed(email));
    const invitation = await mailed(email);
    // For somebody else it is worthless.
    const stolen = await auth('register', { email: newEmail(), password, name: 'Eve', invitation });
    expect(stolen.status).toBe(400);
    const bob = await enrol(email, { invitation });
    expect(bob).toMatchObject({ company: ann.company, role: 'member' });
    expect((await auth('register', { email: newEmail(), password, name: 'Eve', invitation })).status).toBe(
      400,
    );

    // A member does not administer.
    for (const [method, path] of [
      ['GET', '/api/v1/company/users'],
      ['POST', '/api/v1/company/invitations'],
      ['DELETE', `/api/v1/company/users/${ann.id}`],
      ['PATCH', '/api/v1/company'],
      ['GET', '/api/v1/company/export'],
    ] as const) {
      const body = method === 'GET' || method === 'DELETE' ? undefined : { email: newEmail(), name: 'x' };
      expect((await appliance.call(method, path, { as: bob.token, body })).status, path).toBe(403);
    }
    const person = (id: string, body: object): Promise<Answer> =>
      appliance.call('PATCH', `/api/v1/company/users/${id}`, { as, body });
    expect((await person(ann.id, { role: 'member' })).code).toBe('conflict');
    expect((await person(ann.id, { disabled: true })).code).toBe('conflict');
    expect((await person(bob.id, { role: 'admin' })).data.role).toBe('admin');
    expect((await person(ann.id, { role: 'member' })).data.role).toBe('member');
    expect((await appliance.call('GET', '/api/v1/company/users', { as })).status).toBe(403);
    expect(
      (await appliance.call('DELETE', `/api/v1/company/users/${ann.id}`, { as: bob.token })).status,
    ).toBe(200);
    expect((await appliance.call('GET', '/api/v1/credits/balance', { as: ann.key })).status).toBe(401);
  });

  test('an invitation that is withdrawn is worthless', async () => {
    const ann = await enrol();
    const email = newEmail();
    const as = ann.token;
    const { data } = await appliance.call('POST', '/api/v1/company/invitations', { as, body: { email } });
    const invitation = await mailed(email);
    await appliance.call('DELETE', `/api/v1/company/invitations/${data.id}`, { as });
    expect((await auth('register', { email, password, name: 'Bob', invitation })).status).toBe(400);
    expect((await appliance.call('GET', '/api/v1/company/invitations', { as })).data).toEqual([]);
  });
});

describe('keys', () => {
  const make = (as: string, body: object = { name: 'k' }): Promise<Answer> =>
    appliance.call('POST', '/api/v1/api-keys', { as, body });
  const list = async (as: string) => (await appliance.call('GET', '/api/v1/api-keys', { as })).data;

  test('shown once; listed without it; revoked means refused', async () => {
    const ann = await enrol();
    const { data, headers } = await make(ann.token, { name: 'ci', models: ['demo-*'] });
    expect(headers.get('cache-control')).toBe('no-store');
    expect(data.key.startsWith(data.prefix) && data.key.endsWith(data.lastFour)).toBe(true);
    const listed = await list(ann.token);
    expect(listed.map(({ name }: { name: string }) => name)).toEqual(['ci', 'First key']);
    expect(JSON.stringify(listed)).not.toContain(data.key);
    expect((await appliance.call('GET', '/api/v1/credits/balance', { as: data.key })).status).toBe(200);
    await vi.waitFor(async () => expect((await list(ann.token))[0].lastUsedAt).not.toBeNull());
    await appliance.call('DELETE', `/api/v1/api-keys/${data.id}`, { as: ann.token });
    expect((await appliance.call('GET', '/api/v1/credits/balance', { as: data.key })).status).toBe(401);
  });

  test('A1: of many that are revoked while they are used, none is accepted after the answer', async () => {
    const ann = await enrol();
    await appliance.operator(`/api/tenants/${ann.company}`, 'PATCH', { plan: 'enterprise' });
    for (let round = 0; round < 20; round += 1) {
      const { data } = await make(ann.token);
      let isRevoked = false;
      const uses = Array.from({ length: 8 }, async () => {
        let late = 0;
        for (let n = 0; n < 6; n += 1) {
          const begunLate = isRevoked;
          const { status } = await appliance.call('GET', '/api/v1/credits/balance', { as: data.key });
          if (begunLate && status === 200) late += 1;
        }
        return late;
      });
      await appliance.call('DELETE', `/api/v1/api-keys/${data.id}`, { as: ann.token });
      isRevoked = true;
      expect(await Promise.all(uses)).toEqual(Array.from({ length: 8 }, () => 0));
    }
  });

  test('rotation: both work during the grace', async () => {
    const ann = await enrol();
    const old = (await make(ann.token)).data;
    const rotate = (graceSeconds: number): Promise<Answer> =>
      appliance.call('POST', `/api/v1/api-keys/${old.id}/rotate`, { as: ann.token, body: { graceSeconds } });
    const next = (await rotate(60)).data;
    for (const as of [old.key, next.key])
      expect((await appliance.call('GET', '/api/v1/credits/balance', { as })).status).toBe(200);
    expect((await rotate(60)).code).toBe('conflict');
  });

  test('L9: the same Idempotency-Key makes one key, and it is not shown again', async () => {
    const ann = await enrol();
    const headers = { 'idempotency-key': 'make-one' };
    const once = (): Promise<Answer> =>
      appliance.call('POST', '/api/v1/api-keys', { as: ann.token, body: { name: 'once' }, headers });
    expect((await once()).status).toBe(201);
    expect((await once()).status).toBe(409);
    expect(await list(ann.token)).toHaveLength(2);
  });

  test('a key cannot make keys or people; that is for people', async () => {
    const ann = await enrol();
    for (const [method, path, body] of [
      ['POST', '/api/v1/api-keys', { name: 'k' }],
      ['GET', '/api/v1/api-keys', undefined],
      ['GET', '/api/v1/users/profile', undefined],
      ['POST', '/api/v1/company/invitations', { email: newEmail() }],
      ['DELETE', '/api/v1/company', { password }],
    ] as const) {
      expect((await appliance.call(method, path, { as: ann.key, body })).status, path).toBe(403);
    }
  });

  test('a member sees and revokes only its own', async () => {
    const ann = await enrol();
    const bob = await appliance.register(newEmail(), { tenant: ann.company });
    const anns = (await make(ann.token)).data;
    expect(await list(bob.token)).toHaveLength(1);
    expect(await list(ann.token)).toHaveLength(3);
    expect((await appliance.call('DELETE', `/api/v1/api-keys/${anns.id}`, { as: bob.token })).status).toBe(
      404,
    );
  });

  test.each([
    ['in the past', { expiresAt: '2020-01-01T00:00:00Z' }],
    ['no date', { expiresAt: 'tomorrow' }],
    ['rights as a text', { models: 'all' }],
    ['an unknown field', { role: 'admin' }],
  ])('%s is refused', async (_, more) => {
    const ann = await enrol();
    expect((await make(ann.token, { name: 'k', ...more })).status).toBe(400);
  });
});

describe('the rights of a person', () => {
  test('an export holds what we know, and no secret', async () => {
    const ann = await enrol();
    const { text } = await appliance.call('GET', '/api/v1/account/export', { as: ann.token });
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string });
    expect(new Set(lines.map(({ type }) => type))).toEqual(new Set(['user', 'session', 'key', 'audit']));
    expect(text).toContain(ann.email);
    const whole = (await appliance.call('GET', '/api/v1/company/export', { as: ann.token })).text;
    expect(whole).toContain('"type":"transaction"');
    for (const secret of ['argon2', ann.key, ann.token, ann.refreshToken]) {
      expect(text).not.toContain(secret);
      expect(whole).not.toContain(secret);
    }
  });

  test('deletion: the person is gone, the ledger is whole, the audit names nobody', async () => {
    const ann = await enrol();
    const as = ann.token;
    const erase = (path: string, given: string): Promise<Answer> =>
      appliance.call('DELETE', path, { as, body: { password: given } });
    expect((await erase('/api/v1/account', passwordOf(ann.email))).code).toBe('conflict');
    expect((await erase('/api/v1/company', 'wrong')).status).toBe(401);
    const before = await appliance.operator('/api/ledger');
    expect((await erase('/api/v1/company', passwordOf(ann.email))).status).toBe(200);
    for (const one of [ann.token, ann.key])
      expect((await appliance.call('GET', '/api/v1/credits/balance', { as: one })).status).toBe(401);
    expect((await login(ann.email)).status).toBe(401);
    expect(await appliance.operator('/api/ledger')).toEqual(before);
    const { items } = await appliance.operator(`/api/audit?tenant=${ann.company}&limit=100`);
    expect(items.length).toBeGreaterThan(2);
    expect(items.some(({ action }: { action: string }) => action === 'tenant.erase')).toBe(true);
    expect(items.every(({ address }: { address: string | null }) => address === null)).toBe(true);
    expect(JSON.stringify(items)).not.toContain(ann.email);
  });

  test('what was deleted is gone from the files, too', async () => {
    const other = await TestAppliance.start({ env: withoutEngines });
    const ann = await other.register('ann-to-be-forgotten@example.test');
    const bytes = (): string =>
      readdirSync(other.folder)
        .filter((name) => name.startsWith('kilnhouse.db'))
        .map((name) => readFileSync(join(other.folder, name)).toString('latin1'))
        .join('');
    expect(bytes().includes(ann.email)).toBe(true);
    await other.call('DELETE', '/api/v1/company', {
      as: ann.token,
      body: { password: passwordOf(ann.email) },
    });
    await other.stop();
    expect(bytes().includes(ann.email)).toBe(false);
  });
});

describe('how people come in', () => {
  test.each([
    ['invitation', 403],
    ['closed', 403],
  ])('%s: nobody registers freely', async (registration, status) => {
    const other = await TestAppliance.start({ config: { accounts: { registration } }, env: withoutEngines });
    const email = newEmail();
    const answer = await other.call('POST', '/api/v1/auth/register', {
      body: { email, password, name: 'Ann' },
    });
    expect([answer.status, answer.code]).toEqual([status, 'registration_closed']);
    if (registration === 'invitation') {
      const made = await other.register(email, { plan: 'plus', credits: 40 });
      const { data } = await other.call('GET', '/api/v1/credits/balance', { as: made.key });
      expect(data.available).toBe(40);
    }
    await other.stop();
  });

  test('an address that has to be confirmed: a mail server gets the message, and the token lets its owner in', async () => {
    const mailServer = new MailServer();
    const { received: messages } = mailServer;
    const port = await mailServer.start();
    const other = await TestAppliance.start({
      config: {
        accounts: { registration: 'open', verifyEmail: true },
        mail: { host: '127.0.0.1', port, from: 'Kiln <kiln@example.test>' },
      },
      env: withoutEngines,
    });
    const email = newEmail();
    const form = { email, password, name: 'Ann' };
    const first = await other.call('POST', '/api/v1/auth/register', { body: form });
    expect([first.status, first.data]).toEqual([202, null]);
    await other.until(() => messages.length === 1);
    expect(messages[0]).toContain(`To: ${email}`);
    expect((await other.call('POST', '/api/v1/auth/login', { body: { email, password } })).code).toBe(
      'email_not_verified',
    );
    // The same answer where there is an account; its owner is told.
    const again = await other.call('POST', '/api/v1/auth/register', { body: form });
    expect([again.status, again.json]).toEqual([202, first.json]);
    await other.until(() => messages.length === 2);
    expect(messages[1]).toContain('already have an account');
    const token = /^[\w-]{43}\s*$/m.exec(messages[0] ?? '')?.[0].trim();
    const verified = await other.call('POST', '/api/v1/auth/verify-email', { body: { token } });
    expect(verified.status).toBe(200);
    expect(verified.data.apiKey).toMatch(/^kh_/);
    expect((await other.call('POST', '/api/v1/auth/verify-email', { body: { token } })).status).toBe(400);
    await other.stop();
    await mailServer.stop();
  });

  test('demo accounts are there in the demonstration alone, and shut out when it is over', async () => {
    const demo = await TestAppliance.start();
    const with_ = /password (\S+)/.exec(demo.output)?.[1] ?? '';
    const signIn = (of: TestAppliance, plan: string): Promise<Answer> =>
      of.call('POST', '/api/v1/auth/login', { body: { email: `${plan}@demo.invalid`, password: with_ } });
    for (const plan of ['free', 'pro', 'plus', 'enterprise']) {
      const { status, data } = await signIn(demo, plan);
      expect(status).toBe(200);
      expect((await demo.call('GET', '/api/v1/company', { as: data.token })).data.plan).toBe(plan);
    }
    await demo.stop();
    const real = await TestAppliance.start({ folder: demo.folder, env: withoutEngines });
    expect((await signIn(real, 'enterprise')).status).toBe(401);
    await real.register('somebody@example.test');
    await real.stop();
    // Real people use it now: that its engines are not found for once lets nobody in.
    const again = await TestAppliance.start({ folder: demo.folder });
    expect(again.output).not.toContain('Demo accounts');
    expect((await signIn(again, 'enterprise')).status).toBe(401);
    await again.stop();
  });
});

test('A2, D7: no key, password or token is in any file of the appliance', async () => {
  const ann = await enrol();
  await login(ann.email, 'not the password');
  const secrets = [ann.key, ann.token, ann.refreshToken, passwordOf(ann.email), 'not the password'];
  const files = readdirSync(appliance.folder, { recursive: true, withFileTypes: true }).filter((one) =>
    one.isFile(),
  );
  expect(files.length).toBeGreaterThan(4);
  for (const file of files) {
    const bytes = readFileSync(join(file.parentPath, file.name)).toString('latin1');
    for (const secret of secrets) expect(bytes.includes(secret), file.name).toBe(false);
  }
});
