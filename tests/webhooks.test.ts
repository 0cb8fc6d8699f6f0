import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { Webhook as Verifier } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type Person, TestAppliance } from './appliance.ts';
import { internalTargets } from './internal-targets.ts';

/* Webhooks over the wire, to receivers of every kind. */
interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

let appliance: TestAppliance;
let ann: Person;
let bob: Person;
let server: Server;
let address = '';
const received: Received[] = [];
/** Where those that redirect send whoever comes, and how; nowhere when there is none. */
let redirects: [string, number][] = [];
/** How each path answers: a status, or something worse. */
const behaviour = new Map<string, number | 'hang' | 'endless' | 'redirect'>();

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (piece: string) => (body += piece));
    request.on('end', () => {
      const path = request.url ?? '';
      received.push({ path, headers: request.headers, body });
      const how = behaviour.get(path) ?? 204;
      if (how === 'hang') return;
      if (how === 'redirect') {
        const [target = '', status = 302] = redirects.shift() ?? [];
        return response
          .writeHead(status, { location: encodeURI(target), refresh: `0; url=${encodeURI(target)}` })
          .end();
      }
      if (how !== 'endless') return response.writeHead(how).end();
      response.writeHead(500);
      const more = (): boolean => response.write('x'.repeat(64 * 1024));
      const timer = setInterval(more, 1);
      response.on('close', () => clearInterval(timer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = server.address();
  address = `http://127.0.0.1:${typeof at === 'object' && at ? at.port : 0}`;
  appliance = await TestAppliance.start({ speed: 50, config: { webhooks: { allow: ['127.0.0.0/8'] } } });
  await appliance.ready();
  ann = await appliance.register('ann@example.test', { plan: 'enterprise', credits: 1_000 });
  bob = await appliance.register('bob@example.test', { plan: 'enterprise', credits: 1_000 });
});
afterAll(async () => {
  await appliance.stop();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const call = (method: string, path: string, body?: object, as = ann.token): Promise<Answer> =>
  appliance.call(method, `/api/v1/webhooks${path}`, { as, body });
async function hook(path: string, more: object = {}) {
  const { status, data, text } = await call('POST', '', { url: address + path, ...more });
  expect(status, text).toBe(201);
  return data as { id: string; secret: string };
}
const at = (path: string): Received[] => received.filter((one) => one.path === path);
const deliveries = async (id: string) => (await call('GET', `/${id}/deliveries`)).data;
const picture = (as = ann.key): Promise<Answer> =>
  appliance.call('POST', '/api/v1/jobs/image-generation', {
    as,
    body: { prompt: 'a kiln', size: '64x64', steps: 1 },
    headers: { prefer: 'wait=30' },
  });

test('a job’s events arrive, signed so that the specification’s own library believes them', async () => {
  const { id, secret } = await hook('/good', { events: ['job.succeeded'] });
  const { data } = await picture();
  await appliance.until(() => at('/good').length === 1);
  const [one] = at('/good');
  const event = new Verifier(secret).verify(
    one?.body ?? '',
    one?.headers as Record<string, string>,
  ) as Record<string, unknown>;
  expect(event).toMatchObject({
    type: 'job.succeeded',
    data: { id: data.id, state: 'succeeded', credits: 2 },
  });
  expect(() =>
    new Verifier(secret).verify(`${one?.body} `, one?.headers as Record<string, string>),
  ).toThrow();
  const [delivery] = await deliveries(id);
  expect(delivery).toMatchObject({
    event: one?.headers['webhook-id'],
    status: 204,
    attempts: 1,
    nextAt: null,
  });
  await call('DELETE', `/${id}`);
});

test('T1: nobody else’s', async () => {
  const { id } = await hook('/mine');
  await picture(bob.key);
  await picture();
  await appliance.until(() => at('/mine').length >= 2);
  for (const { body } of at('/mine')) expect(body).not.toContain(bob.company);
  expect(at('/mine')).toHaveLength(2);
  for (const [method, path] of [
    ['GET', `/${id}/deliveries`],
    ['DELETE', `/${id}`],
    ['POST', `/${id}/test`],
    ['POST', `/${id}/deliveries/dlv_0/replay`],
  ] as const)
    expect((await call(method, path, undefined, bob.token)).status, path).toBe(404);
  await call('DELETE', `/${id}`);
});

describe('W3: receivers that misbehave', () => {
  test('one that fails for a moment is told again, with the same id', async () => {
    behaviour.set('/flaky', 500);
    const { id } = await hook('/flaky');
    await call('POST', `/${id}/test`);
    await appliance.until(() => at('/flaky').length === 1);
    behaviour.set('/flaky', 200);
    await appliance.until(() => at('/flaky').length === 2, 15_000, 100);
    const ids = new Set(at('/flaky').map(({ headers }) => headers['webhook-id']));
    expect(ids.size).toBe(1);
    await appliance.until(async () => (await deliveries(id))[0].deliveredAt !== null);
    expect((await deliveries(id))[0]).toMatchObject({ attempts: 2, status: 200 });
  });

  test('W2: a redirect is not followed', async () => {
    behaviour.set('/redirect', 'redirect');
    redirects = [[`${address}/canary`, 302]];
    const { id } = await hook('/redirect');
    await call('POST', `/${id}/test`);
    await appliance.until(async () => (await deliveries(id))[0]?.attempts === 1);
    expect((await deliveries(id))[0]).toMatchObject({ status: 302, deliveredAt: null });
    expect(at('/canary')).toEqual([]);
  });

  test('W2: three hundred redirects to inside addresses, of every kind, are not followed', async () => {
    behaviour.set('/redirects', 'redirect');
    const targets = [...internalTargets, `${address}/canary`, `//127.0.0.1/canary`, '/canary'];
    expect(targets.length).toBeGreaterThan(300);
    redirects = targets.map((target, index) => [target, [301, 302, 303, 307, 308][index % 5] ?? 302]);
    const { id } = await hook('/redirects', { events: ['job.succeeded'] });
    for (const _ of targets) expect((await call('POST', `/${id}/test`)).status).toBe(202);
    await appliance.until(() => redirects.length === 0, 30_000);
    await appliance.until(async () => (await deliveries(id))[0]?.attempts > 0);
    expect(
      (await deliveries(id)).every(({ status }: { status: number }) => status >= 301 && status <= 308),
    ).toBe(true);
    expect(at('/canary')).toEqual([]);
    await call('DELETE', `/${id}`);
  });

  test('410 ends it; a replay begins anew', async () => {
    behaviour.set('/gone', 410);
    const { id } = await hook('/gone');
    await call('POST', `/${id}/test`);
    await appliance.until(async () => (await deliveries(id))[0]?.attempts === 1);
    const webhook = (await call('GET', '')).data.find((one: { id: string }) => one.id === id);
    expect(webhook.disabledAt).not.toBeNull();
    behaviour.set('/gone', 200);
    const [delivery] = await deliveries(id);
    expect((await call('POST', `/${id}/deliveries/${delivery.id}/replay`)).status).toBe(202);
    await appliance.until(() => at('/gone').length === 2);
  });

  test('one that hangs and one that never stops talking delay nobody, and no job', async () => {
    behaviour.set('/hang', 'hang');
    behaviour.set('/endless', 'endless');
    const [hang, endless, quick] = [await hook('/hang'), await hook('/endless'), await hook('/quick')];
    for (let i = 0; i < 3; i += 1) expect((await picture()).data.state).toBe('succeeded');
    // Processing and success of each of three jobs.
    await appliance.until(() => at('/quick').length === 6, 15_000);
    expect(at('/hang')).toHaveLength(1);
    await appliance.until(async () =>
      (await deliveries(endless.id)).some(({ attempts }: { attempts: number }) => attempts > 0),
    );
    for (const { id } of [hang, endless, quick]) await call('DELETE', `/${id}`);
  });
});

describe('W2: what is refused', () => {
  test.each([
    'http://10.0.0.1/',
    'http://169.254.169.254/latest',
    'http://[::1]/',
    'file:///etc/passwd',
    'https://a:b@example.com/',
  ])('%s', async (url) => {
    const { status, json } = await call('POST', '', { url });
    expect([status, json.errors[0].param]).toEqual([400, 'url']);
  });

  test('a name that leads here is not called, whatever it said when it was given', async () => {
    const other = await TestAppliance.start({ speed: 50 });
    await other.ready();
    const eve = await other.register('eve@example.test', { credits: 10 });
    const url = `${address.replace('127.0.0.1', 'localhost')}/canary`;
    const { data } = await other.call('POST', '/api/v1/webhooks', { as: eve.token, body: { url } });
    await other.call('POST', `/api/v1/webhooks/${data.id}/test`, { as: eve.token });
    const log = async () =>
      (await other.call('GET', `/api/v1/webhooks/${data.id}/deliveries`, { as: eve.token })).data;
    await other.until(async () => (await log())[0]?.attempts === 1);
    expect((await log())[0].error).toContain('does not lead to an address that can be called');
    expect(at('/canary')).toEqual([]);
    await other.stop();
  });
});

test('a key and a member cannot', async () => {
  const member = await appliance.register('member@example.test', { tenant: ann.company });
  for (const as of [ann.key, member.token])
    expect((await call('POST', '', { url: 'https://example.com/' }, as)).status).toBe(403);
});
