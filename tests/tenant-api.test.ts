import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { TestAppliance } from './appliance.ts';

/* Bad input, limits and disconnects, over real sockets against the whole appliance. */
const keys = {
  big: 'kh_tenant-with-big-limits',
  slow: 'kh_tenant-with-few-requests',
  narrow: 'kh_tenant-with-one-at-a-time',
  limited: 'kh_tenant-with-one-model-only',
  off: 'kh_tenant-that-is-disabled',
  old: 'kh_tenant-that-has-expired',
  open: 'kh_tenant-that-may-see-more',
};
const tenants = {
  [keys.big]: { name: 'big', plan: 'enterprise' },
  [keys.slow]: { name: 'slow', plan: 'free', limits: { requestsPerMinute: 2 } },
  [keys.narrow]: {
    name: 'narrow',
    plan: 'free',
    limits: { requestsPerMinute: 1000, concurrent: 1, queued: 0 },
  },
  [keys.limited]: {
    name: 'limited',
    plan: 'pro',
    models: ['demo-chat-*'],
    blockedPhrases: ['rival product'],
  },
  [keys.off]: { name: 'off', plan: 'pro', disabled: true },
  [keys.old]: { name: 'old', plan: 'pro', expires: '2020-01-01T00:00:00Z' },
  [keys.open]: { name: 'open', plan: 'pro', allowNSFW: true },
};
const chat = { model: 'demo-chat-3b', messages: [{ role: 'user', content: 'hello' }] };
let appliance: TestAppliance;

beforeAll(async () => {
  appliance = await TestAppliance.start({ tenants, speed: 20 });
  await appliance.ready();
  expect((await post('/v1/chat/completions', chat)).status).toBe(200);
});
afterAll(() => appliance.stop());

function post(
  path: string,
  body: unknown,
  key = keys.big,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(appliance.tenantUrl + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

async function errorOf(response: Response): Promise<{
  code: string;
  message: string;
  param: string | null;
  type: string;
  side: string;
  request_id: string;
}> {
  return ((await response.json()) as { error: never }).error;
}

async function running(): Promise<number> {
  const models: { running: number; waiting: number }[] = await appliance.operator('/api/models');
  return models.reduce((sum, model) => sum + model.running + model.waiting, 0);
}

describe('who comes in', () => {
  test.each([
    ['no key', undefined, 401, 'missing_api_key'],
    ['an empty one', 'Bearer ', 401, 'missing_api_key'],
    ['another scheme', 'Basic abc', 401, 'missing_api_key'],
    ['a wrong key', 'Bearer kh_wrong', 401, 'invalid_api_key'],
    ['a key as long as a book', `Bearer ${'k'.repeat(5_000)}`, 401, 'invalid_api_key'],
    ['SQL', "Bearer ' or 1=1 --", 401, 'invalid_api_key'],
    ['a disabled tenant', `Bearer ${keys.off}`, 403, 'tenant_disabled'],
    ['an expired key', `Bearer ${keys.old}`, 401, 'invalid_api_key'],
  ])('%s', async (_, authorization, status, code) => {
    const response = await fetch(`${appliance.tenantUrl}/v1/models`, {
      headers: authorization === undefined ? {} : { authorization },
    });
    expect([response.status, (await errorOf(response)).code]).toEqual([status, code]);
  });

  test('the key also comes as x-api-key, and never from the address', async () => {
    const get = (path: string, headers = {}) => fetch(appliance.tenantUrl + path, { headers });
    expect((await get('/v1/models', { 'x-api-key': keys.big })).status).toBe(200);
    expect((await get(`/v1/models?api_key=${keys.big}&key=${keys.big}`)).status).toBe(401);
  });

  test('A1: a key that is taken out of the file is refused, and its running stream ends within a second', async () => {
    const stream = await post(
      '/v1/chat/completions',
      { ...chat, stream: true, max_tokens: 400, messages: [{ role: 'user', content: 'word '.repeat(300) }] },
      keys.open,
    );
    appliance.faults('hang_mid_stream');
    const reading = stream.text();
    const { [keys.open]: _, ...rest } = tenants;
    writeFileSync(join(appliance.folder, 'tenants.json'), JSON.stringify(rest));
    await vi.waitFor(
      async () => expect((await post('/v1/chat/completions', chat, keys.open)).status).toBe(401),
      { interval: 10 },
    );
    // The engine hangs, so nothing but the key's end ends it before the test's own time is over.
    await reading.catch(() => undefined);
    appliance.faults('');
    writeFileSync(join(appliance.folder, 'tenants.json'), JSON.stringify(tenants));
    await vi.waitFor(async () => expect((await appliance.get('/v1/models', keys.open)).status).toBe(200), {
      timeout: 2_000,
    });
  });
});

describe('what is asked', () => {
  test.each<[string, unknown, string | null]>([
    ['not JSON', '{"model":', null],
    ['empty', '', null],
    ['a list', [], null],
    ['a text', '"x"', null],
    ['no messages', { model: 'demo-chat-3b' }, 'messages'],
    ['empty messages', { ...chat, messages: [] }, 'messages'],
    ['messages as text', { ...chat, messages: 'hello' }, 'messages'],
    ['a wrong type', { ...chat, temperature: 'hot' }, 'temperature'],
    ['out of range', { ...chat, temperature: 3 }, 'temperature'],
    ['tokens below one', { ...chat, max_tokens: 0 }, 'max_tokens'],
    ['two answers', { ...chat, n: 2 }, 'n'],
    ['something that cannot be had', { ...chat, web_search_options: {} }, 'web_search_options'],
    ['__proto__', '{"model":"m","messages":[{"role":"user"}],"__proto__":{"admin":true}}', null],
    ['deep nesting', `{"model":"m","messages":[${'['.repeat(100)}${']'.repeat(100)}]}`, null],
    ['very deep nesting', '['.repeat(200_000), null],
  ])('a chat: %s is refused with its place', async (_, body, param) => {
    const response = await post('/v1/chat/completions', body);
    expect(response.status).toBe(400);
    const error = await errorOf(response);
    expect(error).toMatchObject({
      type: 'invalid_request_error',
      code: 'invalid_request',
      side: 'client',
      param,
    });
    expect(response.headers.get('x-request-id')).toBe(error.request_id);
  });

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', 'text/html'])(
    'F43: a body of the type %s is refused',
    async (type) => {
      expect((await post('/v1/chat/completions', chat, keys.big, { 'content-type': type })).status).toBe(415);
    },
  );

  test('F35: a body beyond the limit is refused while it arrives', async () => {
    const response = await post('/v1/chat/completions', `{"model":"${'x'.repeat(33 * 1024 * 1024)}"}`).catch(
      () => null,
    );
    // Whoever goes on sending may see the connection end before the answer.
    if (response)
      expect([response.status, (await errorOf(response)).code]).toEqual([413, 'payload_too_large']);
    expect((await appliance.get('/v1/models', keys.big)).status).toBe(200);
  });

  test.each([
    ['GET', '/nowhere', 404, 'not_found'],
    ['POST', '/V1/chat/completions', 404, 'not_found'],
    ['GET', '/v1/chat/completions', 405, 'method_not_allowed'],
    ['DELETE', '/v1/models', 405, 'method_not_allowed'],
    ['GET', '/images/../../etc/passwd', 404, 'not_found'],
    ['GET', '/docs/%2e%2e/%2e%2e/package.json', 404, 'not_found'],
  ])('%s %s: %i', async (method, path, status, code) => {
    const response = await fetch(appliance.tenantUrl + path, {
      method,
      headers: { authorization: `Bearer ${keys.big}` },
    });
    expect([response.status, (await errorOf(response)).code]).toEqual([status, code]);
    if (status === 405) expect(response.headers.get('allow')).toMatch(/GET|POST/);
  });

  test('an unknown model names the known ones; one that is too big or of another kind says so', async () => {
    const ask = async (model: string) => errorOf(await post('/v1/chat/completions', { ...chat, model }));
    expect(await ask('gpt-9')).toMatchObject({
      code: 'model_not_found',
      message: expect.stringContaining('demo-chat-8b'),
    });
    expect(await ask('demo-chat-70b')).toMatchObject({
      code: 'model_infeasible',
      message: expect.stringContaining('too large for this card'),
    });
    expect(await ask('demo-sd15')).toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining('image'),
    });
  });

  test('a model outside the plan is refused, and not listed', async () => {
    const response = await post('/generate-image', { prompt: 'x' }, keys.limited);
    expect([response.status, (await errorOf(response)).code]).toEqual([403, 'model_not_in_plan']);
    const { data } = (await (await appliance.get('/v1/models', keys.limited)).json()) as {
      data: { id: string }[];
    };
    expect(data.every(({ id }) => id.startsWith('demo-chat-'))).toBe(true);
  });

  test.each([
    [{ width: 63 }, 'width'],
    [{ width: 500, height: 100 }, 'width'],
    [{ height: 4_096 }, 'height'],
    [{ steps: 0 }, 'steps'],
    [{ steps: 101 }, 'steps'],
    [{ guidance: 99 }, 'guidance'],
    [{ seed: 1.5 }, 'seed'],
    [{ format: 'jpeg' }, 'format'],
    [{ prompt: '' }, 'prompt'],
    [{ prompt: 'x'.repeat(9_000) }, 'prompt'],
  ])('an image with %j is refused', async (change, param) => {
    const response = await post('/generate-image', { prompt: 'x', model: 'demo-sd15', ...change });
    expect(response.status).toBe(400);
    expect((await errorOf(response)).param).toBe(param);
  });

  test.each([['0x0'], ['512'], ['1x1'], ['9999x9999'], ['70x50']])('the size %s is refused', async (size) => {
    expect((await post('/v1/images/generations', { prompt: 'x', size })).status).toBe(400);
  });
});

describe('uploaded pictures', () => {
  async function edit(parts: Record<string, string | Buffer>): Promise<Response> {
    const form = new FormData();
    for (const [name, value] of Object.entries(parts)) {
      if (typeof value === 'string') form.set(name, value);
      else form.set(name, new File([new Uint8Array(value)], `${name}.png`, { type: 'image/png' }));
    }
    return fetch(`${appliance.tenantUrl}/v1/images/edits`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.big}` },
      body: form,
    });
  }
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: 'red' } })
    .png()
    .toBuffer();

  /** The head of a PNG that claims an absurd size, and nothing behind it. */
  function bomb(width: number, height: number): Buffer {
    const head = Buffer.from(
      '89504e470d0a1a0a0000000d49484452000000000000000008060000000000000049454e44ae426082',
      'hex',
    );
    head.writeUInt32BE(width, 16);
    head.writeUInt32BE(height, 20);
    return head;
  }

  test.each<[string, () => Promise<Record<string, string | Buffer>>, number]>([
    ['no image', async () => ({ prompt: 'x' }), 400],
    ['no prompt', async () => ({ image: await picture }), 400],
    ['a text as the image', async () => ({ prompt: 'x', image: Buffer.from('this is no picture') }), 400],
    ['F37: an image bomb', async () => ({ prompt: 'x', image: bomb(64_250, 64_250) }), 400],
    [
      'F37: an SVG with an entity',
      async () => ({
        prompt: 'x',
        image: Buffer.from(
          '<!DOCTYPE s [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg">&e;</svg>',
        ),
      }),
      400,
    ],
    ['half a picture', async () => ({ prompt: 'x', image: (await picture).subarray(0, 60) }), 400],
    [
      'a text as the mask',
      async () => ({ prompt: 'x', image: await picture, mask: Buffer.from('no mask') }),
      400,
    ],
    ['an unknown file', async () => ({ prompt: 'x', image: await picture, colour: await picture }), 400],
    ['a count that is no number', async () => ({ prompt: 'x', image: await picture, n: 'many' }), 400],
    ['a file that is too large', async () => ({ prompt: 'x', image: Buffer.alloc(17 * 1024 * 1024) }), 413],
  ])('%s is refused', async (_, parts, status) => {
    const response = await edit(await parts());
    expect([response.status, (await errorOf(response)).side]).toEqual([status, 'client']);
  });

  test('a form sent as JSON is told so', async () => {
    expect((await post('/v1/images/edits', { prompt: 'x' })).status).toBe(415);
  });
});

describe('what may be said', () => {
  const shown = { model: 'demo-chat-3b' };
  const bodies: [string, string, (text: string) => unknown][] = [
    ['chat', '/v1/chat/completions', (text) => ({ ...shown, messages: [{ role: 'user', content: text }] })],
    [
      'chat in parts',
      '/v1/chat/completions',
      (text) => ({ ...shown, messages: [{ role: 'user', content: [{ type: 'text', text }] }] }),
    ],
    [
      'chat in a tool',
      '/v1/chat/completions',
      (text) => ({ ...chat, tools: [{ type: 'function', function: { name: 'x', description: text } }] }),
    ],
    ['completion', '/v1/completions', (text) => ({ ...shown, prompt: text })],
    ['embedding', '/v1/embeddings', (text) => ({ model: 'demo-embed', input: ['fine', text] })],
    ['image', '/v1/images/generations', (text) => ({ prompt: text })],
    ['negative prompt', '/v1/images/generations', (text) => ({ prompt: 'x', negative_prompt: text })],
    ['generate-text', '/generate-text', (text) => ({ prompt: text })],
    ['generate-text system', '/generate-text', (text) => ({ prompt: 'x', system: text })],
    ['generate-image', '/generate-image', (text) => ({ prompt: text })],
  ];

  test.each(bodies)('the filter holds on every road: %s', async (_, path, body) => {
    const response = await post(path, body('a N.U.D.E or nud3 portrait'));
    expect([response.status, (await errorOf(response)).code]).toEqual([400, 'content_policy_violation']);
  });

  test('who may, may', async () => {
    expect(
      (await post('/generate-text', { prompt: 'a nude portrait', model: 'demo-chat-3b' }, keys.open)).status,
    ).toBe(200);
  });

  test('a tenant’s own list holds for it alone', async () => {
    const prompt = { prompt: 'compare with Rival   PRODUCT', model: 'demo-chat-3b' };
    expect((await post('/generate-text', prompt, keys.limited)).status).toBe(400);
    expect((await post('/generate-text', prompt)).status).toBe(200);
  });
});

describe('limits', () => {
  test('over the rate: 429 with the limit’s name, Retry-After and the headers of OpenAI', async () => {
    const ask = () => post('/generate-text', { prompt: 'x', model: 'demo-chat-3b' }, keys.slow);
    const first = await ask();
    expect(first.headers.get('x-ratelimit-limit-requests')).toBe('2');
    expect(first.headers.get('x-ratelimit-remaining-requests')).toBe('1');
    await ask();
    const third = await ask();
    expect(third.status).toBe(429);
    expect(Number(third.headers.get('retry-after'))).toBeGreaterThan(0);
    const error = await errorOf(third);
    expect(error).toMatchObject({ code: 'rate_limit_exceeded', type: 'rate_limit_error', side: 'appliance' });
    expect(error.message).toContain('limit: requests');
    const { data } = (await (await appliance.get('/api/v1/rate-limit', keys.slow)).json()) as {
      data: { requestsPerMinute: object };
    };
    expect(data.requestsPerMinute).toMatchObject({ limit: 2, remaining: 0 });
  });

  test('over the concurrency: 429, and room again when one ends', async () => {
    appliance.faults('hang_mid_stream');
    const abort = new AbortController();
    const held = await fetch(`${appliance.tenantUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.narrow}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...chat, stream: true }),
      signal: abort.signal,
    });
    held.text().catch(() => undefined);
    const refused = await post('/v1/chat/completions', chat, keys.narrow);
    expect([refused.status, (await errorOf(refused)).code]).toEqual([429, 'concurrency_exceeded']);
    appliance.faults('');
    abort.abort();
    await vi.waitFor(
      async () => expect((await post('/v1/chat/completions', chat, keys.narrow)).status).toBe(200),
      { timeout: 3_000, interval: 50 },
    );
  });

  test('usage is counted by tenant, and says what failed', async () => {
    const { data } = (await (await appliance.get('/api/v1/usage?days=1', keys.slow)).json()) as {
      data: { totals: object; byDay: object[]; byModel: { name: string; requests: number }[] };
    };
    expect(data.totals).toMatchObject({ requests: 3, failed: 1 });
    expect(data.totals).toMatchObject({ succeeded: 2, successRate: 2 / 3 });
    // The one that was refused for the rate had not been read, so its model is not known.
    expect(data.byModel.map(({ name, requests }) => [name, requests])).toEqual([
      ['demo-chat-3b', 2],
      ['', 1],
    ]);
    expect(data.byDay).toHaveLength(1);
    expect((await appliance.get('/api/v1/usage?days=9999', keys.slow)).status).toBe(400);
  });
});

describe('S1: who hangs up frees the slot', () => {
  const requests: [string, string, object][] = [
    ['a stream', '/v1/chat/completions', { ...chat, stream: true }],
    ['a whole answer', '/v1/chat/completions', chat],
    [
      'an image',
      '/generate-image',
      { prompt: 'x', model: 'demo-sd15', steps: 100, width: 1024, height: 1024 },
    ],
  ];
  test.each(requests)('%s', async (_, path, body) => {
    if (path.includes('chat')) appliance.faults('latency=60000');
    const abort = new AbortController();
    const asked = fetch(appliance.tenantUrl + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.big}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: abort.signal,
    });
    asked.catch(() => undefined);
    await appliance.until(
      async () => (await appliance.operator('/api/models')).some((m: { running: number }) => m.running > 0),
      20_000,
    );
    abort.abort();
    await appliance.until(async () => (await running()) === 0);
    appliance.faults('');
  });

  test('in the queue', async () => {
    await appliance.operator('/api/pause', 'POST', { unload: false });
    const abort = new AbortController();
    const asked = appliance.post('/v1/chat/completions', chat, { signal: abort.signal });
    asked.catch(() => undefined);
    await appliance.until(async () => (await appliance.operator('/api/queue')).length === 1);
    abort.abort();
    await appliance.until(async () => (await appliance.operator('/api/queue')).length === 0, 1_000);
    await appliance.operator('/api/resume', 'POST');
  });

  test('with half a request sent', async () => {
    const socket = connect(Number(new URL(appliance.tenantUrl).port), '127.0.0.1');
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${keys.big}\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"model"`,
    );
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.destroy();
    expect((await appliance.get('/health')).status).toBe(200);
  });
});

test('S4: a client that waits hears where it stands, and the stream then passes', async () => {
  await appliance.operator('/api/pause', 'POST', { unload: false });
  const response = await post('/v1/chat/completions', { ...chat, stream: true });
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  expect(response.headers.get('x-accel-buffering')).toBe('no');
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const { value } = await reader.read();
  expect(value).toBe(': queued position=1 reason=paused\n\n');
  await appliance.operator('/api/resume', 'POST');
  let rest = '';
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) rest += piece.value;
  expect(rest.endsWith('data: [DONE]\n\n')).toBe(true);
});

test('S2: a reader of a thousand bytes a second costs bounded memory, and gets every byte', async () => {
  const port = Number(new URL(appliance.tenantUrl).port);
  const body = JSON.stringify({
    ...chat,
    stream: true,
    max_tokens: 200,
    messages: [{ role: 'user', content: 'a b c d e f g h i j' }],
  });
  const socket = connect({ port, host: '127.0.0.1' });
  socket.pause();
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${keys.big}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await appliance.until(async () => (await running()) === 0, 10_000, 200);
  let received = '';
  socket.setEncoding('utf8').on('data', (piece: string) => (received += piece));
  socket.resume();
  await vi.waitFor(() => expect(received).toContain('[DONE]'), { timeout: 10_000 });
});

test('paused: interactive work is turned away with a time to come back, models leave, and all returns', async () => {
  await appliance.operator('/api/pause', 'POST', { unload: true });
  const response = await post('/v1/chat/completions', chat);
  expect([response.status, (await errorOf(response)).code]).toEqual([503, 'paused']);
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await appliance.get('/ready')).status).toBe(503);
  await appliance.until(async () => (await appliance.operator('/api/status')).gpu.reservedBytes === 0);
  await appliance.operator('/api/resume', 'POST');
  expect((await post('/v1/chat/completions', chat)).status).toBe(200);
});

test('paused, with what runs ended: a chat is told so, and a job goes on when the pause is over', async () => {
  const atWork = async (): Promise<number> => {
    const models: { running: number }[] = await appliance.operator('/api/models');
    return models.reduce((sum, model) => sum + model.running, 0);
  };
  const asked = { ...chat, model: 'demo-chat-3b' };
  appliance.faults('hang_first_byte');
  const made = await appliance.call('POST', '/api/v1/inference', { as: keys.big, body: asked });
  const job = async () =>
    (await appliance.operator(`/api/jobs/${made.data.id}`)).job as {
      state: string;
      engineFailures: number;
    };
  await appliance.until(async () => (await job()).state === 'processing' && (await atWork()) === 1);
  await appliance.operator('/api/pause', 'POST', { stop: true, unload: false });
  // It goes back to its place and waits there.
  await appliance.until(async () => (await atWork()) === 0);
  expect(await job()).toMatchObject({ engineFailures: 0 });
  await appliance.operator('/api/resume', 'POST');
  await appliance.until(async () => (await atWork()) === 1);
  const chatting = post('/v1/chat/completions', asked, keys.open);
  await appliance.until(async () => (await atWork()) === 2);
  await appliance.operator('/api/pause', 'POST', { stop: true, unload: false });
  const response = await chatting;
  expect([response.status, (await errorOf(response)).code]).toEqual([503, 'paused']);
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
  appliance.faults('');
  await appliance.operator('/api/resume', 'POST');
  await appliance.until(async () => (await job()).state === 'succeeded');
  expect(await job()).toMatchObject({ engineFailures: 0 });
});

test('two models that do not fit together take turns, and everyone is served', async () => {
  const chats = Array.from({ length: 12 }, (_, i) =>
    post('/v1/chat/completions', { ...chat, model: 'demo-chat-8b' }, i % 2 ? keys.big : keys.open),
  );
  const images = Array.from({ length: 4 }, (_, seed) =>
    post('/generate-image', { prompt: 'x', model: 'demo-sd15', width: 256, height: 256, steps: 4, seed }),
  );
  const answers = await Promise.all([...chats, ...images]);
  expect(answers.map(({ status }) => status)).toEqual(Array(16).fill(200));
  const status = await appliance.operator('/api/status');
  expect(status.gpu.reservedBytes).toBeLessThanOrEqual(status.gpu.budgetBytes);
});

test('what the GPU did for it is counted for every kind of request', async () => {
  const image = { prompt: 'x', model: 'demo-sd15', width: 64, height: 64, steps: 2 };
  for (const [path, body] of [
    ['/v1/chat/completions', chat],
    ['/v1/chat/completions', { ...chat, model: 'demo-chat-8b', stream: true }],
    ['/v1/embeddings', { model: 'demo-embed', input: 'hello' }],
    ['/generate-image', image],
  ] as const)
    await (await post(path, body, keys.open)).arrayBuffer();
  const { data } = (await (await appliance.get('/api/v1/usage', keys.open)).json()) as {
    data: { byModel: { name: string; gpuSeconds: number }[] };
  };
  const seconds = Object.fromEntries(data.byModel.map(({ name, gpuSeconds }) => [name, gpuSeconds]));
  for (const model of ['demo-chat-3b', 'demo-chat-8b', 'demo-embed', 'demo-sd15'])
    expect(seconds[model], model).toBeGreaterThan(0);
});

test('the API describes itself, and its pages open without a key', async () => {
  const document = (await (await fetch(`${appliance.tenantUrl}/openapi.json`)).json()) as { paths: object };
  expect(Object.keys(document.paths)).toEqual(
    expect.arrayContaining([
      '/v1/chat/completions',
      '/v1/images/edits',
      '/generate-text',
      '/api/v1/usage',
      '/health',
    ]),
  );
  const page = await fetch(`${appliance.tenantUrl}/docs`);
  expect(page.status).toBe(200);
  expect(page.headers.get('content-security-policy')).toBe(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  );
});
