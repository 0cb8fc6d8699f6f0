import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type Person, TestAppliance } from './appliance.ts';
import { picture } from './picture-files.ts';

/* What a plan bounds beside requests a minute, and what is looked at before anybody's picture is decoded. */
let appliance: TestAppliance;
let ann: Person;

beforeAll(async () => {
  appliance = await TestAppliance.start({ speed: 50 });
  await appliance.ready();
  ann = await appliance.register('ann@example.test', { plan: 'enterprise', credits: 1_000 });
});
afterAll(async () => {
  await appliance.stop();
});

const override = (overrides: object, { company } = ann): Promise<unknown> =>
  appliance.operator(`/api/tenants/${company}`, 'PATCH', { overrides });
const call = (path: string, body?: object, headers = {}): Promise<Answer> =>
  appliance.call(body ? 'POST' : 'GET', path, { as: ann.key, body, headers });
const drawn = { prompt: 'a kiln', size: '64x64', steps: 1 };

/** A form of /v1/images/edits. What is in it is no picture unless one is given. */
function edit(as: string, bytes: Buffer = randomBytes(64), size = '64x64'): Promise<Response> {
  const form = new FormData();
  form.append('image', new Blob([new Uint8Array(bytes)], { type: 'image/png' }), 'a.png');
  form.append('prompt', 'a kiln');
  form.append('size', size);
  return fetch(`${appliance.tenantUrl}/v1/images/edits`, {
    method: 'POST',
    headers: { authorization: `Bearer ${as}` },
    body: form,
  });
}
const codeOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { error: { code: string } }).error.code;

describe('review 26', () => {
  test('images an hour: over every road, with Retry-After, shown, and after a restart', async () => {
    await override({ imagesPerHour: 4 });
    expect((await call('/v1/images/generations', { ...drawn, n: 2 })).status).toBe(200);
    const job = await call('/api/v1/jobs/image-generation', { ...drawn, n: 1 }, { prefer: 'wait=60' });
    expect(job.data.state).toBe('succeeded');
    expect((await call('/api/v1/rate-limit')).data.imagesPerHour).toMatchObject({ limit: 4, remaining: 1 });
    const refused = await appliance.post(
      '/v1/images/generations',
      { ...drawn, n: 2 },
      {
        headers: { authorization: `Bearer ${ann.key}`, 'content-type': 'application/json' },
      },
    );
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(60);
    expect(await codeOf(refused)).toBe('rate_limit_exceeded');
    const batch = [1, 2].map(() => ({ feature: 'image-generation', input: drawn }));
    expect((await call('/api/v1/jobs/batch', { items: batch })).status).toBe(429);
    // What is refused counts nothing.
    expect((await call('/generate-image', { prompt: 'a kiln', width: 64, height: 64 })).status).toBe(200);
    expect((await call('/generate-image', { prompt: 'a kiln', width: 64, height: 64 })).status).toBe(429);
    await appliance.stop();
    appliance = await TestAppliance.start({ speed: 50, folder: appliance.folder });
    await appliance.ready();
    expect((await call('/generate-image', { prompt: 'a kiln', width: 64, height: 64 })).status).toBe(429);
    await override({});
  });
});

describe('S11: before a picture is decoded', () => {
  test('credits are looked at', async () => {
    const poor = await appliance.register('poor@example.test', { plan: 'pro' });
    const refused = await edit(poor.key);
    expect([refused.status, await codeOf(refused)]).toEqual([402, 'insufficient_credits']);
  });

  test('the rate and the rights are', async () => {
    const slow = await appliance.register('slow@example.test', { plan: 'free', credits: 100 });
    await override({ requestsPerMinute: 1 }, slow);
    const first = await edit(slow.key);
    expect([first.status, await codeOf(first)]).toEqual([400, 'invalid_image']);
    for (const size of ['64x64', 'auto']) expect((await edit(slow.key, undefined, size)).status).toBe(429);
    await override({ requestsPerMinute: 100, features: ['chat'] }, slow);
    for (const size of ['64x64', 'auto']) {
      const refused = await edit(slow.key, undefined, size);
      expect(await codeOf(refused)).toBe('feature_not_in_plan');
    }
  });

  test('one that is refused afterwards costs nothing, and one that is not is made', async () => {
    const before = (await call('/api/v1/credits/balance')).data;
    expect((await edit(ann.key)).status).toBe(400);
    expect((await call('/api/v1/credits/balance')).data).toEqual(before);
    expect((await edit(ann.key, await picture('png'), 'auto')).status).toBe(200);
  });
});
