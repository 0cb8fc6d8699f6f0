import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Answer, type Person, TestAppliance } from './appliance.ts';

/* Credits over the wire: held, charged and given back by the whole appliance, with stand-ins for engines. */
const config = { scheduler: { interactiveQueueSeconds: 100_000 } };
const fileKey = 'kh_tenant-of-the-file-with-credits';
const tenants = {
  [fileKey]: { name: 'lab', plan: 'pro', credits: true },
  'kh_tenant-of-the-file-without': { name: 'free-lab', plan: 'pro' },
};
const picture = { prompt: 'a kiln', width: 64, height: 64, steps: 1 };
const chat = { model: 'demo-chat-3b', messages: [{ role: 'user', content: 'hello' }] };
let appliance: TestAppliance;
let ann: Person;
let bob: Person;

beforeAll(async () => {
  appliance = await TestAppliance.start({ config, tenants, speed: 50 });
  await appliance.ready();
  ann = await appliance.register('ann@example.test', { plan: 'enterprise', credits: 1_000 });
  bob = await appliance.register('bob@example.test', { plan: 'enterprise', credits: 1_000 });
});
afterAll(async () => {
  expect(await appliance.operator('/api/ledger')).toMatchObject({ ok: true, held: 0 });
  expect(unmatched(appliance)).toEqual([]);
  await appliance.stop();
});

const post = (path: string, body: unknown, as = ann.key, headers = {}): Promise<Answer> =>
  appliance.call('POST', path, { as, body, headers });
const image = (as = ann.key, headers = {}): Promise<Answer> => post('/generate-image', picture, as, headers);

async function balance(as = ann.key): Promise<{ posted: number; held: number; available: number }> {
  return (await appliance.call('GET', '/api/v1/credits/balance', { as })).data;
}

/** Runs something and says what it cost, once everything it held was given back. */
async function costOf(run: () => Promise<unknown>, as = ann.key): Promise<number> {
  const before = await balance(as);
  await run();
  await vi.waitFor(async () => expect((await balance(as)).held).toBe(0), { timeout: 5_000, interval: 10 });
  return before.posted - (await balance(as)).posted;
}

async function setPrices(change: object): Promise<void> {
  const prices = await appliance.operator('/api/prices');
  await appliance.operator('/api/prices', 'PUT', { ...prices, ...change });
}

async function grant(company: string, credits: number): Promise<void> {
  await appliance.operator(`/api/tenants/${company}/credits`, 'POST', { credits, reason: 'for a test' });
}

/** L10: charges without a request, and requests that cost something without their charge. */
function unmatched({ folder }: TestAppliance): unknown[] {
  const db = new BetterSqlite3(join(folder, 'kilnhouse.db'), { readonly: true });
  try {
    return db
      .prepare(
        `select entry.id, -entry.posted as credits from ledger_entries entry
           join ledger_entries hold on hold.sequence = entry.hold
         where entry.kind = 'post' and entry.posted < 0
           and (select count(*) from usage where id = hold.id and credits > 0 and credits = -entry.posted) <> 1
         union all
         select id, credits from usage
         where credits > 0 and not exists (select 1 from ledger_entries where id = usage.id || ':post')`,
      )
      .all();
  } finally {
    db.close();
  }
}

describe('a picture', () => {
  test('is held for, charged, and stands in the statement with what it was for', async () => {
    expect(await costOf(image)).toBe(2);
    const { data } = await appliance.call('GET', '/api/v1/users/transactions?limit=2', { as: ann.key });
    expect(data.items).toMatchObject([
      { kind: 'post', credits: -2, held: -2, about: { feature: 'image', model: 'demo-sd15' } },
      { kind: 'hold', credits: 0, held: 2 },
    ]);
    expect(data.items[0].holdId).toBe(data.items[1].id);
    const next = await appliance.call('GET', `/api/v1/users/transactions?after=${data.next}`, {
      as: ann.key,
    });
    expect(next.data.items).toMatchObject([{ kind: 'grant', credits: 1_000 }]);
    const csv = await appliance.call('GET', '/api/v1/users/transactions?format=csv', { as: ann.key });
    expect(csv.text).not.toMatch(/,[=+@]/);
    expect(csv.text.split('\n')[0]).toBe('id,at,kind,credits,held,holdId,reason,expiresAt,about');
  });

  test('the headers say what there is and what is held', async () => {
    const { headers } = await image();
    expect(Number(headers.get('x-credits-held'))).toBe(2);
    expect(Number(headers.get('x-credits-available'))).toBe((await balance()).available);
  });

  test('several cost so much each', async () => {
    const body = { prompt: 'a kiln', size: '64x64', n: 3, steps: 1 };
    expect(await costOf(() => post('/v1/images/generations', body))).toBe(6);
  });

  test('that fails costs nothing', async () => {
    appliance.faults('status=500');
    expect(await costOf(async () => expect((await image()).status).toBe(502))).toBe(0);
    appliance.faults('');
    await appliance.ready();
  });

  test('that is refused by the policy costs nothing and holds nothing', async () => {
    const refused = () => post('/generate-image', { ...picture, prompt: 'nude' });
    expect(await costOf(async () => expect((await refused()).code).toBe('content_policy_violation'))).toBe(0);
  });
});

test('L8: 200 at once against credit for 10: exactly 10, each round', async () => {
  const carl = await appliance.register('carl@example.test', { plan: 'enterprise', credits: 20 });
  for (let round = 0; round < 3; round += 1) {
    const answers = await Promise.all(Array.from({ length: 200 }, () => image(carl.key)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(10);
    expect(statuses.filter((status) => status === 402)).toHaveLength(190);
    expect(await balance(carl.key)).toEqual({ metered: true, posted: 0, held: 0, available: 0 });
    await grant(carl.company, 20);
  }
  await grant(carl.company, -20);
  const { code, message } = await image(carl.key);
  expect([code, message]).toEqual([
    'insufficient_credits',
    'This costs up to 2 credits, and 0 are available. Buy credits, or ask for less.',
  ]);
});

describe('text that costs something', () => {
  beforeAll(() => setPrices({ text: { per1000Tokens: 1_000 } }));
  afterAll(() => setPrices({ text: { per1000Tokens: 0 } }));

  test('is charged by the tokens it came to, and the rest is given back', async () => {
    let usage = { total_tokens: 0 };
    const cost = await costOf(
      async () => (usage = (await post('/v1/chat/completions', { ...chat, max_tokens: 20 })).json.usage),
    );
    expect(usage.total_tokens).toBeGreaterThan(0);
    expect(cost).toBe(usage.total_tokens);
  });

  const long = { ...chat, messages: [{ role: 'user', content: 'word '.repeat(300) }], max_tokens: 400 };
  const asAnn = () => ({ authorization: `Bearer ${ann.key}`, 'content-type': 'application/json' });

  test('S4, L11: a stream that its reader gives up is charged for its prompt and what was produced', async () => {
    await grant(ann.company, 10_000);
    const whole = await costOf(() => post('/v1/chat/completions', { ...long, stream: true }));
    // However slowly it is read, the engine is not done before its reader hangs up.
    appliance.faults('hang_mid_stream');
    const cost = await costOf(async () => {
      const abort = new AbortController();
      const asked = { ...long, stream: true };
      const init = { signal: abort.signal, headers: asAnn() };
      const response = await appliance.post('/v1/chat/completions', asked, init);
      const reader = response.body?.getReader();
      let events = 0;
      while (events < 5) {
        const { value } = (await reader?.read()) ?? {};
        events +=
          Buffer.from(value ?? [])
            .toString()
            .split('data:').length - 1;
      }
      abort.abort();
    });
    appliance.faults('');
    const promptTokens = Math.floor((5 * 300) / 4);
    expect(cost).toBeGreaterThanOrEqual(promptTokens + 3);
    expect(cost).toBeLessThanOrEqual(whole);
    const [row] = (await appliance.call('GET', '/api/v1/history?limit=1', { as: ann.key })).data.items;
    expect(row).toMatchObject({ status: 'abandoned', credits: cost });
  });

  test('S4: a whole answer that is given up in work is charged for its prompt, and one that only waited is not', async () => {
    const give = async (untilRunning: boolean): Promise<number> =>
      costOf(async () => {
        const abort = new AbortController();
        const init = { signal: abort.signal, headers: asAnn() };
        const asked = appliance.post('/v1/chat/completions', long, init).catch(() => null);
        await vi.waitFor(async () => {
          const { data } = await appliance.call('GET', '/api/v1/credits/balance', { as: ann.key });
          expect(data.held).toBeGreaterThan(0);
          const models = await appliance.operator('/api/models');
          const model = models.find(({ id }: { id: string }) => id === chat.model);
          expect(untilRunning ? model.running : model.waiting).toBe(1);
        });
        abort.abort();
        await asked;
      });
    appliance.faults('hang_first_byte');
    expect(await give(true)).toBeGreaterThanOrEqual(375);
    appliance.faults('');
    await appliance.operator('/api/pause', 'POST', { unload: false });
    expect(await give(false)).toBe(0);
    await appliance.operator('/api/resume', 'POST');
  });

  test('S5: every input of embeddings is held and charged on its own', async () => {
    await grant(ann.company, 200_000);
    const input = Array.from({ length: 20 }, () => 'a'.repeat(6_000));
    const body = { model: 'demo-embed', input };
    expect((await post('/v1/embeddings?dry_run=1', body)).json.credits).toBe(20 * 6_000);
    let usage = { total_tokens: 0 };
    const cost = await costOf(async () => (usage = (await post('/v1/embeddings', body)).json.usage));
    expect(usage.total_tokens).toBeGreaterThan(20 * 1_000);
    expect(cost).toBe(usage.total_tokens);
    // Longer than the context is never read.
    const tooLong = { ...body, input: ['a'.repeat(100_000), 'b'] };
    expect((await post('/v1/embeddings?dry_run=1', tooLong)).json.credits).toBe(8_192 + 1);
  });

  test('L11: one that breaks on our side costs nothing', async () => {
    appliance.faults('half_stream');
    const cost = await costOf(async () => {
      const { text } = await post('/v1/chat/completions', { ...chat, stream: true });
      expect(text).toContain('engine_broken_stream');
    });
    appliance.faults('');
    await appliance.ready();
    expect(cost).toBe(0);
  });

  test('A1, L11: a key that is revoked ends its stream within a second; what was produced is charged', async () => {
    const { data } = await appliance.call('POST', '/api/v1/api-keys', {
      as: ann.token,
      body: { name: 'short-lived' },
    });
    appliance.faults('hang_mid_stream');
    const cost = await costOf(async () => {
      const response = await fetch(`${appliance.tenantUrl}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${data.key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ ...chat, stream: true }),
      });
      const reader = response.body?.getReader();
      await reader?.read();
      await appliance.call('DELETE', `/api/v1/api-keys/${data.id}`, { as: ann.token });
      let rest = '';
      for (;;) {
        const piece = await reader?.read();
        if (!piece || piece.done) break;
        rest += Buffer.from(piece.value).toString();
      }
      expect(rest).toContain('invalid_api_key');
    });
    appliance.faults('');
    expect(cost).toBeGreaterThan(0);
  });

  test('a suspended company loses what runs, too', async () => {
    await grant(bob.company, 10_000);
    appliance.faults('hang_mid_stream');
    const response = await fetch(`${appliance.tenantUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${bob.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...chat, stream: true }),
    });
    const reading = response.text();
    await appliance.operator(`/api/tenants/${bob.company}`, 'PATCH', {
      suspended: true,
      reason: 'for a test',
    });
    expect(await reading).toContain('revoked');
    appliance.faults('');
    for (const as of [bob.key, bob.token])
      expect((await appliance.call('GET', '/api/v1/credits/balance', { as })).code).toBe('tenant_disabled');
    await appliance.operator(`/api/tenants/${bob.company}`, 'PATCH', { suspended: false });
    expect((await image(bob.key)).status).toBe(200);
  });

  test('the most that it can cost is held, and that has a bound of its own where the caller set none', async () => {
    const quote = async (body: object): Promise<number> =>
      (await post('/v1/chat/completions?dry_run=1', { ...chat, ...body })).json.credits;
    const prompt = Buffer.byteLength(JSON.stringify([chat.messages, null, null]));
    expect(await quote({ max_tokens: 100 })).toBe(prompt + 100);
    const unbounded = await quote({});
    expect(unbounded).toBeGreaterThan(prompt + 100);
    expect(unbounded).toBeLessThanOrEqual(prompt + 4_096);
  });
});

describe('the price before', () => {
  const form = new FormData();
  form.set('prompt', 'a kiln');
  form.set('n', '2');
  form.set('size', '64x64');
  const pixel = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
    'base64',
  );
  form.set('image', new Blob([pixel], { type: 'image/png' }), 'a.png');

  test.each([
    ['/v1/chat/completions', chat, 0],
    ['/v1/completions', { model: 'demo-chat-3b', prompt: 'x' }, 0],
    ['/v1/embeddings', { model: 'demo-embed', input: 'x' }, 0],
    ['/v1/images/generations', { prompt: 'x', n: 4 }, 8],
    ['/generate-text', { prompt: 'x' }, 0],
    ['/generate-image', picture, 2],
  ])('%s', async (path, body, credits) => {
    const before = await balance();
    const answer = await post(`${path}?dry_run=1`, body);
    expect(answer.json, answer.text).toEqual({
      dryRun: true,
      credits,
      available: before.available,
      enough: true,
    });
    expect(await balance()).toEqual(before);
  });

  test('/v1/images/edits', async () => {
    const response = await fetch(`${appliance.tenantUrl}/v1/images/edits?dry_run=1`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ann.key}` },
      body: form,
    });
    expect(await response.json()).toMatchObject({ credits: 4 });
  });

  test('the whole list, for everybody', async () => {
    const { data } = await appliance.call('GET', '/api/v1/prices');
    expect(data).toMatchObject({
      textPer1000Tokens: 0,
      image: { each: 2 },
      features: { 'story-video': 10, 'cloth-swap': 3, 'image-to-3d': 35 },
    });
  });
});

describe('L9: one Idempotency-Key', () => {
  const key = (name: string) => ({ 'idempotency-key': name });

  test('many at once are one job and one charge, and all can have the answer', async () => {
    const cost = await costOf(async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => image(ann.key, key('parallel'))));
      const statuses = answers.map(({ status }) => status);
      expect(statuses.filter((status) => status === 200)).toHaveLength(1);
      expect(statuses.filter((status) => status === 409)).toHaveLength(19);
      const first = answers.find(({ status }) => status === 200);
      const again = await image(ann.key, key('parallel'));
      expect([again.status, again.text]).toEqual([200, first?.text]);
      expect(again.headers.get('idempotent-replayed')).toBe('true');
    });
    expect(cost).toBe(2);
  });

  test('a stream is given again as it was', async () => {
    const stream = { ...chat, stream: true, max_tokens: 20 };
    const first = await post('/v1/chat/completions', stream, ann.key, key('stream'));
    const again = await post('/v1/chat/completions', stream, ann.key, key('stream'));
    expect(again.text).toBe(first.text);
    expect(again.text).toContain('[DONE]');
    expect(again.headers.get('content-type')).toContain('text/event-stream');
  });

  test('another body is refused, and another tenant is another matter', async () => {
    await image(ann.key, key('body'));
    const other = await post('/generate-image', { ...picture, prompt: 'another' }, ann.key, key('body'));
    expect([other.status, other.code]).toEqual([422, 'idempotency_key_reused']);
    expect((await post('/v1/chat/completions', chat, ann.key, key('body'))).status).toBe(422);
    expect(await costOf(() => image(bob.key, key('body')), bob.key)).toBe(2);
  });

  test('what failed and cost nothing may be tried again', async () => {
    appliance.faults('status=500');
    expect((await image(ann.key, key('again'))).status).toBe(502);
    appliance.faults('');
    await appliance.ready();
    expect((await image(ann.key, key('again'))).status).toBe(200);
    const refused = await post('/generate-image', { ...picture, prompt: 'nude' }, ann.key, key('refused'));
    expect(refused.status).toBe(400);
    expect((await image(ann.key, key('refused'))).status).toBe(200);
  });

  test.each([
    ['too long', 'k'.repeat(256)],
    ['with a space', 'a b'],
  ])('%s is refused', async (_, name) => {
    expect((await image(ann.key, key(name))).status).toBe(400);
  });
});

describe('by the operator’s hand', () => {
  const move = (body: object, id = ann.company) =>
    appliance.operator(`/api/tenants/${id}/credits`, 'POST', body);

  test.each([
    ['a fraction', { credits: 1.5 }],
    ['NaN', { credits: null }],
    ['a text', { credits: '10' }],
    ['nought', { credits: 0 }],
    ['more than one entry may move', { credits: 1_000_000_001 }],
    ['beyond what numbers can', { credits: 2 ** 53 + 2 }],
    ['without a reason', { credits: 10, reason: undefined }],
    ['an unknown field', { credits: 10, account: 'x' }],
  ])('L7: %s is refused', async (_, body) => {
    const before = await balance();
    expect((await move({ reason: 'for a test', ...body })).error.code).toBe('invalid_request');
    expect(await balance()).toEqual(before);
  });

  test('the same reference is one change; the audit says who, why, before and after', async () => {
    const change = { credits: 7, reason: 'an apology', reference: 'ticket-1' };
    const before = await balance();
    expect((await move(change)).moved).toBe(7);
    expect((await move(change)).moved).toBe(0);
    expect((await move({ ...change, credits: 8 })).error.code).toBe('conflict');
    expect((await balance()).posted).toBe(before.posted + 7);
    const { items } = await appliance.operator(`/api/audit?tenant=${ann.company}&action=credits.*&limit=1`);
    expect(items[0]).toMatchObject({
      actorKind: 'operator',
      action: 'credits.grant',
      reason: 'an apology',
      before: { posted: before.posted },
      after: { posted: before.posted + 7 },
    });
  });

  test('no more is taken than there is', async () => {
    const dora = await appliance.register('dora@example.test', { credits: 5 });
    expect((await move({ credits: -9, reason: 'for a test' }, dora.company)).moved).toBe(-5);
    expect((await balance(dora.key)).available).toBe(0);
  });

  test('credits that expire', async () => {
    const dave = await appliance.register('dave@example.test', {});
    const within = (ms: number): string => new Date(Date.now() + ms).toISOString();
    await move({ credits: 10, reason: 'for an hour', expiresAt: within(3_600_000) }, dave.company);
    expect((await image(dave.key)).status).toBe(200);
    const gil = await appliance.register('gil@example.test', {});
    await move({ credits: 1_000, reason: 'for a moment', expiresAt: within(700) }, gil.company);
    await vi.waitFor(async () => expect((await image(gil.key)).status).toBe(402), { interval: 300 });
    // Not because it was spent.
    const { data } = await appliance.call('GET', '/api/v1/users/transactions', { as: gil.key });
    const posts = data.items.filter(({ kind }: { kind: string }) => kind === 'post');
    expect(posts.reduce((sum: number, { credits }: { credits: number }) => sum - credits, 0)).toBeLessThan(
      500,
    );
  });
});

test('a tenant of the file pays where the file says so, and only there', async () => {
  expect((await image(fileKey)).status).toBe(402);
  await grant('file:lab', 4);
  expect(await costOf(() => image(fileKey), fileKey)).toBe(2);
  const { data } = await appliance.call('GET', '/api/v1/credits/balance', {
    as: 'kh_tenant-of-the-file-without',
  });
  expect(data).toEqual({ metered: false, posted: 0, held: 0, available: 0 });
  expect((await image('kh_tenant-of-the-file-without')).status).toBe(200);
  expect(
    (await appliance.operator('/api/tenants/file:free-lab/credits', 'POST', { credits: 1, reason: 'test' }))
      .error.code,
  ).toBe('not_found');
});

describe('plans', () => {
  test('what the operator changes of a plan or for one tenant counts at once', async () => {
    const erin = await appliance.register('erin@example.test', { plan: 'free', credits: 50 });
    const limit = async (): Promise<number> =>
      (await appliance.call('GET', '/api/v1/rate-limit', { as: erin.key })).data.requestsPerMinute.limit;
    expect(await limit()).toBe(10);
    await appliance.operator(`/api/tenants/${erin.company}`, 'PATCH', {
      overrides: { requestsPerMinute: 33 },
    });
    expect(await limit()).toBe(33);
    await appliance.operator(`/api/tenants/${erin.company}`, 'PATCH', { overrides: { features: ['chat'] } });
    const refused = await image(erin.key);
    expect([refused.status, refused.code]).toEqual([403, 'feature_not_in_plan']);
    await appliance.operator(`/api/tenants/${erin.company}`, 'PATCH', { overrides: {}, plan: 'plus' });
    expect(await limit()).toBe(500);
    const plans = await appliance.operator('/api/plans');
    await appliance.operator('/api/plans', 'PUT', {
      ...plans,
      plus: { ...plans.plus, requestsPerMinute: 77 },
    });
    expect(await limit()).toBe(77);
    await appliance.operator('/api/plans', 'PUT', plans);
  });

  test('a plan that somebody is on, or will be on, cannot be taken away', async () => {
    const { free: _, ...withoutFree } = await appliance.operator('/api/plans');
    const { error } = await appliance.operator('/api/plans', 'PUT', withoutFree);
    expect([error.code, error.param]).toEqual(['conflict', 'free']);
    expect(error.message).toContain('accounts.plan');
    const plans = await appliance.operator('/api/plans');
    const gold = { ...plans, gold: plans.plus };
    const remove = async (): Promise<string | undefined> =>
      (await appliance.operator('/api/plans', 'PUT', plans)).error?.message;
    await appliance.operator('/api/plans', 'PUT', gold);
    const invited = await appliance.operator('/api/invitations', 'POST', {
      email: 'gilda@example.test',
      plan: 'gold',
    });
    expect(await remove()).toContain('the invitation of gilda@example.test');
    await appliance.operator(`/api/invitations/${invited.id}`, 'DELETE');
    const { id } = await appliance.operator('/api/tenants', 'POST', { name: 'Gilders', plan: 'gold' });
    expect(await remove()).toContain('1 tenant is on it: Gilders. Give them another plan first.');
    expect(Object.keys(await appliance.operator('/api/plans'))).toContain('gold');
    await appliance.operator(`/api/tenants/${id}`, 'PATCH', { plan: 'free' });
    expect(await remove()).toBeUndefined();
    expect(await appliance.operator('/api/plans')).toEqual(plans);
  });

  test.each([
    ['plans', (offer: Record<string, object>) => ({ ...offer, 'Team Plan': offer['pro'] })],
    ['plans', (offer: Record<string, object>) => ({ ...offer, prö: offer['pro'] })],
    ['packages', (offer: Record<string, object>) => ({ ...offer, 'Big One': Object.values(offer)[0] })],
    ['prices', (offer: Record<string, object>) => ({ ...offer, features: { 'Story Video': 3 } })],
  ])('%s: a name that could not be shown is refused, with the rule', async (name, changed) => {
    const before = await appliance.operator(`/api/${name}`);
    const { error } = await appliance.operator(`/api/${name}`, 'PUT', changed(before));
    expect(error.code).toBe('invalid_request');
    expect(error.message).toMatch(/^\w+: "(Team Plan|prö|Big One|Story Video)" is not .*small letters/);
    expect(await appliance.operator(`/api/${name}`)).toEqual(before);
  });

  test.each([
    ['an unknown plan', { plan: 'gold' }, 'plan'],
    ['an unknown limit', { overrides: { credits: 5 } }, 'overrides.credits'],
    ['a limit below one', { overrides: { concurrent: 0 } }, 'overrides.concurrent'],
    ['nothing', {}, null],
  ])('%s is refused', async (_, body, param) => {
    const { error } = await appliance.operator(`/api/tenants/${ann.company}`, 'PATCH', body);
    expect([error.code, error.param]).toEqual(['invalid_request', param]);
  });

  test('T5: a restart gives nobody a new minute', async () => {
    const fay = await appliance.register('fay@example.test', { plan: 'free', credits: 500 });
    const statuses: number[] = [];
    for (let i = 0; i < 11; i += 1) statuses.push((await image(fay.key)).status);
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 200), 429]);
    await appliance.stop();
    appliance = await TestAppliance.start({ folder: appliance.folder, speed: 50 });
    await appliance.ready();
    const { status, headers } = await image(fay.key);
    expect(status).toBe(429);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  });
});

describe('prompts', () => {
  const secret = 'the-secret-of-the-kiln';
  const ask = (as: string): Promise<Answer> =>
    post('/v1/chat/completions', { ...chat, messages: [{ role: 'user', content: secret }] }, as);
  type Item = { id: string; prompts: unknown };
  const keptBy = async (as: string): Promise<Item[]> =>
    (await appliance.call('GET', '/api/v1/history?limit=100', { as })).data.items.filter(
      ({ prompts }: Item) => prompts !== null,
    );
  const kept = () => keptBy(ann.token);
  const onDisk = (): boolean => {
    const db = new BetterSqlite3(join(appliance.folder, 'kilnhouse.db'), { readonly: true });
    const found = db.serialize().toString('latin1').includes(secret);
    db.close();
    return found;
  };

  test('are absent unless the company has them kept, and then encrypted; both end when it says so', async () => {
    await ask(ann.key);
    expect(await kept()).toEqual([]);
    const keep = (history: string) =>
      appliance.call('PATCH', '/api/v1/company', { as: ann.token, body: { history } });
    await keep('encrypted');
    await ask(ann.key);
    await ask(bob.key);
    const items = await kept();
    expect(items).toHaveLength(1);
    expect(JSON.stringify(items)).toContain(secret);
    expect(onDisk()).toBe(false);
    await ask(ann.key);
    expect(
      (await appliance.call('DELETE', `/api/v1/history/${items[0]?.id}`, { as: bob.token })).status,
    ).toBe(404);
    expect(
      (await appliance.call('DELETE', `/api/v1/history/${items[0]?.id}`, { as: ann.token })).status,
    ).toBe(200);
    expect(await kept()).toHaveLength(1);
    const member = await appliance.register('member@example.test', { tenant: ann.company });
    const seenBy = async (as: string) => (await keptBy(as)).length;
    await ask(member.key);
    expect(await Promise.all([ann.token, ann.key, member.token, member.key].map(seenBy))).toEqual([
      2, 1, 1, 1,
    ]);
    await keep('none');
    expect(await kept()).toEqual([]);
  });
});

describe('a crash', () => {
  test('in the middle of work: what was held is given back, and the same Idempotency-Key does the work once', async () => {
    appliance.faults('latency=60000');
    const before = await balance();
    const lost = image(ann.key, { 'idempotency-key': 'crash' }).catch(() => null);
    await vi.waitFor(async () => expect((await balance()).held).toBe(2));
    await appliance.kill();
    await lost;
    writeFileSync(join(appliance.folder, 'demo', 'faults'), '');
    appliance = await TestAppliance.start({ folder: appliance.folder, speed: 50 });
    await appliance.ready();
    expect(await balance()).toEqual(before);
    expect(await costOf(() => image(ann.key, { 'idempotency-key': 'crash' }))).toBe(2);
    const again = await image(ann.key, { 'idempotency-key': 'crash' });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  test('D5: a ledger that does not add up is not served', async () => {
    await appliance.stop();
    const db = new BetterSqlite3(join(appliance.folder, 'kilnhouse.db'));
    const trigger = db
      .prepare("select sql from sqlite_master where name = 'ledger_accounts_follow_entries'")
      .pluck()
      .get() as string;
    db.exec(
      'drop trigger ledger_accounts_follow_entries; update ledger_accounts set posted = posted + 5 where id = 1',
    );
    const refused = TestAppliance.launch({ folder: appliance.folder });
    await refused.until(() => refused.process.exitCode !== null);
    expect(refused.process.exitCode).not.toBe(0);
    expect(refused.output).toContain('The ledger does not add up');
    db.exec('update ledger_accounts set posted = posted - 5 where id = 1');
    db.exec(trigger);
    db.close();
    appliance = await TestAppliance.start({ folder: appliance.folder, speed: 50 });
  });
});
