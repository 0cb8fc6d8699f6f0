import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type Person, TestAppliance } from './appliance.ts';
import { picture } from './picture-files.ts';

/*
 * The filter on pictures, with the real classifier and its real weights. There is no explicit picture in this project:
 * with the threshold at 0 every picture is one, and what has to be held back is everything.
 */
let strict: TestAppliance;
let usual: TestAppliance;
/** May have everything, and may not. */
let free: Person;
let held: Person;

beforeAll(async () => {
  [strict, usual] = await Promise.all([
    TestAppliance.start({ speed: 50, env: { KILNHOUSE_MODERATION_IMAGE_THRESHOLD: '0' } }),
    TestAppliance.start({ speed: 50 }),
  ]);
  await Promise.all([strict.ready(), usual.ready()]);
  const plan = { plan: 'enterprise', credits: 1_000 };
  free = await strict.register('free@example.test', plan);
  held = await strict.register('held@example.test', plan);
  await strict.operator(`/api/tenants/${free.company}`, 'PATCH', { allowNSFW: true });
});
afterAll(async () => {
  expect(await strict.operator('/api/ledger')).toMatchObject({ ok: true, held: 0 });
  await Promise.all([strict.stop(), usual.stop()]);
});

const prompt = { prompt: 'a kiln', steps: 2 };

/** Every route that makes a picture. A new one fails the test below until it is here. */
const generating: Record<string, (as: string) => Promise<Answer>> = {
  'POST /v1/images/generations': (as) =>
    strict.call('POST', '/v1/images/generations', { as, body: { ...prompt, size: '64x64' } }),
  'POST /v1/images/edits': async (as) => {
    const form = new FormData();
    form.append('image', new Blob([new Uint8Array(await picture())], { type: 'image/png' }), 'a.png');
    form.append('prompt', 'a kiln');
    const response = await fetch(`${strict.tenantUrl}/v1/images/edits`, {
      method: 'POST',
      headers: { authorization: `Bearer ${as}` },
      body: form,
    });
    const text = await response.text();
    const json = JSON.parse(text);
    return {
      status: response.status,
      text,
      json,
      code: json.error?.code,
      data: null,
      message: '',
      headers: response.headers,
    };
  },
  'POST /generate-image': (as) =>
    strict.call('POST', '/generate-image', { as, body: { ...prompt, width: 64, height: 64 } }),
  'POST /api/v1/jobs/image-generation': (as) =>
    strict.call('POST', '/api/v1/jobs/image-generation', {
      as,
      body: { ...prompt, size: '64x64' },
      headers: { prefer: 'wait=60' },
    }),
  'POST /api/v1/jobs/batch': async (as) => {
    const items = [{ feature: 'image-generation', input: { ...prompt, size: '64x64' } }];
    const { data } = await strict.call('POST', '/api/v1/jobs/batch', { as, body: { items } });
    const path = `/api/v1/jobs/${data.jobs[0].id}`;
    await strict.until(async () => (await strict.call('GET', path, { as })).data.finishedAt !== null);
    return strict.call('GET', path, { as });
  },
};

test('every route that makes pictures is in the list', async () => {
  const { json } = await strict.call('GET', '/openapi.json');
  const makers = Object.entries(json.paths as Record<string, Record<string, unknown>>)
    .filter(
      ([path, methods]) => 'post' in methods && /image|jobs\/(?!\{|batch\/)|video|swap|3d|story/.test(path),
    )
    .map(([path]) => `POST ${path}`);
  expect(Object.keys(generating).toSorted()).toEqual(makers.toSorted());
});

describe.each(Object.entries(generating))('%s', (_, make) => {
  test('gives a blocked picture to nobody who may not have it, and charges nothing', async () => {
    const answer = await make(held.key);
    const error = answer.json.error ?? answer.json.errors?.[0] ?? answer.data?.error;
    expect(answer.data?.error?.code ?? answer.code ?? error?.code).toBe('content_policy_violation');
    expect(answer.text).not.toContain('iVBOR');
    const { data } = await strict.call('GET', '/api/v1/credits/balance', { as: held.key });
    expect(data).toMatchObject({ posted: 1_000, held: 0 });
  });

  test('and gives it to who may', async () => {
    const answer = await make(free.key);
    expect(answer.status).toBeLessThan(300);
    if (answer.data?.state) expect(answer.data.state).toBe('succeeded');
    else expect(answer.text).toContain('iVBOR');
  });
});

test('nothing of a blocked job can be fetched', async () => {
  const { data } = await strict.call('POST', '/api/v1/jobs/image-generation', {
    as: held.key,
    body: { ...prompt, n: 2, size: '64x64' },
    headers: { prefer: 'wait=60' },
  });
  expect(data).toMatchObject({ state: 'failed', credits: { charged: 0 } });
  expect((await strict.call('GET', data.urls.files, { as: held.key })).data).toEqual([]);
  expect((await strict.call('GET', data.urls.download, { as: held.key })).status).toBe(409);
});

test('an upload is held against it, too', async () => {
  const files = [{ name: 'a.png', bytes: await picture() }];
  const refused = await strict.upload(held.key, files);
  expect([refused.status, refused.code]).toEqual([400, 'content_policy_violation']);
  expect((await strict.upload(free.key, files)).status).toBe(201);
  expect((await strict.call('GET', '/api/v1/uploads', { as: held.key })).data.items).toEqual([]);
});

test('what is harmless passes, at the usual threshold, for everybody', async () => {
  const { status } = await usual.post('/v1/images/generations', { ...prompt, size: '256x256' });
  expect(status).toBe(200);
  expect((await usual.upload(usual.key, [{ name: 'a.png', bytes: await picture() }])).status).toBe(201);
});

describe('/v1/moderations, with OpenAI’s own SDK', () => {
  const ask = async (input: OpenAI.ModerationCreateParams['input'], at = usual) => {
    const client = new OpenAI({ apiKey: at.key, baseURL: `${at.tenantUrl}/v1`, maxRetries: 0 });
    return (await client.moderations.create({ input })).results;
  };
  const image = async () =>
    ({
      type: 'image_url',
      image_url: { url: `data:image/png;base64,${(await picture()).toString('base64')}` },
    }) as const;

  test('texts', async () => {
    const results = await ask(['a kiln', 'a nude person']);
    expect(results.map(({ flagged }) => flagged)).toEqual([false, true]);
    expect(results[1]?.categories.sexual).toBe(true);
    expect(results[1]?.categories.violence).toBe(false);
    expect((await ask('n u d e'))[0]?.flagged).toBe(false);
  });

  test('pictures, alone and with a text', async () => {
    const [harmless] = await ask([await image()]);
    expect(harmless?.flagged).toBe(false);
    expect(harmless?.category_scores.sexual).toBeGreaterThan(0);
    expect(harmless?.category_scores.sexual).toBeLessThan(0.7);
    expect(harmless?.category_applied_input_types.sexual).toEqual(['image']);
    const [both] = await ask([{ type: 'text', text: 'nude' }, await image()]);
    expect([both?.flagged, both?.category_applied_input_types.sexual]).toEqual([true, ['text', 'image']]);
    expect((await ask([await image()], strict))[0]?.flagged).toBe(true);
  });

  test.each([
    ['an address', 'https://example.com/a.png'],
    ['a file', 'file:///etc/passwd'],
    ['no picture', 'data:image/png;base64,aGVsbG8='],
  ])('%s is not taken for a picture', async (_, url) => {
    const input = [{ type: 'image_url', image_url: { url } } as const];
    await expect(ask(input)).rejects.toMatchObject({ status: 400 });
  });
});
