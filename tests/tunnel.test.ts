import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { type Person, passwordOf, survivorsOf, TestAppliance } from './appliance.ts';
import { makeCloudflared } from './tunnel-program.ts';

/* The way in from the internet, with a cloudflared that forwards as the real one does. */
const { cloudflared, control } = makeCloudflared();
let appliance: TestAppliance;
let ann: Person;

const startWith = (tunnel: object, more: object = {}): Promise<TestAppliance> =>
  TestAppliance.start({
    speed: 50,
    config: { tunnel: { cloudflared, ...tunnel }, accounts: { callsPerAddress: 5 } },
    env: { STANDIN_TUNNEL_CONTROL: control },
    ...more,
  });

beforeAll(async () => {
  appliance = await startWith({});
  await appliance.ready();
  ann = await appliance.register('ann@example.test', { plan: 'enterprise', credits: 100 });
});
afterAll(async () => {
  await appliance.stop();
});

function obey(order: object): void {
  writeFileSync(control, JSON.stringify(order));
}
const edge = (): string => `http://127.0.0.1:${readFileSync(`${control}.edge`, 'utf8')}`;
const tunnel = () => appliance.operator('/api/tunnel');
const fromOutside = (
  path: string,
  { headers = {}, ...init }: { headers?: Record<string, string>; method?: string; body?: string } = {},
): Promise<Response> =>
  fetch(edge() + path, { ...init, headers: { authorization: `Bearer ${ann.key}`, ...headers } });

describe('a quick tunnel', () => {
  test('is opened when that is asked for, and says its address', async () => {
    expect(await tunnel()).toMatchObject({ state: 'off', mode: 'quick', address: null });
    const opened = await appliance.operator('/api/tunnel/start', 'POST');
    expect(opened).toMatchObject({
      state: 'up',
      connections: 1,
      address: 'https://seven-brave-kilns.trycloudflare.com',
    });
    expect((await fetch(`${edge()}/health`)).status).toBe(200);
  });

  test('leads to the tenant API, with its own address in links', async () => {
    const made = await fromOutside('/generate-image', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'a kiln', width: 64, height: 64, steps: 1, format: 'url' }),
    });
    const { url } = (await made.json()) as { url: string };
    expect(url).toMatch(/^https:\/\/seven-brave-kilns\.trycloudflare\.com\/images\//);
    expect((await fetch(edge() + url.slice(url.indexOf('/images/')))).status).toBe(200);
  });

  test('D8: and to nothing else: no operator route, by no name and with no token', async () => {
    for (const path of ['/api/tenants', '/api/tunnel', '/api/pause', '/metrics', '/api/live']) {
      for (const headers of [
        {},
        { authorization: `Bearer ${appliance.token}` },
        { host: '127.0.0.1:3051' },
      ]) {
        const { status } = await fromOutside(path, { headers });
        expect([401, 404], path).toContain(status);
      }
    }
  });

  test('streams, WebSockets and events by POST come through as they are made', async () => {
    const stream = await fromOutside('/v1/chat/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'demo-chat-3b',
        stream: true,
        messages: [{ role: 'user', content: 'hi' }],
      }),
    });
    expect(await stream.text()).toContain('[DONE]');
    const socket = new WebSocket(`${edge().replace('http', 'ws')}/api/v1/events`, {
      headers: { authorization: `Bearer ${ann.key}` },
    });
    const messages: string[] = [];
    socket.on('message', (data) => messages.push((data as Buffer).toString()));
    await vi.waitFor(() => expect(messages).toHaveLength(1));
    const job = await fromOutside('/api/v1/jobs/image-generation', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'x', size: '64x64', steps: 2 }),
    });
    const { data } = (await job.json()) as { data: { urls: { events: string } } };
    const events = await fromOutside(data.urls.events, { method: 'POST' });
    expect(await events.text()).toContain('event: end');
    await vi.waitFor(() => expect(messages.join('\n')).toContain('succeeded'));
    socket.close();
  });

  test('A7: who asks is whom Cloudflare saw; on the other listener the same header says nothing', async () => {
    const login = (base: string, headers: Record<string, string>): Promise<Response> =>
      fetch(`${base}/api/v1/auth/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ email: 'nobody@example.test', password: 'wrong wrong wrong' }),
      });
    const statuses = async (
      base: string,
      headers: (i: number) => Record<string, string>,
    ): Promise<number[]> => {
      const all = [];
      for (let i = 0; i < 8; i += 1) all.push((await login(base, headers(i))).status);
      return all;
    };
    const limited = [401, 401, 401, 401, 401, 429, 429, 429];
    // One address from outside is bounded; another is not bounded by it.
    expect(await statuses(edge(), () => ({ 'x-test-client': '198.51.100.1' }))).toEqual(limited);
    expect((await login(edge(), { 'x-test-client': '198.51.100.2' })).status).toBe(401);
    // From the LAN, a new name each time is the same caller still.
    const forged = (i: number) => ({
      'cf-connecting-ip': `198.51.100.${i + 10}`,
      'x-forwarded-for': `198.51.100.${i}`,
    });
    expect(
      (await statuses(appliance.tenantUrl, forged)).filter((status) => status === 429).length,
    ).toBeGreaterThan(2);
  });

  test('a session’s cookies are for TLS alone, and pages of the tunnel’s own address may use them', async () => {
    const headers = { 'content-type': 'application/json', 'x-test-client': '198.51.100.3' };
    const body = JSON.stringify({ email: ann.email, password: passwordOf(ann.email), mode: 'cookie' });
    const signedIn = await fetch(`${edge()}/api/v1/auth/login`, { method: 'POST', headers, body });
    const cookies = signedIn.headers.getSetCookie();
    expect(cookies).toHaveLength(2);
    expect(cookies.every((cookie) => cookie.includes('Secure') && cookie.includes('HttpOnly'))).toBe(true);
    const cookie = cookies.map((one) => one.split(';')[0]).join('; ');
    const change = (origin: string): Promise<Response> =>
      fetch(`${edge()}/api/v1/users/profile`, {
        method: 'PATCH',
        headers: { 'content-type': 'application/json', cookie, origin },
        body: JSON.stringify({ name: 'Ann' }),
      });
    expect((await change('https://seven-brave-kilns.trycloudflare.com')).status).toBe(200);
    expect((await change('https://evil.example')).status).toBe(403);
  });

  test('the edge that is lost for a moment, and a cloudflared that dies: it comes back by itself', async () => {
    obey({ die: true });
    await vi.waitFor(async () => expect((await tunnel()).state).not.toBe('up'), { timeout: 10_000 });
    obey({});
    await vi.waitFor(async () => expect((await tunnel()).state).toBe('up'), { timeout: 20_000 });
    expect((await fetch(`${edge()}/health`)).status).toBe(200);
  });

  test('shut, nothing answers any more, and nothing is left of it', async () => {
    const before = edge();
    expect(await appliance.operator('/api/tunnel/stop', 'POST')).toMatchObject({
      state: 'off',
      connections: 0,
    });
    await expect(fetch(`${before}/health`)).rejects.toThrow();
    const { items } = await appliance.operator('/api/audit?action=tunnel.*');
    expect(items.map(({ action }: { action: string }) => action)).toEqual(['tunnel.stop', 'tunnel.start']);
  });

  test('P1: it does not outlive the appliance', async () => {
    await appliance.operator('/api/tunnel/start', 'POST');
    const at = edge();
    await appliance.kill();
    await vi.waitFor(async () => expect(await survivorsOf(appliance)).toEqual([]), { timeout: 5_000 });
    await expect(fetch(`${at}/health`)).rejects.toThrow();
    appliance = await startWith({}, { folder: appliance.folder });
  });
});

describe('a named tunnel', () => {
  const token = 'a-good-token';
  test('D7: is opened at the start with a token that shows in no argument, environment or log', async () => {
    const address = 'https://ai.example.com';
    const named = await startWith({ enabled: true, token, address });
    await vi.waitFor(async () => expect((await named.operator('/api/tunnel')).state).toBe('up'), {
      timeout: 20_000,
    });
    expect(await named.operator('/api/tunnel')).toMatchObject({ mode: 'named', address });
    for (const pid of await survivorsOf(named)) {
      for (const name of ['cmdline', 'environ'])
        expect(readFileSync(`/proc/${pid}/${name}`, 'latin1')).not.toContain(token);
    }
    const logs = await import('node:fs').then(({ readdirSync }) => readdirSync(join(named.folder, 'logs')));
    for (const log of logs)
      expect(readFileSync(join(named.folder, 'logs', log), 'utf8')).not.toContain(token);
    await named.stop();
  });

  test('a wrong token: what cloudflared said of it is said', async () => {
    const wrong = await startWith({ token: 'a-bad-token' });
    const { error } = await wrong.operator('/api/tunnel/start', 'POST');
    expect(error.message).toContain('token is not valid');
    expect(await wrong.operator('/api/tunnel')).toMatchObject({ state: 'failed' });
    await wrong.stop();
  });
});

test('without cloudflared, or without a key, it says what to do', async () => {
  const without = await TestAppliance.start({
    speed: 50,
    config: { tunnel: { cloudflared: '/nowhere/cloudflared' } },
  });
  const { error } = await without.operator('/api/tunnel/start', 'POST');
  expect(error.message).toContain('was not found');
  await without.stop();
});
