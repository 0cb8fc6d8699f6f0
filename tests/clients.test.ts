import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';

/* What programs written for OpenAI, Azure, LM Studio or llama.cpp send, byte by byte, against the whole appliance. */
let appliance: TestAppliance;

beforeAll(async () => {
  appliance = await TestAppliance.start({ speed: 50 });
  await appliance.ready();
});
afterAll(() => appliance.stop());

const chat = { model: 'demo-chat-3b', messages: [{ role: 'user', content: 'hello' }], max_tokens: 4 };
const image = { model: 'demo-sd15', prompt: 'a boat', size: '64x64', steps: 2 };
const ignoredHeader = 'x-kilnhouse-ignored-fields';

function post(path: string, body: unknown, headers: Record<string, string> = {}) {
  return appliance.call('POST', path, { as: appliance.key, body, headers });
}

describe('fields', () => {
  test('cases 7 and 8: what has no effect is taken and named; it does not reach the engine', async () => {
    const more = { ttl: 60, keep_alive: -1, prompt_cache_retention: '24h', user: null };
    const answer = await post('/v1/chat/completions', { ...chat, ...more });
    expect([answer.status, answer.headers.get(ignoredHeader)]).toEqual([
      200,
      'ttl, keep_alive, prompt_cache_retention',
    ]);
    const streamed = await post('/v1/chat/completions', { ...chat, ...more, stream: true });
    expect(streamed.headers.get(ignoredHeader)).toContain('ttl');
    expect((await post('/v1/chat/completions', chat)).headers.get(ignoredHeader)).toBeNull();
  });

  test('T3: routes of the platform refuse what they do not know', async () => {
    const answer = await post('/api/v1/inference', { ...chat, ttl: 60 });
    expect([answer.status, answer.message]).toEqual([400, 'Unknown parameter: "ttl".']);
    expect((await post('/generate-text', { prompt: 'x', ttl: 1 })).status).toBe(400);
  });

  test('cases 8, 9, 11: a job takes the same names, null and -1 as a chat', async () => {
    const more = { user: 'u', tools: null, max_tokens: -1, enable_thinking: false };
    const answer = await post('/api/v1/jobs/batch', {
      items: [{ feature: 'inference', input: { ...chat, ...more } }],
    });
    expect(answer.status, answer.text).toBe(202);
    expect((await post('/api/v1/inference', { ...chat, ...more })).status).toBe(202);
  });

  test('case 6: a list of one prompt', async () => {
    const answer = await post('/v1/completions', { model: 'demo-chat-3b', prompt: ['once'], max_tokens: 3 });
    expect(answer.json.choices[0].text).not.toBe('');
  });

  test('case 9: null on the simple routes', async () => {
    const answer = await post('/generate-text', {
      prompt: 'x',
      model: 'demo-chat-3b',
      system: null,
      maxTokens: null,
    });
    expect(answer.status).toBe(200);
  });

  test('a continuation is held against the policy with its suffix', async () => {
    const answer = await post('/v1/completions', {
      model: 'demo-chat-3b',
      prompt: 'a',
      suffix: 'nude portrait',
    });
    expect(answer.code).toBe('content_policy_violation');
  });

  test('values for a template are held against the policy', async () => {
    const answer = await post('/v1/chat/completions', {
      ...chat,
      chat_template_kwargs: { system: 'a nude portrait' },
    });
    expect(answer.code).toBe('content_policy_violation');
  });

  test.each(['?dry_run', '?dry_run=', '?dry_run=True', '?dry_run=1&api-version=2024-10-21'])(
    'only the price: %s',
    async (query) => {
      expect((await post(`/v1/chat/completions${query}`, chat)).json).toMatchObject({ dryRun: true });
    },
  );

  test('case 22: Azure’s api-version is taken; what may be a misspelt dry_run is not', async () => {
    expect((await post('/v1/chat/completions?api-version=2024-10-21', chat)).status).toBe(200);
    const answer = await post('/v1/chat/completions?dry-run=1', chat);
    expect([answer.status, answer.message]).toEqual([400, 'Unknown parameter: "dry-run".']);
    const unclear = await post('/v1/chat/completions?dry_run=maybe', chat);
    expect(unclear.message).toBe('"dry_run" must be 1 or true, 0 or false, or without a value.');
  });

  test('clients that name the type of a body they do not send are served', async () => {
    const job = (await post('/api/v1/inference', chat)).data.id;
    const headers = { 'content-type': 'application/json' };
    const cancelled = await appliance.call('POST', `/api/v1/jobs/${job}/cancel`, {
      as: appliance.key,
      headers,
    });
    expect(cancelled.status, cancelled.text).not.toBe(400);
  });
});

describe('case 17: pictures', () => {
  const decoded = async (base64: string) => sharp(Buffer.from(base64, 'base64')).metadata();

  test.each(['png', 'jpeg', 'webp'])('as %s, in the answer and behind a link', async (format) => {
    const body = {
      ...image,
      output_format: format,
      output_compression: 60,
      stream: false,
      partial_images: 0,
    };
    const { json } = await post('/v1/images/generations', { ...body, size: '64X64' });
    expect(json).toMatchObject({ output_format: format, size: '64x64', background: 'opaque' });
    expect(await decoded(json.data[0].b64_json)).toMatchObject({ format, width: 64 });
    const { url } = (await post('/v1/images/generations', { ...body, response_format: 'url' })).json.data[0];
    const file = await fetch(url);
    expect([file.status, file.headers.get('content-type')]).toEqual([200, `image/${format}`]);
    expect((await fetch(url.replace(`.${format}`, '.gif'))).status).toBe(403);
  });

  test('a stream or a transparent background cannot be had, and that is said', async () => {
    const stream = await post('/v1/images/generations', { ...image, stream: true });
    expect(stream.message).toMatch(/^"stream" must be false\. Pictures are not streamed here\./);
    const clear = await post('/v1/images/generations', { ...image, background: 'transparent' });
    expect(clear.message).toContain('opaque');
  });

  test('a form: mask[], empty fields, what has no effect', async () => {
    const picture = await sharp({ create: { width: 64, height: 64, channels: 4, background: '#00000000' } })
      .png()
      .toBuffer();
    const form = new FormData();
    for (const name of ['image[]', 'mask[]'])
      form.set(name, new File([new Uint8Array(picture)], 'a.png', { type: 'image/png' }));
    const fields = {
      prompt: 'x',
      model: 'demo-sd15',
      n: '',
      size: '',
      stream: 'false',
      quality: 'high',
      colour: 'red',
      steps: '2',
    };
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    const response = await fetch(`${appliance.tenantUrl}/v1/images/edits`, {
      method: 'POST',
      headers: { authorization: `Bearer ${appliance.key}` },
      body: form,
    });
    expect([response.status, response.headers.get(ignoredHeader)]).toEqual([200, 'quality, colour']);
  });
});
