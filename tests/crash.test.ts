import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import BetterSqlite3 from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Program, start, stop } from '../bench/gateway/programs.ts';
import { type Person, TestAppliance } from './appliance.ts';
import { secretKey, StripeServer, webhookSecret } from './stripe-server.ts';

/*
 * The real server, killed at random moments of real work, again and again on the same database. KILLS says how often
 * (npm run test:slow: 300), SEED repeats a history. What a client was told is kept here, outside, and held against
 * what the database says after each start.
 */
const kills = Number(process.env['KILLS'] ?? 15);
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const tokensOfAnAnswer = 11;
const creditsOfAnOrder = 100;
const firstCredits = 1_000_000;

let state = seed;
/** The same numbers for the same seed (mulberry32). */
function random(below: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
}

let upstream: Program;
let stripe: StripeServer;
let appliance: TestAppliance;
/** Sends each request until it was answered; must be charged once for each. */
let patient: Person;
/** Hangs up in the middle. */
let fickle: Person;
/** Orders and pays. */
let buyer: Person;
/** Asks for jobs, and comes back for them. */
let worker: Person;

/** Jobs that we were told of. */
const jobs = new Set<string>();
/** Answers that were given, by Idempotency-Key; null while none came. */
const asked = new Map<string, string | null>();
/** Paid events, by order; true once we said that we had it. */
const events = new Map<string, { event: object; acknowledged: boolean }>();
/** Grants by the operator, by reference. */
const grants = new Map<string, boolean>();
const revoked: string[] = [];
const counts = { kills: 0, duringBoot: 0, answers: 0, replays: 0, orphans: 0, events: 0, streams: 0 };

beforeAll(async () => {
  upstream = await start('bench/gateway/upstream.ts', [], /port (\d+)/);
  stripe = await new StripeServer().start();
  appliance = await TestAppliance.start({
    env: { KILNHOUSE_DEMO: '0' },
    config: {
      lmStudio: { port: Number(new URL(upstream.url).port) },
      webui: { enabled: false },
      llamaCpp: { enabled: false },
      payments: { stripeSecretKey: secretKey, stripeWebhookSecret: webhookSecret, stripeUrl: stripe.url },
      accounts: { callsPerAddress: 1_000_000 },
    },
  });
  const prices = await appliance.operator('/api/prices');
  await appliance.operator('/api/prices', 'PUT', { ...prices, text: { per1000Tokens: 1_000 } });
  [patient, fickle, buyer, worker] = await Promise.all([
    appliance.register('patient@example.test', { plan: 'enterprise', credits: firstCredits }),
    appliance.register('fickle@example.test', { plan: 'enterprise', credits: firstCredits }),
    appliance.register('buyer@example.test', { plan: 'enterprise' }),
    appliance.register('worker@example.test', { plan: 'enterprise', credits: firstCredits }),
  ]);
});
afterAll(async () => {
  await appliance.stop();
  await Promise.all([stop(upstream), stripe.stop()]);
});

const chat = { model: 'bench-model', messages: [{ role: 'user', content: 'hello' }] };

async function ask(key: string): Promise<void> {
  const { status, text, headers } = await appliance.call('POST', '/v1/chat/completions', {
    as: patient.key,
    body: chat,
    headers: { 'idempotency-key': key },
  });
  if (status !== 200) return;
  const before = asked.get(key);
  if (typeof before === 'string') {
    expect(text, 'the same answer').toBe(before);
    expect(headers.get('idempotent-replayed')).toBe('true');
    counts.replays += 1;
  }
  asked.set(key, text);
  counts.answers += 1;
}

async function enlist(): Promise<void> {
  const { status, data } = await appliance.call('POST', '/api/v1/inference', { as: worker.key, body: chat });
  if (status === 202 || status === 200) jobs.add(data.id);
}

async function hangUp(): Promise<void> {
  const abort = new AbortController();
  const response = await fetch(`${appliance.tenantUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${fickle.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...chat, stream: true, max_tokens: 50 }),
    signal: abort.signal,
  });
  await response.body?.getReader().read();
  counts.streams += 1;
  abort.abort();
}

async function pay(order: string): Promise<void> {
  const one = events.get(order);
  if (!one) return;
  const { payload, headers } = stripe.signed(one.event);
  const { status } = await appliance.call('POST', '/api/v1/payments/webhook', { body: payload, headers });
  if (status === 200) one.acknowledged = true;
  counts.events += 1;
}

async function order(): Promise<void> {
  const before = stripe.sessions.length;
  const body = { package: 'starter' };
  const { status, data } = await appliance.call('POST', '/api/v1/payments/create-checkout', {
    as: buyer.token,
    body,
  });
  if (status !== 201) return;
  const session = stripe.sessions.slice(before).find(({ metadata }) => metadata.order === data.order);
  const object = { ...session, payment_status: 'paid', payment_intent: `pi_${data.order}` };
  events.set(data.order, { event: stripe.event('checkout.session.completed', object), acknowledged: false });
  await pay(data.order);
}

async function grant(): Promise<void> {
  const reference = `grant-${grants.size}`;
  grants.set(reference, false);
  await give(reference);
}
async function give(reference: string): Promise<void> {
  const body = { credits: 10, reason: 'for the crash test', reference };
  const { balance } = await appliance.operator(`/api/tenants/${buyer.company}/credits`, 'POST', body);
  if (balance) grants.set(reference, true);
}

async function revoke(): Promise<void> {
  const made = await appliance.call('POST', '/api/v1/api-keys', { as: buyer.token, body: { name: 'k' } });
  if (made.status !== 201) return;
  const { status } = await appliance.call('DELETE', `/api/v1/api-keys/${made.data.id}`, { as: buyer.token });
  if (status === 200) revoked.push(made.data.key);
}

/** Works until it is told to end, one thing after another; what the kill cuts short is nobody's fault. */
async function client(work: () => Promise<void>, going: () => boolean): Promise<void> {
  while (going())
    await work().catch((error: unknown) => {
      if (error instanceof Error && error.name === 'AssertionError') throw error;
    });
}

async function workAndKill(): Promise<void> {
  let isOn = true;
  const going = (): boolean => isOn;
  const newKey = (): Promise<void> => {
    const key = `ask-${asked.size}`;
    asked.set(key, null);
    return ask(key);
  };
  const clients = [
    ...Array.from({ length: 4 }, () => client(newKey, going)),
    ...Array.from({ length: 3 }, () => client(hangUp, going)),
    client(enlist, going),
    client(order, going),
    client(grant, going),
    client(revoke, going),
  ];
  await delay(random(400));
  await appliance.kill();
  isOn = false;
  counts.kills += 1;
  await Promise.all(clients);
}

async function restart(): Promise<void> {
  const { folder } = appliance;
  const env = { KILNHOUSE_DEMO: '0' };
  if (random(6) === 0) {
    // F3: again before it is up.
    const early = TestAppliance.launch({ folder, env });
    await delay(random(700));
    await early.kill();
    counts.duringBoot += 1;
    counts.kills += 1;
  }
  appliance = await TestAppliance.start({ folder, env });
  await appliance.until(async () => (await fetch(`${appliance.tenantUrl}/ready`)).ok);
}

async function posted(of: Person): Promise<number> {
  return (await appliance.operator(`/api/tenants/${of.company}`)).balance.posted;
}

/** J1, J3: every job that we were told of is there, and every one that is there comes to its end, charged once. */
async function checkJobs(): Promise<void> {
  const all = async (): Promise<{ id: string; state: string }[]> => {
    const found = [];
    for (let after = ''; ;) {
      const { data } = await appliance.call('GET', `/api/v1/jobs?limit=100${after}`, { as: worker.key });
      found.push(...data.items);
      if (data.next === null) return found;
      after = `&after=${data.next}`;
    }
  };
  await appliance.until(async () => (await all()).every(({ state }) => state === 'succeeded'), 20_000, 50);
  const there = await all();
  const ids = new Set(there.map(({ id }) => id));
  for (const id of jobs) expect(ids.has(id), 'J1').toBe(true);
  expect(await posted(worker), 'L10').toBe(firstCredits - tokensOfAnAnswer * there.length);
}

function checkDatabase(): void {
  const db = new BetterSqlite3(join(appliance.folder, 'kilnhouse.db'), { readonly: true });
  try {
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(db.pragma('foreign_key_check')).toEqual([]);
    const unmatched = db.prepare(
      `select entry.id from ledger_entries entry join ledger_entries hold on hold.sequence = entry.hold
         where entry.kind = 'post' and entry.posted < 0
           and (select count(*) from usage where id = hold.id and credits > 0 and credits = -entry.posted) <> 1
       union all
       select id from usage where credits > 0 and not exists (select 1 from ledger_entries where id = usage.id || ':post')`,
    );
    expect(unmatched.all(), 'L10').toEqual([]);
    const ends = db.prepare(
      'select hold from ledger_entries where hold is not null group by hold having count(*) > 1',
    );
    expect(ends.all(), 'L4').toEqual([]);
    const stopped = db.prepare(
      "select count(*) from ledger_entries where reason like 'the appliance stopped%'",
    );
    counts.orphans = stopped.pluck().get() as number;
  } finally {
    db.close();
  }
}

test(
  `L1 to L12, W1, A1, J1, J3: ${kills} kills (seed ${seed}): sums hold, nothing is charged twice, nothing is lost`,
  async () => {
    while (counts.kills < kills) {
      await workAndKill();
      await restart();
      const proof = await appliance.operator('/api/ledger');
      expect(proof, 'L1, L2, L3, L12').toMatchObject({ ok: true, faults: [] });
      checkDatabase();
      // Whoever was cut short asks again with the same key; who was answered gets that answer.
      const unanswered = [...asked].filter(([, answer]) => answer === null).map(([key]) => key);
      for (const key of unanswered)
        await appliance.until(async () => (await ask(key), asked.get(key) !== null), 10_000);
      const answered = [...asked.keys()];
      for (let i = 0; i < 5; i += 1) await ask(answered[random(answered.length)] ?? '');
      expect(await posted(patient), 'L9').toBe(firstCredits - tokensOfAnAnswer * asked.size);
      await checkJobs();
      // Stripe delivers again what we did not say we had, and now and then what we did.
      for (const [id, { acknowledged }] of events) if (!acknowledged || random(20) === 0) await pay(id);
      for (const [reference, given] of grants) if (!given || random(20) === 0) await give(reference);
      expect(await posted(buyer), 'W1').toBe(creditsOfAnOrder * events.size + 10 * grants.size);
      expect((await appliance.operator('/api/ledger')).held, 'L4').toBe(0);
      for (const key of revoked.slice(-5))
        expect((await appliance.call('GET', '/api/v1/credits/balance', { as: key })).status, 'A1').toBe(401);
    }
    // oxlint-disable-next-line no-console -- the report of the run
    console.info(
      JSON.stringify({
        seed,
        ...counts,
        orders: events.size,
        grants: grants.size,
        revoked: revoked.length,
        jobs: jobs.size,
      }),
    );
    expect(counts.answers).toBeGreaterThan(kills);
    expect(counts.streams).toBeGreaterThan(kills);
    expect(events.size + grants.size).toBeGreaterThan(kills);
  },
  Math.max(120_000, kills * 6_000),
);
