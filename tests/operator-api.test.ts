import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { execFileSync, spawn } from 'node:child_process';
import { request as httpRequest } from 'node:http';
import { apply } from 'json-merge-patch';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { TestAppliance } from './appliance.ts';

let appliance: TestAppliance;
let port = 0;
beforeAll(async () => {
  appliance = await TestAppliance.start({ speed: 40 });
  await appliance.ready();
  port = Number(new URL(appliance.operatorUrl).port);
});
afterAll(() => appliance.stop());

/** A raw request, since fetch does not let one choose the Host. */
function ask(
  path: string,
  headers: Record<string, string>,
  method = 'GET',
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, path, method, headers }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (piece: string) => (body += piece));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    request.on('error', reject).end();
  });
}
const bearer = (): Record<string, string> => ({ authorization: `Bearer ${appliance.token}` });

describe('D8: who comes in', () => {
  test.each([
    ['the token', {}, 200],
    ['localhost as the host', { host: 'localhost:PORT' }, 200],
    ['our own page', { origin: 'http://127.0.0.1:PORT' }, 200],
    ['F54: a name that was made to point here', { host: 'evil.test' }, 421],
    ['F54: a name with our port', { host: 'evil.test:PORT' }, 421],
    ['F54: a look-alike', { host: 'localhost.evil.test:PORT' }, 421],
    ['our address with another port', { host: '127.0.0.1:1' }, 421],
    ['F55: another page', { origin: 'https://evil.test' }, 403],
    ['F55: a page of another program here', { origin: 'http://localhost:1' }, 403],
    ['F55: a page of nowhere', { origin: 'null' }, 403],
  ])('with %s', async (_, headers, status) => {
    const filled = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, value.replace('PORT', String(port))]),
    );
    expect((await ask('/api/status', { host: `127.0.0.1:${port}`, ...bearer(), ...filled })).status).toBe(
      status,
    );
  });

  test.each([
    ['no token', {}],
    ['a wrong one', { authorization: 'Bearer wrong' }],
    ['a tenant’s key', { authorization: 'Bearer KEY' }],
    [
      'F57: headers of a tunnel',
      { 'cf-connecting-ip': '127.0.0.1', 'x-forwarded-for': '127.0.0.1', 'x-forwarded-host': 'localhost' },
    ],
  ])('being on this machine proves nothing: %s is refused on every path', async (_, headers) => {
    const filled = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, value.replace('KEY', appliance.key)]),
    );
    for (const [method, path] of [
      ['GET', '/api/status'],
      ['POST', '/api/pause'],
      ['GET', '/metrics'],
      ['GET', '/nowhere'],
      ['GET', '/%61pi/status'],
    ] as const) {
      expect((await ask(path, { host: `127.0.0.1:${port}`, ...filled }, method)).status, path).toBe(401);
    }
  });

  test('F57: the tenant listener has none of it', async () => {
    for (const path of ['/api/status', '/api/pause', '/metrics', '/api/live']) {
      const response = await fetch(appliance.tenantUrl + path, {
        headers: { authorization: `Bearer ${appliance.token}` },
      });
      expect(response.status, path).toBe(404);
    }
  });

  test('F55: a form of another kind than JSON changes nothing', async () => {
    const response = await fetch(`${appliance.operatorUrl}/api/pause`, {
      method: 'POST',
      headers: { ...bearer(), 'content-type': 'text/plain' },
      body: '{}',
    });
    expect(response.status).toBe(415);
    expect((await appliance.operator('/api/status')).gpu.mode).toBe('running');
  });

  test.each([
    ['another origin', { origin: 'https://evil.test' }, true],
    ['no token', {}, false],
  ])('F56: a WebSocket with %s is refused at its upgrade', async (_, headers, withToken) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/api/live`, {
      headers: { ...headers, ...(withToken && bearer()) },
    });
    const status = await new Promise((resolve) => {
      socket.on('unexpected-response', (_request, response) => resolve(response.statusCode));
      socket.on('open', () => resolve(101));
      socket.on('error', () => undefined);
    });
    expect([401, 403]).toContain(status);
  });

  test('the token is for the owner of the folder alone', async () => {
    const { statSync } = await import('node:fs');
    expect(statSync(`${appliance.folder}/operator-token`).mode & 0o777).toBe(0o600);
  });
});

describe('what is seen and steered', () => {
  const model = async (id: string) =>
    (await appliance.operator('/api/models')).find((m: { id: string }) => m.id === id);

  test('engines say what they are, how they were started, and that they are a demonstration', async () => {
    const engines = await appliance.operator('/api/engines');
    expect(engines).toMatchObject([
      {
        id: 'lm-studio',
        demo: true,
        title: expect.stringContaining('demo'),
        ownership: 'ours',
        health: 'ready',
        profile: { name: 'text-8g', slots: 4 },
      },
      {
        id: 'webui',
        demo: true,
        kind: 'automatic1111',
        profile: { name: 'image-8g', reason: expect.stringContaining('GiB') },
      },
    ]);
    const { lines } = await appliance.operator('/api/engines/webui/logs?last=5');
    expect(lines.map(({ text }: { text: string }) => text).join()).toContain('ready after');
  });

  test('a model is loaded, measured, pinned, and unloaded', async () => {
    expect(await appliance.operator('/api/models/demo-chat-8b/load', 'POST')).toMatchObject({ done: true });
    await appliance.until(async () => (await model('demo-chat-8b')).phase === 'ready');
    const loaded = await model('demo-chat-8b');
    expect(loaded.measured).toBe(true);
    // What the stand-in takes: 5,120 MiB and a context.
    expect(loaded.vramBytes / 1024 ** 2).toBeGreaterThan(5_000);
    expect(loaded.vramBytes / 1024 ** 2).toBeLessThan(5_600);
    await appliance.operator('/api/models/demo-chat-8b/pin', 'POST');
    const blocked = await appliance.operator('/api/models/demo-sd15/load', 'POST');
    expect(blocked.error).toMatchObject({ code: 'conflict', message: expect.stringContaining('pinned') });
    const refused = await appliance.post('/generate-image', { prompt: 'x', model: 'demo-sd15' });
    expect(((await refused.json()) as { error: { message: string } }).error.message).toContain('pinned');
    await appliance.operator('/api/models/demo-chat-8b/unpin', 'POST');
    // Nobody uses it now, so it makes room for what the operator wants.
    expect(await appliance.operator('/api/models/demo-sd15/load', 'POST')).toMatchObject({ done: true });
    await appliance.until(async () => (await model('demo-sd15')).phase === 'ready');
    expect((await model('demo-chat-8b')).phase).toBe('absent');
    await appliance.operator('/api/models/demo-sd15/unload', 'POST');
    await appliance.until(async () => (await model('demo-sd15')).phase === 'absent');
    expect((await appliance.operator('/api/models/nothing/load', 'POST')).error.code).toBe('not_found');
  });

  test('a waiting request is shown with its reason, and can be cancelled', async () => {
    await appliance.operator('/api/pause', 'POST', { unload: false });
    const asked = appliance.post('/generate-text', { prompt: 'x', model: 'demo-chat-3b' });
    await appliance.until(async () => (await appliance.operator('/api/queue')).length === 1);
    const [item] = await appliance.operator('/api/queue');
    expect(item).toMatchObject({
      tenant: 'demo',
      model: 'demo-chat-3b',
      position: 1,
      reason: 'paused',
      explanation: expect.any(String),
    });
    expect(await appliance.operator(`/api/queue/${item.id}`, 'DELETE')).toMatchObject({ done: true });
    expect((await asked).status).toBe(409);
    expect((await appliance.operator(`/api/queue/${item.id}`, 'DELETE')).error.code).toBe('not_found');
    await appliance.operator('/api/resume', 'POST');
  });

  test('an engine is stopped, its models with it, and started again', async () => {
    expect((await appliance.post('/generate-text', { prompt: 'x', model: 'demo-chat-3b' })).status).toBe(200);
    await appliance.operator('/api/engines/lm-studio/stop', 'POST');
    await appliance.until(async () => (await model('demo-chat-3b')).phase === 'absent');
    expect((await appliance.operator('/api/engines'))[0].health).toBe('stopped');
    await appliance.operator('/api/engines/lm-studio/restart', 'POST');
    expect((await appliance.post('/generate-text', { prompt: 'x', model: 'demo-chat-3b' })).status).toBe(200);
    expect((await appliance.operator('/api/engines/nothing/stop', 'POST')).error.code).toBe('not_found');
  });

  test('every decision is on record with its cause', async () => {
    const decisions: { type: string; cause: string | null }[] = await appliance.operator('/api/decisions');
    const types = new Set(decisions.map(({ type }) => type));
    expect([...types]).toEqual(
      expect.arrayContaining(['load', 'loaded', 'grant', 'unload', 'released', 'mode', 'lost']),
    );
    expect(decisions.filter(({ type }) => type === 'load').every(({ cause }) => cause !== null)).toBe(true);
  });

  test('tenants are shown without their keys', async () => {
    const view = await appliance.operator('/api/tenants');
    expect(view.items[0]).toMatchObject({
      id: 'demo',
      kind: 'file',
      plan: 'pro',
      keys: 1,
      available: null,
    });
    expect(view.items.slice(1).map(({ kind, available }: never) => [kind, available])).toEqual(
      Array.from({ length: 4 }, () => ['account', 100]),
    );
    expect(view.file.problem).toBeNull();
    expect(JSON.stringify(view)).not.toContain(appliance.key);
  });

  test('every tenant is found, however many there are, and rows name theirs', async () => {
    const made: string[] = [];
    for (let number = 0; number < 130; number += 1)
      made.push((await appliance.operator('/api/tenants', 'POST', { name: `Müller & Söhne ${number}` })).id);
    const listed: string[] = [];
    let next: string | null = '';
    while (next !== null) {
      const page = await appliance.operator(`/api/tenants?limit=50${next && `&after=${next}`}`);
      listed.push(...page.items.map(({ id }: { id: string }) => id));
      next = page.next;
    }
    expect(listed.filter((id) => made.includes(id))).toEqual(made.toReversed());
    const search = async (text: string): Promise<string[]> => {
      const { items } = await appliance.operator(`/api/tenants?search=${encodeURIComponent(text)}`);
      return items.map(({ name }: { name: string }) => name);
    };
    expect(await search('MÜLLER & SÖHNE 0')).toEqual(['Müller & Söhne 0']);
    expect(await search(made[0] ?? '')).toEqual(['Müller & Söhne 0']);
    expect(await search('DEM')).toEqual(expect.arrayContaining(['demo']));
    expect(await search('%')).toEqual([]);
    const { key } = await appliance.operator(`/api/tenants/${made[0]}/keys`, 'POST', { name: 'first' });
    const asked = { as: key, body: { prompt: 'hello' } };
    await appliance.operator(`/api/tenants/${made[0]}/credits`, 'POST', { credits: 10, reason: 'a test' });
    expect((await appliance.call('POST', '/generate-text', asked)).status).toBe(200);
    expect((await appliance.call('POST', '/api/v1/jobs/image-generation', asked)).status).toBe(202);
    const { byTenant } = await appliance.operator('/api/usage');
    expect(byTenant).toContainEqual(expect.objectContaining({ name: made[0], title: 'Müller & Söhne 0' }));
    const { items: jobs } = await appliance.operator('/api/jobs');
    expect(jobs[0]).toMatchObject({ tenant: made[0], tenantName: 'Müller & Söhne 0' });
  });

  test('metrics', async () => {
    const text = (await ask('/metrics', { host: `127.0.0.1:${port}`, ...bearer() })).body;
    expect(text).toMatch(/^kilnhouse_vram_bytes\{of="total"\} 8589934592$/m);
    expect(text).toMatch(/^kilnhouse_decisions_total\{type="load"\} \d+$/m);
  });
});

test('live: a snapshot, then patches that bring it to what the routes say', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/api/live`, [`token.${appliance.token}`]);
  let state: Record<string, never> | null = null;
  let patches = 0;
  socket.on('message', (data: Buffer) => {
    const message = JSON.parse(data.toString()) as { type: string; state: never; patch: never };
    if (message.type === 'snapshot') state = message.state;
    else {
      state = apply(state, message.patch) as never;
      patches += 1;
    }
  });
  await vi.waitFor(() => expect(state).not.toBeNull());
  expect(state).toMatchObject({ gpu: { mode: 'running' }, engines: { webui: { demo: true } } });
  expect(await appliance.operator('/api/models/demo-sd15/load', 'POST')).toMatchObject({ done: true });
  await vi.waitFor(() => expect(state).toMatchObject({ models: { 'demo-sd15': { phase: 'ready' } } }), {
    timeout: 10_000,
  });
  expect(patches).toBeGreaterThan(0);
  expect(Object.keys((state as never as { models: object }).models)).toHaveLength(
    (await appliance.operator('/api/models')).length,
  );
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.close();
  await closed;
});

test('settings: changed for the next start, audited, and refused with their place when they are wrong', async () => {
  const one = async (path: string) =>
    (await appliance.operator('/api/settings')).find((setting: { path: string }) => setting.path === path);
  const change = (body: object) => appliance.operator('/api/settings', 'PATCH', body);
  await change({ set: { 'log.files': 14, 'mail.password': 'canary-of-the-mail' } });
  expect(await one('log.files')).toMatchObject({ value: 7, next: 14, pending: true });
  expect(await one('mail.password')).toMatchObject({ secret: true, value: false, next: true });
  const { error } = await change({ set: { 'log.files': 0 } });
  expect(error).toMatchObject({ code: 'invalid_request', param: 'log.files' });
  await change({ reset: ['log.files', 'mail.password'] });
  expect(await one('log.files')).toMatchObject({ pending: false });
  const { items } = await appliance.operator('/api/audit?action=settings.change');
  const ours = items.filter(({ after }: { after: object }) => 'log.files' in after);
  expect(ours.map(({ after }: { after: object }) => after)).toEqual([
    { 'log.files': 7, 'mail.password': null },
    { 'log.files': 14, 'mail.password': '(set)' },
  ]);
  expect(JSON.stringify(items)).not.toContain('canary');
});
describe('D8: sessions of the console', () => {
  const open = (proof: string) =>
    fetch(`${appliance.operatorUrl}/api/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ proof }),
    });

  test('a link opens one, once; it does what the token does', async () => {
    const { url } = await appliance.operator('/api/session/links', 'POST');
    const opened = await open(url.split('/').at(-1));
    const { token } = (await opened.json()) as { token: string };
    expect((await open(url.split('/').at(-1))).status).toBe(401);
    const host = `127.0.0.1:${port}`;
    expect((await ask('/api/status', { host, authorization: `Bearer ${token}` })).status).toBe(200);
    expect((await ask('/api/status', { host, authorization: `Bearer ${token}x` })).status).toBe(401);
    const socket = new WebSocket(`ws://${host}/api/live`, ['kilnhouse', `token.${token}`]);
    await new Promise((resolve) => socket.once('message', resolve));
    expect(socket.protocol, 'what is secret is not said back').toBe('kilnhouse');
    socket.close();
  });

  test('npm run console prints a link, or says that nothing runs', async () => {
    const program = fileURLToPath(new URL('../server/console-main.ts', import.meta.url));
    const print = (folder: string): string =>
      execFileSync(process.execPath, [program], {
        env: { PATH: process.env['PATH'], KILNHOUSE_DATA: folder },
        encoding: 'utf8',
        stdio: 'pipe',
      });
    const [code] = /(?<=#\/enter\/)[\w-]+/.exec(print(appliance.folder)) ?? [];
    expect((await open(code ?? '')).status).toBe(201);
    expect(() => print(mkdtempSync(join(tmpdir(), 'kilnhouse-none-')))).toThrow('npm start');
  });

  test('the door is shut to other hosts and pages as everything else is', async () => {
    const link = {
      'content-type': 'application/json',
      origin: 'https://evil.test',
      host: `127.0.0.1:${port}`,
    };
    expect((await ask('/api/session', link, 'POST')).status).toBe(403);
    expect((await ask('/', { host: 'evil.test' })).status).toBe(421);
    expect((await ask('/assets/none.js', { host: `127.0.0.1:${port}` })).status).toBe(401);
    expect((await ask('/assets/%2e%2e/%2e%2e/package.json', { host: `127.0.0.1:${port}` })).status).toBe(401);
  });
});

describe('what the console asks for', () => {
  test('the machine: what is on it, what it did lately, what was used', async () => {
    const comfy = join(appliance.folder, 'pictures', 'ComfyUI');
    for (const name of ['comfy', 'main.py', 'nodes.py']) mkdirSync(join(comfy, name), { recursive: true });
    expect(await appliance.operator('/api/found')).toMatchObject({
      installs: [{ kind: 'comfyui', path: comfy, usable: false }],
      modelsFolder: join(appliance.folder, 'models'),
    });
    await (await appliance.post('/generate-text', { prompt: 'hello', model: 'demo-chat-3b' })).json();
    const { minutes } = await appliance.operator('/api/traffic');
    expect(minutes).toHaveLength(60);
    const sum = (of: 'requests' | 'tokens'): number =>
      minutes.reduce((total: number, minute: Record<string, number>) => total + (minute[of] ?? 0), 0);
    expect([sum('requests') > 0, sum('tokens') > 0]).toEqual([true, true]);
    const { samples } = await appliance.operator('/api/telemetry');
    expect(samples.at(-1)).toMatchObject({ usedBytes: expect.any(Number) });
    const usage = await appliance.operator('/api/usage?days=7');
    expect(usage.byTenant).toContainEqual(expect.objectContaining({ name: 'demo' }));
    expect(await appliance.operator('/api/usage?tenant=nobody')).toMatchObject({
      totals: { requests: 0 },
      byDay: [],
    });
    expect(await appliance.operator('/api/webhooks')).toEqual([]);
  });

  test('one real text and one real picture; a model that is none is named', async () => {
    expect(
      await appliance.operator('/api/try', 'POST', { kind: 'text', model: 'demo-chat-3b' }),
    ).toMatchObject({
      model: 'demo-chat-3b',
      text: expect.stringContaining('demo stand-in'),
      image: null,
    });
    const { image } = await appliance.operator('/api/try', 'POST', { kind: 'image' });
    expect(Buffer.from(image.split(',')[1], 'base64').subarray(1, 4).toString()).toBe('PNG');
    const refused = await appliance.operator('/api/try', 'POST', { kind: 'image', model: 'demo-chat-3b' });
    expect(refused.error).toMatchObject({ code: 'model_not_found' });
  });

  test('downloads are refused with what is wrong', async () => {
    const start = (body: object) => appliance.operator('/api/downloads', 'POST', body);
    expect((await start({ kind: 'gguf', url: 'http://192.0.2.1/a.gguf' })).error).toMatchObject({
      param: 'url',
    });
    expect((await start({ kind: 'gguf', url: 'https://192.0.2.1/a.gguf', sha256: 'x' })).error).toMatchObject(
      {
        param: 'sha256',
      },
    );
    expect(
      (await start({ kind: 'checkpoint', url: 'https://192.0.2.1/a.safetensors' })).error.message,
    ).toContain('webui.folder');
    expect(await appliance.operator('/api/downloads')).toEqual([]);
  });

  test('a checkpoint that is put into the folder is there by itself, and leaves likewise', async () => {
    const checkpoints = mkdtempSync(join(tmpdir(), 'kilnhouse-checkpoints-'));
    const own = await TestAppliance.start({ config: { webui: { checkpointsFolder: checkpoints } } });
    // Where the stand-in looks.
    symlinkSync(checkpoints, join(own.folder, 'demo', 'checkpoints'));
    await own.ready();
    const isThere = async (): Promise<boolean> =>
      (await own.operator('/api/models')).some(({ id }: { id: string }) => id === 'my-own');
    expect(await isThere()).toBe(false);
    writeFileSync(join(checkpoints, 'my-own.safetensors'), 'weights');
    await own.until(isThere, 10_000);
    rmSync(join(checkpoints, 'my-own.safetensors'));
    await own.until(async () => !(await isThere()), 10_000);
    await own.stop();
  });

  test('pins and defaults outlive the process', async () => {
    await appliance.operator('/api/models/demo-chat-3b/pin', 'POST');
    await appliance.operator('/api/models/demo-chat-3b/default', 'POST');
    const refused = await appliance.operator('/api/models/demo-embed/default', 'POST');
    expect(refused.error).toMatchObject({ code: 'conflict' });
    const kept = JSON.parse(readFileSync(join(appliance.folder, 'config.json'), 'utf8')) as {
      scheduler: object;
    };
    expect(kept.scheduler).toEqual({ pinned: ['demo-chat-3b'], defaultText: 'demo-chat-3b' });
    await appliance.operator('/api/settings', 'PATCH', {
      reset: ['scheduler.pinned', 'scheduler.defaultText'],
    });
    const models: { id: string; pinned: boolean }[] = await appliance.operator('/api/models');
    expect(models.filter(({ pinned }) => pinned)).toEqual([]);
  });

  test('D3: a pin says what it blocks, before and after; what it blocks is marked and cannot be the default', async () => {
    const refusedByPin = async (): Promise<unknown> =>
      Object.fromEntries(
        (await appliance.operator('/api/models'))
          .filter(({ blockedByPins }: { blockedByPins: string[] }) => blockedByPins.length > 0)
          .map(({ id, blockedByPins }: { id: string; blockedByPins: string[] }) => [id, blockedByPins]),
      );
    expect(await refusedByPin()).toEqual({});
    const before: { blocks: string[] } = await appliance.operator('/api/models/demo-chat-3b/pin');
    expect(before.blocks).toContain('demo-chat-8b');
    const pinned = await appliance.operator('/api/models/demo-chat-3b/pin', 'POST');
    expect(pinned).toMatchObject({ done: true, message: expect.stringContaining('demo-chat-8b') });
    expect(pinned.blocks).toEqual(before.blocks);
    expect(await refusedByPin()).toEqual(
      Object.fromEntries(before.blocks.map((id) => [id, ['demo-chat-3b']])),
    );
    for (const refused of [
      await appliance.operator('/api/models/demo-chat-8b/default', 'POST'),
      await appliance.operator('/api/settings', 'PATCH', {
        set: { 'scheduler.defaultText': 'demo-chat-8b' },
      }),
    ])
      expect(refused.error).toMatchObject({
        code: 'invalid_request',
        param: 'scheduler.defaultText',
        message: expect.stringContaining('pinned'),
      });
    const second = await appliance.operator('/api/models/demo-chat-8b/pin', 'POST');
    expect(second.error).toMatchObject({ code: 'invalid_request', param: 'scheduler.pinned' });
    expect(await appliance.operator('/api/models/demo-chat-3b/unpin', 'POST')).toMatchObject({ done: true });
    expect(await refusedByPin()).toEqual({});
    await appliance.operator('/api/settings', 'PATCH', { reset: ['scheduler.pinned'] });
  });

  test('it starts anew where somebody starts it again, and says so where nobody would', async () => {
    expect((await appliance.operator('/api/restart', 'POST')).error).toMatchObject({ code: 'conflict' });
    const other = await TestAppliance.start({ env: { KILNHOUSE_RESTARTS: '1' } });
    expect(await other.operator('/api/restart', 'POST')).toMatchObject({ done: true });
    await other.ended();
    expect(other.process.exitCode).toBe(75);
  });
});

test('paused until a game has ended, or for a time: it serves again by itself', async () => {
  const game = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)']);
  const mode = async () => (await appliance.operator('/api/pause')).mode;
  await appliance.operator('/api/pause', 'POST', { whileProcess: game.pid });
  expect(await appliance.operator('/api/pause')).toMatchObject({
    mode: 'paused',
    pid: game.pid,
    until: null,
  });
  game.kill('SIGKILL');
  await appliance.until(async () => (await mode()) === 'running', 10_000);
  const before = Date.now();
  await appliance.operator('/api/pause', 'POST', { unload: false, minutes: 60 });
  expect((await appliance.operator('/api/pause')).until).toBeGreaterThanOrEqual(before + 3_600_000);
  await appliance.operator('/api/resume', 'POST');
  expect(await appliance.operator('/api/pause')).toEqual({
    mode: 'running',
    since: null,
    until: null,
    pid: null,
  });
  for (const body of [{ whileProcess: 2 ** 30 }, { whileProcess: 1, minutes: 1 }, { minutes: 0 }])
    expect((await appliance.operator('/api/pause', 'POST', body)).error.code).toBe('invalid_request');
  expect(await mode()).toBe('running');
});

test('D7: diagnostics hold what helps, and no secret', async () => {
  const secrets = [appliance.token, appliance.key, 'canary-of-the-mail'];
  await appliance.operator('/api/settings', 'PATCH', { set: { 'mail.password': 'canary-of-the-mail' } });
  const response = await fetch(`${appliance.operatorUrl}/api/diagnostics`, {
    headers: { authorization: `Bearer ${appliance.token}` },
  });
  expect(response.headers.get('content-type')).toBe('application/zip');
  const file = join(appliance.folder, 'diagnostics.zip');
  writeFileSync(file, Buffer.from(await response.arrayBuffer()));
  const read =
    'import zipfile,sys,json; z=zipfile.ZipFile(sys.argv[1]); print(json.dumps({n: z.read(n).decode() for n in z.namelist()}))';
  const files = JSON.parse(
    execFileSync('python3', ['-c', read, file], { encoding: 'utf8', maxBuffer: 2 ** 28 }),
  );
  expect(Object.keys(files)).toEqual(
    expect.arrayContaining([
      'about.json',
      'settings.json',
      'state.json',
      'engines/lm-studio.json',
      'kilnhouse.log',
    ]),
  );
  expect(JSON.parse(files['about.json'])).toMatchObject({
    demo: true,
    database: { sqlite: expect.any(String) },
  });
  for (const secret of secrets) expect(JSON.stringify(files)).not.toContain(secret);
  await appliance.operator('/api/settings', 'PATCH', { reset: ['mail.password'] });
});

test('what fits beside what: the demonstration’s large picture model leaves room for none, a small one for a small text', async () => {
  const fit: { id: string; fits: boolean; beside: string[] }[] = await appliance.operator('/api/models/fit');
  const of = (id: string) => fit.find((one) => one.id === id);
  expect(of('demo-chat-3b')?.beside).toContain('demo-sd15');
  expect(of('demo-sd15')?.beside).not.toContain('demo-xl');
  for (const { id, beside } of fit) for (const other of beside) expect(of(other)?.beside).toContain(id);
});
