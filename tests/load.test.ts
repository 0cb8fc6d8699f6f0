import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';

/* A bounded load from several tenants at once, some of whom hang up: nobody gets what is another's, and all is free again. */
const tenantCount = 6;
const requestsEach = 25;
const keyOf = (tenant: number): string => `kh_load-test-tenant-number-${tenant}`;
const canaryOf = (tenant: number, request: number): string => `canary${tenant}x${request}x`;
let appliance: TestAppliance;

beforeAll(async () => {
  const limits = { requestsPerMinute: 100_000, concurrent: 4, queued: 100 };
  appliance = await TestAppliance.start({
    speed: 60,
    tenants: Object.fromEntries(
      Array.from({ length: tenantCount }, (_, i) => [keyOf(i), { name: `tenant-${i}`, plan: 'pro', limits }]),
    ),
    config: { scheduler: { interactiveQueueSeconds: 100_000 } },
  });
  await appliance.ready();
});
afterAll(() => appliance.stop());

async function ask(tenant: number, request: number): Promise<'answered' | 'hung up'> {
  const abort = new AbortController();
  const hangsUp = (tenant + request) % 5 === 0;
  if (hangsUp) setTimeout(() => abort.abort(), 5 + ((request * 7) % 60));
  const body = {
    model: request % 9 === 0 ? 'demo-chat-8b' : 'demo-chat-3b',
    stream: request % 2 === 0,
    messages: [{ role: 'user', content: `say ${canaryOf(tenant, request)}` }],
  };
  try {
    const response = await fetch(`${appliance.tenantUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keyOf(tenant)}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: abort.signal,
    });
    const text = await response.text();
    expect(response.status, text).toBe(200);
    const found = [...text.matchAll(/canary\d+x\d+x/g)].map(([word]) => word);
    // T1: its own, and nobody else's.
    expect(new Set(found)).toEqual(new Set([canaryOf(tenant, request)]));
    return 'answered';
  } catch (error) {
    if (abort.signal.aborted) return 'hung up';
    throw error;
  }
}

test('T1, S1: every tenant gets its own answers, whoever hangs up, and all slots are free afterwards', async () => {
  await ask(0, 1);
  const outcomes = await Promise.all(
    Array.from({ length: tenantCount * requestsEach }, (_, i) =>
      ask(i % tenantCount, Math.floor(i / tenantCount)),
    ),
  );
  expect(outcomes.filter((outcome) => outcome === 'answered').length).toBeGreaterThan(100);
  await appliance.until(async () =>
    (await appliance.operator('/api/models')).every(
      (model: { running: number; waiting: number }) => model.running + model.waiting === 0,
    ),
  );
  const { items: tenants } = await appliance.operator('/api/tenants');
  expect(tenants.every(({ open }: { open: number }) => open === 0)).toBe(true);
});
