import { AzureOpenAI } from 'openai';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';

/* What programs written for OpenAI, Azure, LM Studio or llama.cpp send, byte by byte, against the whole appliance. */
const page = 'app://obsidian.md';
let appliance: TestAppliance;

beforeAll(async () => {
  appliance = await TestAppliance.start({ speed: 50, config: { tenant: { origins: [page] } } });
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

/** Bodies of programs: the first six recorded, the others written to resemble what such programs send. */
const programs: [string, string, object, string | null][] = [
  [
    'AI SDK, openai-compatible, streamed',
    '/v1/chat/completions',
    { stream: true, stream_options: { include_usage: true } },
    null,
  ],
  [
    'AI SDK, openai, with its options',
    '/v1/chat/completions',
    {
      logprobs: true,
      top_logprobs: 0,
      user: 'u',
      parallel_tool_calls: false,
      verbosity: 'low',
      store: true,
      metadata: { a: 'b' },
      reasoning_effort: 'low',
      prompt_cache_key: 'x',
      prompt_cache_retention: '24h',
      safety_identifier: 's',
    },
    'user, verbosity, store, metadata, prompt_cache_key, prompt_cache_retention, safety_identifier',
  ],
  [
    'AI SDK, a completion',
    '/v1/completions',
    { prompt: 'user:\nhi\n\nassistant:\n', stop: ['\nuser:'] },
    null,
  ],
  ['LangChain, a completion', '/v1/completions', { prompt: ['2+2?'], n: 1, stream: false }, null],
  [
    'LangChain, a chat',
    '/v1/chat/completions',
    { stream: false, logprobs: true, top_logprobs: 2, stop: ['x'], top_k: 5, service_tier: 'auto' },
    'service_tier',
  ],
  [
    'LangChain, tools',
    '/v1/chat/completions',
    {
      stream: false,
      tool_choice: 'auto',
      tools: [
        {
          type: 'function',
          function: {
            name: 'w',
            strict: true,
            parameters: {
              type: 'object',
              properties: { c: { type: 'string' } },
              required: ['c'],
              additionalProperties: false,
            },
          },
        },
      ],
    },
    null,
  ],
  [
    'Continue, while one types',
    '/v1/completions',
    { prompt: 'const a = ', suffix: ';\n', stop: ['\n\n'], temperature: 0.01, stream: true },
    null,
  ],
  [
    'Cline',
    '/v1/chat/completions',
    {
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: -1,
      reasoning_effort: null,
    },
    null,
  ],
  [
    'SillyTavern, a completion',
    '/v1/completions',
    {
      prompt: 'x',
      max_new_tokens: 9,
      typical_p: 1,
      typical: 1,
      min_p: 0,
      repetition_penalty: 1,
      top_k: -1,
      seed: -1,
      stopping_strings: ['a'],
      stop: ['a'],
      ignore_eos: false,
      n_predict: 9,
      num_ctx: 9,
      mirostat_mode: 0,
    },
    'max_new_tokens, typical, stopping_strings, ignore_eos, n_predict, num_ctx, mirostat_mode',
  ],
  [
    'a client that writes whatever it knows',
    '/v1/chat/completions',
    {
      tools: [],
      tool_choice: 'none',
      functions: null,
      stop: null,
      seed: null,
      n: null,
      stream_options: null,
      response_format: { type: 'text' },
      max_completion_tokens: null,
      modalities: ['text'],
    },
    null,
  ],
];

test('every text with a pattern says in the API’s own document what it must look like', async () => {
  const unsaid: string[] = [];
  const look = (part: unknown, place: string): void => {
    if (typeof part !== 'object' || part === null) return;
    if ('pattern' in part && typeof part.pattern === 'string' && !('x-form' in part)) unsaid.push(place);
    for (const [name, inner] of Object.entries(part)) look(inner, `${place} ${name}`);
  };
  look((await appliance.call('GET', '/openapi.json')).json.paths, '');
  expect(unsaid).toEqual([]);
});

describe('programs', () => {
  test.each(programs)('%s', async (_, path, body, ignored) => {
    const { model, messages, max_tokens: most } = chat;
    const asked =
      path === '/v1/completions' ? { model, max_tokens: most } : { model, messages, max_tokens: most };
    const answer = await post(path, { ...asked, ...body });
    expect([answer.status, answer.headers.get(ignoredHeader)], answer.text).toEqual([200, ignored]);
  });

  test('Azure’s client', async () => {
    const azure = new AzureOpenAI({
      endpoint: appliance.tenantUrl,
      apiKey: appliance.key,
      apiVersion: '2024-10-21',
      maxRetries: 0,
    });
    const { choices } = await azure.chat.completions.create({
      model: chat.model,
      messages: [{ role: 'user', content: 'hello' }],
    });
    expect(choices[0]?.message.content).toContain('demo stand-in');
  });
});

describe('case 12: pages of other origins', () => {
  const preflight = {
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,content-type,x-stainless-lang,x-stainless-retry-count',
  };

  test.each(['/v1/chat/completions', '/api/v1/jobs', '/generate-text', '/v1/nowhere'])(
    'a preflight of an allowed page for %s',
    async (path) => {
      const { status, headers } = await appliance.call('OPTIONS', path, {
        headers: { origin: page, ...preflight },
      });
      expect(status).toBe(204);
      expect(headers.get('access-control-allow-origin')).toBe(page);
      expect(headers.get('access-control-allow-methods')).toContain('DELETE');
      expect(headers.get('access-control-allow-headers')).toContain('x-stainless-retry-count');
      expect(headers.get('access-control-allow-credentials')).toBeNull();
      expect(headers.get('vary')?.toLowerCase()).toContain('origin');
    },
  );

  test('answers can be read with their headers: whole, streamed, held, refused', async () => {
    for (const body of [chat, { ...chat, stream: true }, { ...chat, n: 2 }]) {
      const { headers } = await post('/v1/chat/completions', body, { origin: page });
      expect(headers.get('access-control-allow-origin')).toBe(page);
      expect(headers.get('access-control-expose-headers')).toBe('*');
      expect(headers.get('access-control-allow-credentials')).toBeNull();
    }
    const { status, headers } = await appliance.call('GET', '/v1/models', { headers: { origin: page } });
    expect([status, headers.get('access-control-allow-origin')]).toEqual([401, page]);
  });

  test('other pages are told nothing, and the operator API knows no other page', async () => {
    const headers = { origin: 'https://evil.example', ...preflight };
    const refused = await appliance.call('OPTIONS', '/v1/chat/completions', { headers });
    expect(refused.headers.get('access-control-allow-origin')).toBeNull();
    const operator = await fetch(`${appliance.operatorUrl}/api/status`, {
      method: 'OPTIONS',
      headers: { ...preflight, origin: page },
    });
    expect(operator.ok).toBe(false);
    expect(operator.headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('headers and paths', () => {
  const get = (path: string, headers: Record<string, string>) => appliance.call('GET', path, { headers });

  test('a key in every form that clients send it', async () => {
    const { key } = appliance;
    for (const headers of [
      { authorization: `bearer ${key}` },
      { authorization: `BEARER   ${key}` },
      { authorization: 'Basic cHJveHk6cHJveHk=', 'x-api-key': key },
      { authorization: 'Bearer not-needed', 'x-api-key': key },
      { authorization: `Bearer ${key}`, 'x-api-key': 'not-needed' },
      { 'api-key': key },
    ])
      expect((await get('/v1/models', headers)).status, JSON.stringify(headers)).toBe(200);
    expect((await get('/v1/models', { authorization: 'Bearer a', 'x-api-key': 'b' })).code).toBe(
      'invalid_api_key',
    );
  });

  test('what SDKs say of themselves harms nothing', async () => {
    const headers = {
      'anthropic-version': '2026-10-21',
      'openai-organization': 'org-x',
      'openai-project': 'proj-x',
      'openai-beta': 'assistants=v2',
      'x-stainless-retry-count': '2',
      'x-stainless-timeout': '600',
      accept: 'text/event-stream, application/json;q=0.5',
      prefer: 'respond-async',
      range: 'bytes=0-3',
      'if-none-match': '*',
    };
    expect((await post('/v1/chat/completions', chat, headers)).status).toBe(200);
    expect((await get('/v1/models', { ...headers, authorization: `Bearer ${appliance.key}` })).status).toBe(
      200,
    );
  });

  test('a base URL with a slash at its end, or a path with one', async () => {
    for (const path of ['/v1//chat/completions', '//v1/chat/completions', '/v1/chat/completions/'])
      expect((await post(path, chat)).status, path).toBe(200);
    const headers = { authorization: `Bearer ${appliance.key}` };
    expect((await fetch(`${appliance.tenantUrl}/v1/models/`, { method: 'HEAD', headers })).status).toBe(200);
  });

  test.each([
    ['/v1/v1/chat/completions', '/v1/chat/completions'],
    ['/chat/completions', '/v1/chat/completions'],
    ['/V1/chat/completions', '/v1/chat/completions'],
  ])('who asks for %s is told what was meant', async (path, meant) => {
    const answer = await post(path, chat);
    expect([answer.status, answer.message]).toEqual([
      404,
      `There is no POST ${path}. Did you mean ${meant}?`,
    ]);
  });

  test('Prefer: wait in its allowed forms, and what was made of it is said', async () => {
    const answer = await post('/api/v1/inference', chat, { prefer: 'respond-async, Wait="99999"; x=1' });
    expect(answer.headers.get('preference-applied')).toBe('wait=60');
    expect([answer.status, answer.data.state]).toEqual([200, 'succeeded']);
  });

  test('one model by its name; an unknown one is told with those of its kind', async () => {
    for (const path of ['/v1/models/demo-sd15', '/v1/models/demo-sd15/'])
      expect((await get(path, { 'x-api-key': appliance.key })).json.id).toBe('demo-sd15');
    const missing = await get('/v1/models/maker/name@q4', { 'x-api-key': appliance.key });
    expect([missing.status, missing.code]).toEqual([404, 'model_not_found']);
    const { message } = await post('/v1/images/generations', { ...image, model: 'dall-e-3' });
    expect(message).toContain('demo-sd15');
    expect(message).not.toContain('demo-chat');
    expect((await post('/v1/chat/completions', { ...chat, model: 'gpt' })).message).not.toContain(
      'demo-sd15',
    );
  });
});
