import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, passwordOf, type Person, TestAppliance } from './appliance.ts';
import { picture } from './picture-files.ts';
import { secretKey, StripeServer, webhookSecret } from './stripe-server.ts';

/*
 * The isolation matrix (T2): every route that the API's own document knows, tried by everybody who should not get
 * through. A route that is not listed here fails the test.
 */
let stripe: StripeServer;
let appliance: TestAppliance;
let ann: Person;
let bob: Person;
let member: Person;
let revoked = '';
/** What Ann's company has, by the kind of id. */
let anns: Record<string, string> = {};
/** Words that are in everything of Ann's and in nothing of anybody else's. */
const canary = 'canary-of-ann';

/** Routes with an id: what it is an id of, and a body that would be good. */
const withIds: Record<string, { id: string; body?: object; forKeys?: true }> = {
  'GET /v1/models/{id}': { id: 'no tenant’s' },
  'GET /images/{owner}/{file}': { id: 'link' },
  'GET /files/{job}/{file}': { id: 'link' },
  'DELETE /api/v1/users/sessions/{id}': { id: 'session' },
  'PATCH /api/v1/company/users/{id}': { id: 'user', body: { role: 'admin' } },
  'DELETE /api/v1/company/users/{id}': { id: 'user' },
  'DELETE /api/v1/company/invitations/{id}': { id: 'invitation' },
  'GET /api/v1/api-keys/{id}': { id: 'key' },
  'POST /api/v1/api-keys/{id}/rotate': { id: 'key', body: {} },
  'DELETE /api/v1/api-keys/{id}': { id: 'key' },
  'GET /api/v1/payments/orders/{id}': { id: 'order' },
  'DELETE /api/v1/history/{id}': { id: 'history', forKeys: true },
  'DELETE /api/v1/webhooks/{id}': { id: 'webhook' },
  'POST /api/v1/webhooks/{id}/test': { id: 'webhook' },
  'GET /api/v1/webhooks/{id}/deliveries': { id: 'webhook' },
  'POST /api/v1/webhooks/{id}/deliveries/{delivery}/replay': { id: 'webhook' },
  'GET /api/v1/inference/{id}': { id: 'job', forKeys: true },
  'GET /api/v1/inference/{id}/result': { id: 'job', forKeys: true },
  'GET /api/v1/jobs/{id}': { id: 'job', forKeys: true },
  'GET /api/v1/jobs/{id}/status': { id: 'job', forKeys: true },
  'GET /api/v1/jobs/{id}/events': { id: 'job', forKeys: true },
  'POST /api/v1/jobs/{id}/events': { id: 'job', forKeys: true },
  'POST /api/v1/jobs/{id}/cancel': { id: 'job', forKeys: true },
  'DELETE /api/v1/jobs/{id}': { id: 'job', forKeys: true },
  'GET /api/v1/jobs/{id}/preview': { id: 'job', forKeys: true },
  'GET /api/v1/jobs/{id}/download': { id: 'job', forKeys: true },
  'GET /api/v1/jobs/batch/{id}': { id: 'batch', forKeys: true },
  'POST /api/v1/jobs/batch/{id}/cancel': { id: 'batch', forKeys: true },
  'GET /api/v1/uploads/{id}': { id: 'upload', forKeys: true },
  'DELETE /api/v1/uploads/{id}': { id: 'upload', forKeys: true },
  'GET /api/v1/download/{id}/files': { id: 'job', forKeys: true },
  'GET /api/v1/download/{id}/files/{file}': { id: 'job', forKeys: true },
};

/** Routes anybody may call without a key. */
const open = [
  'GET /health',
  'GET /ready',
  'GET /openapi.json',
  'GET /images/{owner}/{file}',
  'GET /files/{job}/{file}',
  'POST /api/v1/auth/register',
  'POST /api/v1/auth/verify-email',
  'POST /api/v1/auth/login',
  'POST /api/v1/auth/refresh',
  'POST /api/v1/auth/forgot-password',
  'POST /api/v1/auth/reset-password',
  'GET /api/v1/prices',
  'GET /api/v1/payments/packages',
  'GET /payments/done',
  'GET /payments/cancelled',
  'POST /api/v1/payments/webhook',
];

/** Routes without an id that a key may use: they act for the key's own tenant. */
const forKeys = [
  'GET /v1/models',
  'POST /v1/chat/completions',
  'POST /v1/completions',
  'POST /v1/embeddings',
  'POST /v1/images/generations',
  'POST /v1/images/edits',
  'POST /generate-text',
  'POST /generate-image',
  'GET /api/v1/rate-limit',
  'GET /api/v1/usage',
  'GET /api/v1/credits/balance',
  'GET /api/v1/users/credits',
  'GET /api/v1/users/transactions',
  'GET /api/v1/history',
  'GET /api/v1/history/export',
  'GET /api/v1/jobs',
  'POST /v1/moderations',
  'GET /api/v1/events',
  'GET /api/v1/styles',
  'POST /api/v1/jobs/batch',
  'POST /api/v1/jobs/image-generation',
  'POST /api/v1/upload',
  'POST /api/v1/upload/batch',
  'GET /api/v1/uploads',
  'POST /api/v1/inference',
  'DELETE /api/v1/history',
];

/** Routes without an id for people, and of those the ones for administrators. */
const forPeople = [
  'POST /api/v1/auth/logout',
  'GET /api/v1/users/profile',
  'PATCH /api/v1/users/profile',
  'POST /api/v1/users/password',
  'GET /api/v1/users/sessions',
  'GET /api/v1/account/export',
  'DELETE /api/v1/account',
  'GET /api/v1/company',
  'GET /api/v1/api-keys',
  'POST /api/v1/api-keys',
];
const forAdmins = [
  'PATCH /api/v1/company',
  'DELETE /api/v1/company',
  'GET /api/v1/company/users',
  'GET /api/v1/company/invitations',
  'POST /api/v1/company/invitations',
  'GET /api/v1/company/export',
  'POST /api/v1/payments/create-checkout',
  'GET /api/v1/payments/orders',
  'GET /api/v1/webhooks',
  'POST /api/v1/webhooks',
  'DELETE /api/v1/payments/subscription',
];

const routes = async (): Promise<string[]> => {
  const { json } = await appliance.call('GET', '/openapi.json');
  return Object.entries(json.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
};

/** Calls a route with an id in its place. */
function call(route: string, id: string, as?: string, body?: object): Promise<Answer> {
  const [method = '', path = ''] = route.split(' ');
  const filled = route.includes('{owner}')
    ? id
    : path.replace('{id}', id).replace('{file}', 'art_0').replace('{delivery}', 'dlv_0');
  return appliance.call(method, filled, { as, body });
}

/** An id that looks like another and is nobody's. */
const random = (id: string): string =>
  id.startsWith('/') ? id.replace(/[0-9a-f]{32}/, '0'.repeat(32)) : id.replace(/[0-9a-f]{8}$/, '00000000');

const bodyOf = ({ json, text }: Answer): string =>
  json ? JSON.stringify({ ...json, request_id: '', error: { ...json.error, request_id: '' } }) : text;

beforeAll(async () => {
  stripe = await new StripeServer().start();
  const payments = { stripeSecretKey: secretKey, stripeWebhookSecret: webhookSecret, stripeUrl: stripe.url };
  appliance = await TestAppliance.start({
    speed: 40,
    config: { payments, accounts: { callsPerAddress: 10_000 } },
  });
  await appliance.ready();
  ann = await appliance.register(`${canary}@example.test`, { plan: 'enterprise', credits: 500 });
  bob = await appliance.register('bob@example.test', { plan: 'enterprise', credits: 500 });
  member = await appliance.register(`member-${canary}@example.test`, { tenant: ann.company });
  const as = ann.token;
  const made = await appliance.call('POST', '/api/v1/api-keys', { as, body: { name: canary } });
  const gone = await appliance.call('POST', '/api/v1/api-keys', { as, body: { name: `${canary} revoked` } });
  await appliance.call('DELETE', `/api/v1/api-keys/${gone.data.id}`, { as });
  revoked = gone.data.key;
  await appliance.call('PATCH', '/api/v1/company', { as, body: { history: 'encrypted', name: canary } });
  const body = { prompt: canary, width: 64, height: 64, steps: 1, format: 'url' };
  const drawn = await appliance.call('POST', '/generate-image', { as: ann.key, body });
  const invitation = await appliance.call('POST', '/api/v1/company/invitations', {
    as,
    body: { email: `invited-${canary}@example.test` },
  });
  const order = await appliance.call('POST', '/api/v1/payments/create-checkout', {
    as,
    body: { package: 'starter' },
  });
  const job = await appliance.call('POST', '/api/v1/jobs/image-generation', {
    as: ann.key,
    body: { prompt: canary },
    headers: { prefer: 'wait=30' },
  });
  const batch = await appliance.call('POST', '/api/v1/jobs/batch', {
    as: ann.key,
    body: { items: [{ feature: 'image-generation', input: { prompt: canary, size: '64x64', steps: 1 } }] },
  });
  const upload = await appliance.upload(ann.key, [{ name: `${canary}.png`, bytes: await picture() }]);
  const webhook = await appliance.call('POST', '/api/v1/webhooks', {
    as,
    body: { url: `https://example.com/${canary}` },
  });
  const sessions = await appliance.call('GET', '/api/v1/users/sessions', { as });
  const history = await appliance.call('GET', '/api/v1/history', { as });
  anns = {
    'no tenant’s': 'demo-chat-3b',
    link: new URL(drawn.json.url).pathname,
    key: made.data.id,
    user: member.id,
    invitation: invitation.data.id,
    order: order.data.order,
    session: sessions.data[0].id,
    history: history.data.items[0].id,
    job: job.data.id,
    batch: batch.data.id,
    upload: upload.data.id,
    webhook: webhook.data.id,
  };
  for (const [kind, id] of Object.entries(anns)) expect(id, kind).toBeTruthy();
});
afterAll(async () => {
  await appliance.stop();
  await stripe.stop();
});

test('the document says which routes need no key', async () => {
  const { json } = await appliance.call('GET', '/openapi.json');
  const without = Object.entries(
    json.paths as Record<string, Record<string, { security?: unknown[] }>>,
  ).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, { security }]) => security?.length === 0)
      .map(([method]) => `${method.toUpperCase()} ${path}`),
  );
  expect(without.toSorted()).toEqual(open.toSorted());
});

test('every route is in exactly one of the lists', async () => {
  const listed = [
    ...Object.keys(withIds),
    ...open.filter((route) => !(route in withIds)),
    ...forKeys,
    ...forPeople,
    ...forAdmins,
  ];
  expect((await routes()).toSorted()).toEqual(listed.toSorted());
});

describe('T2: an id of Ann’s is to Bob as any other that is not there', () => {
  const routesWithTenants = Object.entries(withIds).filter(
    ([, { id }]) => id !== 'no tenant’s' && id !== 'link',
  );
  test.each(routesWithTenants)('%s', async (route, { id, body, forKeys: keysToo }) => {
    const hers = anns[id] ?? '';
    for (const as of keysToo ? [bob.token, bob.key] : [bob.token]) {
      const [real, none] = [await call(route, hers, as, body), await call(route, random(hers), as, body)];
      expect([real.status, none.status]).toEqual([404, 404]);
      expect(bodyOf(real)).toBe(bodyOf(none));
    }
  });

  test('and she still has all of it', async () => {
    const get = async (path: string) => (await appliance.call('GET', path, { as: ann.token })).text;
    expect(await get(`/api/v1/api-keys/${anns['key']}`)).toContain(canary);
    expect(await get('/api/v1/company/users')).toContain(member.id);
    expect(await get('/api/v1/company/invitations')).toContain(anns['invitation']);
    expect(await get('/api/v1/history')).toContain(anns['history']);
    expect(await get('/api/v1/users/sessions')).toContain(anns['session']);
  });

  test('a link is good as it was given out, for nothing else', async () => {
    const path = anns['link'] ?? '';
    for (const [as, url] of [
      [bob.key, path],
      [undefined, random(path)],
      [ann.key, `${path}?expires=9999999999999&signature=${'x'.repeat(43)}`],
    ] as const) {
      const { status } = await appliance.call('GET', url, { as });
      expect([400, 403]).toContain(status);
    }
  });
});

describe('who has no business here', () => {
  test('without a key, with a revoked one, with the operator’s token: every route but the open ones is shut', async () => {
    const all = (await routes()).filter((route) => !open.includes(route));
    expect(all.length).toBeGreaterThan(35);
    for (const route of all) {
      for (const as of [undefined, revoked, appliance.token, 'eyJhbGciOiJub25lIn0.e30.']) {
        const { status } = await call(
          route,
          anns['key'] ?? '',
          as,
          /^(POST|PATCH)/.test(route) ? {} : undefined,
        );
        expect(status, `${route} as ${as}`).toBe(401);
      }
    }
  });

  test('a key does nothing that is for people', async () => {
    const people = Object.entries(withIds)
      .filter(([route, { forKeys: keysToo }]) => !keysToo && route.includes('/api/v1/'))
      .map(([route]) => route);
    for (const route of [...forPeople, ...forAdmins, ...people]) {
      const { status } = await call(
        route,
        anns['key'] ?? '',
        ann.key,
        /^(POST|PATCH)/.test(route) ? {} : undefined,
      );
      expect(status, route).toBe(403);
    }
  });

  test('a member does nothing that is for administrators', async () => {
    const people = Object.keys(withIds).filter((route) => /company|orders|webhooks/.test(route));
    for (const route of [...forAdmins, ...people]) {
      const { status } = await call(
        route,
        member.id,
        member.token,
        /^(POST|PATCH)/.test(route) ? {} : undefined,
      );
      expect(status, route).toBe(403);
    }
  });
});

test('T1: nothing of Ann’s is in anything that Bob can see', async () => {
  const gets = (await routes()).filter((route) => route.startsWith('GET ') && !route.includes('{'));
  const secrets = [canary, ann.id, ann.company, ann.key, ...Object.values(anns).slice(2)];
  let seen = 0;
  for (const route of gets) {
    for (const as of [bob.token, bob.key]) {
      const { text, headers } = await call(route, '', as);
      seen += text.length;
      const all = text + JSON.stringify([...headers]);
      for (const secret of secrets) expect(all.includes(secret), `${route}: ${secret}`).toBe(false);
    }
  }
  expect(seen).toBeGreaterThan(10_000);
  // The same routes do show Ann hers, so that what was looked for is there to be found.
  const hers = await Promise.all(gets.map((route) => call(route, '', ann.token)));
  expect(hers.filter(({ text }) => text.includes(canary)).length).toBeGreaterThan(4);
});

test('T3: what is sent is what the schema knows, on every route that takes a body', async () => {
  const extra = {
    tenant: ann.company,
    tenant_id: ann.company,
    role: 'admin',
    price: 0,
    balance: 1,
    allowed_routes: ['*'],
  };
  const bodies: Record<string, object> = {
    'POST /api/v1/auth/login': { email: bob.email, password: passwordOf(bob.email) },
    'PATCH /api/v1/users/profile': { name: 'Bob' },
    'PATCH /api/v1/company': { name: 'Bob' },
    'POST /api/v1/company/invitations': { email: 'x@example.test' },
    'POST /api/v1/api-keys': { name: 'k' },
    'POST /api/v1/payments/create-checkout': { package: 'starter' },
    'POST /generate-text': { prompt: 'x' },
    'POST /api/v1/inference': { model: 'demo-chat-3b', messages: [{ role: 'user', content: 'x' }] },
  };
  for (const [route, body] of Object.entries(bodies)) {
    for (const [name, value] of Object.entries(extra)) {
      if (name === 'role' && route.includes('invitations')) continue;
      const { status, code } = await call(route, '', bob.token, { ...body, [name]: value });
      expect([status, code], `${route} with ${name}`).toEqual([400, 'invalid_request']);
    }
  }
  // OpenAI's routes take what they do not know, leave it out, and say so.
  const chat = { model: 'demo-chat-3b', messages: [{ role: 'user', content: 'x' }] };
  const { status, headers } = await call('POST /v1/chat/completions', '', bob.token, { ...chat, ...extra });
  expect(status).toBe(200);
  expect(headers.get('x-kilnhouse-ignored-fields')).toBe(Object.keys(extra).join(', '));
});
