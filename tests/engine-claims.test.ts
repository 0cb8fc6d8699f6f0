import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';

/* What engines say in ways of their own, through the whole appliance to its clients. */
let appliance: TestAppliance;
let openai: OpenAI;

beforeAll(async () => {
  appliance = await TestAppliance.start();
  await appliance.ready();
  openai = new OpenAI({ baseURL: `${appliance.tenantUrl}/v1`, apiKey: appliance.key, maxRetries: 0 });
});
afterEach(() => appliance.faults(''));
afterAll(() => appliance.stop());

/** All that the appliance has written to its log. */
function logged(): string {
  const folder = join(appliance.folder, 'logs');
  return readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('');
}

const hello = [{ role: 'user' as const, content: 'hello there' }];

describe('case 3: embeddings for the official client', () => {
  const embed = (encoding_format?: 'float' | 'base64') =>
    openai.embeddings.create({
      model: 'demo-embed',
      input: ['a', 'b'],
      ...(encoding_format && { encoding_format }),
    });

  // The client asks for base64 of its own accord, and decodes what comes.
  test.each(['', 'base64_vectors'])('are the same whatever the engine sends (%s)', async (fault) => {
    appliance.faults(fault);
    const plain = (await embed('float')).data.map(({ embedding }) => embedding);
    expect(plain[0]).toHaveLength(64);
    expect(plain[0]).not.toEqual(plain[1]);
    expect((await embed()).data.map(({ embedding }) => embedding)).toEqual(plain);
    const base64 = (await embed('base64')).data.map(({ embedding }) => embedding as unknown as string);
    const bytes = base64.map((text) => Buffer.from(text, 'base64'));
    expect(bytes.map((each) => Array.from({ length: 64 }, (_, i) => each.readFloatLE(i * 4)))).toEqual(plain);
  });

  test('dimensions that the model does not have are refused', async () => {
    const asked = openai.embeddings.create({ model: 'demo-embed', input: 'a', dimensions: 32 });
    await expect(asked).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining('have 64 numbers'),
    });
  });
});

test('case 10: JSON mode is any object', async () => {
  const answer = await openai.chat.completions.create({
    model: 'demo-chat-3b',
    messages: hello,
    response_format: { type: 'json_object' },
  });
  expect(JSON.parse(answer.choices[0]?.message.content ?? '')).toEqual({ demo: true });
});

test('case 24: the engine’s own sentence is told, without its addresses and paths, and logged', async () => {
  appliance.faults('error_200');
  for (const stream of [false, true]) {
    const { message, status } = await openai.chat.completions
      .create({ model: 'demo-chat-3b', messages: hello, stream })
      .then(
        () => ({ message: 'an answer', status: 200 }),
        (error: InstanceType<typeof OpenAI.APIError>) => error,
      );
    expect(status).toBe(502);
    expect(message).toContain('The model died at (address) in (path)');
    expect(message).not.toMatch(/127\.0\.0\.1|somebody/);
  }
  await appliance.until(() => logged().includes('The model died at 127.0.0.1:1234 in /home/somebody/models'));
});

test('case 1: the first picture and the first job of a checkpoint that the web UI has never hashed', async () => {
  const folder = join(appliance.folder, 'demo', 'checkpoints');
  mkdirSync(folder, { recursive: true });
  for (const name of ['fresh', 'fresher']) writeFileSync(join(folder, `${name}.safetensors`), 'weights');
  await appliance.operator('/api/engines/webui/restart', 'POST');
  await appliance.until(async () =>
    (await appliance.operator('/api/models')).some(({ id }: { id: string }) => id === 'fresher'),
  );
  const size = { size: '64x64' as '512x512', steps: 1 };
  const { data } = await openai.images.generate({ model: 'fresh', prompt: 'x', ...size });
  expect(data?.[0]?.b64_json?.length).toBeGreaterThan(100);
  const job = await appliance.call('POST', '/api/v1/jobs/image-generation', {
    as: appliance.key,
    body: { model: 'fresher', prompt: 'x', ...size },
  });
  await appliance.until(async () => {
    const { data: seen } = await appliance.call('GET', `/api/v1/jobs/${job.data.id}`, { as: appliance.key });
    expect(seen.error ?? null, JSON.stringify(seen)).toBeNull();
    return seen.state === 'succeeded';
  });
  const loads = (await appliance.operator('/api/decisions')).filter(
    ({ type }: { type: string }) => type === 'load_failed',
  );
  expect(loads).toEqual([]);
});
