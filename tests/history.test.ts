import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Answer, type Person, TestAppliance } from './appliance.ts';

/* What a tenant did, as it can look at it, search it, take it with it and forget it. */
let appliance: TestAppliance;
let ann: Person;
let member: Person;
let bob: Person;

type Item = { id: string; at: string; feature: string; status: string; prompts: unknown; model: string };
const chat = (words: string, as = ann.key): Promise<Answer> =>
  appliance.call('POST', '/v1/chat/completions', {
    as,
    body: { model: 'demo-chat-3b', messages: [{ role: 'user', content: words }], max_tokens: 5 },
  });
const draw = (more: object = {}, as = ann.key): Promise<Answer> =>
  appliance.call('POST', '/api/v1/jobs/image-generation', {
    as,
    body: { model: 'demo-sd15', prompt: 'a harbour', size: '64x64', steps: 1, ...more },
    headers: { prefer: 'wait=30' },
  });
const history = async (query = '', as = ann.token): Promise<{ items: Item[]; next: string | null }> =>
  (await appliance.call('GET', `/api/v1/history?${query}`, { as })).data;
const forget = (query: string, as = ann.token): Promise<Answer> =>
  appliance.call('DELETE', `/api/v1/history${query}`, { as });

beforeAll(async () => {
  appliance = await TestAppliance.start({ speed: 50 });
  await appliance.ready();
  const plan = { plan: 'enterprise', credits: 10_000 };
  ann = await appliance.register('ann@example.test', plan);
  bob = await appliance.register('bob@example.test', plan);
  member = await appliance.register('member@example.test', { tenant: ann.company });
  await appliance.call('PATCH', '/api/v1/company', { as: ann.token, body: { history: 'encrypted' } });
  for (const words of ['the first kiln', 'the second KILN', 'something else']) await chat(words);
  await chat('of the member', member.key);
  await draw();
  await draw({ model: 'demo-xl' });
  await draw({ prompt: 'nude' });
  await chat('of bob', bob.key);
});
afterAll(async () => {
  await appliance.stop();
});

describe('looked at', () => {
  test('the newest first: requests and jobs, with what was asked, and how it ended', async () => {
    const { items, next } = await history('limit=100');
    expect(items.map(({ feature, status }) => `${feature} ${status}`)).toEqual([
      'image-generation refused',
      'image-generation ok',
      'image-generation ok',
      'chat ok',
      'chat ok',
      'chat ok',
      'chat ok',
    ]);
    expect(next).toBeNull();
    expect(items[1]).toMatchObject({
      images: 1,
      credits: 2,
      model: 'demo-xl',
      error: null,
      key: expect.any(String),
    });
    expect(JSON.stringify(items[2]?.prompts)).toContain('a harbour');
    expect(items[0]).toMatchObject({ error: 'content_policy_violation', prompts: null });
  });

  test('page by page, without a gap or a double', async () => {
    const all = (await history('limit=100')).items.map(({ id }) => id);
    const pages: string[] = [];
    for (let after = ''; ;) {
      const { items, next } = await history(`limit=2${after}`);
      pages.push(...items.map(({ id }) => id));
      if (next === null) break;
      after = `&after=${next}`;
    }
    expect(pages).toEqual(all);
  });

  test.each([
    ['feature=image-generation', 3],
    ['model=demo-xl', 1],
    ['status=refused', 1],
    ['status=ok&feature=image-generation', 2],
    ['from=2000-01-01&to=2000-12-31', 0],
    [`from=${new Date(Date.now() - 3_600_000).toISOString()}`, 7],
    [`to=${new Date(Date.now() + 24 * 3_600_000).toISOString().slice(0, 10)}`, 7],
    ['q=kiln', 2],
    ['q=KILN&feature=image-generation', 0],
    ['q=harbour', 2],
    ['q=of%20bob', 0],
  ])('%s', async (query, count) => {
    expect((await history(`${query}&limit=100`)).items).toHaveLength(count);
  });

  test('a search goes on where its page ended', async () => {
    const first = await history('q=kiln&limit=1');
    expect(first.items).toHaveLength(1);
    const second = await history(`q=kiln&limit=1&after=${first.next}`);
    expect(JSON.stringify(second.items)).toContain('the first kiln');
  });

  test.each([
    'status=fine',
    'from=yesterday',
    'from=2026-02-31T99:00Z',
    'after=x',
    'limit=1000',
    'q=',
    'tenant=other',
  ])('%s is refused', async (query) => {
    expect((await appliance.call('GET', `/api/v1/history?${query}`, { as: ann.token })).status).toBe(400);
  });

  test('an administrator sees all of the company, others their own, another company nothing', async () => {
    const seen = await Promise.all(
      [ann.key, member.token, member.key, bob.token].map(
        async (as) => (await history('limit=100', as)).items.length,
      ),
    );
    expect(seen).toEqual([6, 1, 1, 1]);
  });

  test('not longer than the plan keeps it', async () => {
    await appliance.operator(`/api/tenants/${ann.company}`, 'PATCH', { overrides: { historyDays: 0 } });
    expect((await history()).items).toEqual([]);
    await appliance.operator(`/api/tenants/${ann.company}`, 'PATCH', { overrides: {} });
    expect((await history()).items).toHaveLength(7);
  });
});

describe('taken along', () => {
  test('as JSON lines', async () => {
    const { text, headers } = await appliance.call('GET', '/api/v1/history/export', { as: ann.token });
    expect(headers.get('content-disposition')).toBe('attachment; filename="history.jsonl"');
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Item);
    expect(lines.map(({ id }) => id)).toEqual((await history('limit=100')).items.map(({ id }) => id));
  });

  test('F48: as a table, in which nothing is a formula', async () => {
    await chat('=cmd|calc');
    const { text } = await appliance.call('GET', '/api/v1/history/export?format=csv&feature=chat', {
      as: ann.token,
    });
    const [head = '', ...rows] = text.trim().split('\n');
    expect(head).toMatch(/^id,at,key,user,feature/);
    expect(rows).toHaveLength(5);
    expect(text).not.toMatch(/(^|,)"?=/m);
  });
});

test('added up by day, model, key and feature; the sums agree', async () => {
  const { data } = await appliance.call('GET', '/api/v1/usage', { as: ann.key });
  expect(data.totals).toMatchObject({ requests: 8, succeeded: 7, failed: 1, images: 2, credits: 4 });
  expect(data.totals.successRate).toBeCloseTo(7 / 8);
  expect(data.totals.meanMs).toBeGreaterThan(0);
  const sum = (of: { requests: number; credits: number; promptTokens: number }[]) =>
    of.reduce(
      (all, one) => [
        (all[0] ?? 0) + one.requests,
        (all[1] ?? 0) + one.credits,
        (all[2] ?? 0) + one.promptTokens,
      ],
      [0, 0, 0],
    );
  const { requests, credits, promptTokens } = data.totals;
  for (const group of ['byDay', 'byModel', 'byKey', 'byFeature'])
    expect(sum(data[group]), group).toEqual([requests, credits, promptTokens]);
  expect(data.byKey).toHaveLength(2);
  expect(data.byFeature.map(({ name }: { name: string }) => name)).toEqual(['chat', 'image-generation']);
});

describe('forgotten', () => {
  test('by ids, and not another’s', async () => {
    const [one, , two] = (await history('feature=chat')).items;
    expect((await forget(`?ids=${one?.id},${two?.id}`, bob.token)).data).toEqual({ removed: 0 });
    expect((await forget(`?ids=${one?.id},${two?.id}`)).data).toEqual({ removed: 2 });
    const left = (await history('limit=100')).items.map(({ id }) => id);
    expect(left).not.toContain(one?.id);
    expect((await forget(`/${one?.id}`)).status).toBe(404);
  });

  test('a job with its results; what it cost stays in the books', async () => {
    const { items } = await history('model=demo-xl');
    const id = items[0]?.id ?? '';
    const before = (await appliance.call('GET', '/api/v1/usage', { as: ann.key })).data.totals;
    expect((await forget(`/${id}`)).data).toEqual({ removed: 1 });
    expect((await appliance.call('GET', `/api/v1/jobs/${id}`, { as: ann.key })).status).toBe(404);
    expect((await appliance.call('GET', '/api/v1/usage', { as: ann.key })).data.totals).toEqual(before);
    expect(await appliance.operator('/api/ledger')).toMatchObject({ ok: true, faults: [] });
  });

  test('by a filter, then all; one’s own only', async () => {
    expect((await forget('?status=refused')).data).toEqual({ removed: 1 });
    expect((await forget('', member.token)).data).toEqual({ removed: 1 });
    expect((await forget('')).data.removed).toBe(3);
    expect((await history()).items).toEqual([]);
    await vi.waitFor(async () =>
      expect((await appliance.call('GET', '/api/v1/jobs', { as: ann.key })).data.items).toEqual([]),
    );
    expect((await history('', bob.token)).items).toHaveLength(1);
  });
});
