import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import BetterSqlite3 from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Program, start, stop } from '../bench/gateway/programs.ts';
import { type Person, TestAppliance } from './appliance.ts';
import { picture } from './picture-files.ts';
import { secretKey, StripeServer, webhookSecret } from './stripe-server.ts';
import { freePorts } from '../server/free-ports.ts';

/*
 * The real server, killed at random moments of real work and at every named point, again and again on the same
 * database. KILLS says how often at random (npm run test:slow: 1,000), SEED repeats a history. What a client was told is
 * kept here, outside, and held against what the database and the disk say after each start.
 */
const kills = Number(process.env['KILLS'] ?? 15);
/** At each named point it dies so often: the first time it comes by, then the second. */
const hits = Number(process.env['HITS'] ?? 1);
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const tokensOfAnAnswer = 11;
const creditsOfAnOrder = 100;
const firstCredits = 1_000_000;
const server = fileURLToPath(new URL('../server', import.meta.url));
/** Every place where the server can be told to die, as its source says. */
const points = [
  ...new Set(
    readdirSync(server, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) => [
        ...readFileSync(join(server, name), 'utf8').matchAll(/crashPoint\('([a-z.-]+)'\)/g),
      ])
      .map(([, name = '']) => name),
  ),
].toSorted();

let state = seed;
/** The same numbers for the same seed (mulberry32). */
function random(below: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
}

let upstream: Program;
let webui: Program;
let receiver: Server;
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
/** Sends pictures, asks for pictures, gives them up and forgets them. */
let artist: Person;

/** Jobs that we were told of. */
const jobs = new Set<string>();
/** The artist's: what we were told last, by id. */
const pictures = new Map<string, 'asked' | 'canceled' | 'forgotten'>();
const jobsOfBatch = 3;
/** The batch of a job, for those that are of one. */
const batchOf = new Map<string, string>();
/** Batches of which a job may be gone, because we had it forgotten. */
const torn = new Set<string>();
/** Uploads with their bytes; null when we were told that one is gone. */
const uploads = new Map<string, number | null>();
/** Ids of jobs whose success a webhook told of. */
const told = new Set<string>();
/** Answers that were given, by Idempotency-Key; null while none came. */
const asked = new Map<string, string | null>();
/** Paid events, by order; true once we said that we had it. */
const events = new Map<string, { event: object; acknowledged: boolean }>();
/** Grants by the operator, by reference. */
const grants = new Map<string, boolean>();
const revoked: string[] = [];
const counts = {
  kills: 0,
  duringBoot: 0,
  atPoints: 0,
  answers: 0,
  replays: 0,
  orphans: 0,
  events: 0,
  streams: 0,
};
const hit = new Map<string, number>();

beforeAll(async () => {
  upstream = await start('bench/gateway/upstream.ts', [], /port (\d+)/);
  const port = (await freePorts(1))[0] ?? 0;
  const standIn = { STANDIN_SPEED: '500', STANDIN_DIR: mkdtempSync(join(tmpdir(), 'kilnhouse-crash-')) };
  webui = await start('gpu/stand-ins/webui/server.ts', ['--port', String(port)], /(Startup)/, standIn);
  receiver = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (piece: string) => (body += piece));
    request.on('end', () => {
      told.add((JSON.parse(body) as { data: { id: string } }).data.id);
      response.end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  stripe = await new StripeServer().start();
  appliance = await TestAppliance.start({
    env: { KILNHOUSE_DEMO: '0' },
    config: {
      lmStudio: { port: Number(new URL(upstream.url).port) },
      webui: { port },
      gpu: { declaredMib: 16_384 },
      webhooks: { allow: ['127.0.0.1'] },
      llamaCpp: { enabled: false },
      payments: { stripeSecretKey: secretKey, stripeWebhookSecret: webhookSecret, stripeUrl: stripe.url },
      accounts: { callsPerAddress: 1_000_000 },
    },
  });
  const prices = await appliance.operator('/api/prices');
  await appliance.operator('/api/prices', 'PUT', { ...prices, text: { per1000Tokens: 1_000 } });
  [patient, fickle, buyer, worker, artist] = await Promise.all([
    appliance.register('patient@example.test', { plan: 'enterprise', credits: firstCredits }),
    appliance.register('fickle@example.test', { plan: 'enterprise', credits: firstCredits }),
    appliance.register('buyer@example.test', { plan: 'enterprise' }),
    appliance.register('worker@example.test', { plan: 'enterprise', credits: firstCredits }),
    appliance.register('artist@example.test', { plan: 'enterprise', credits: firstCredits }),
  ]);
  await appliance.operator(`/api/tenants/${artist.company}`, 'PATCH', {
    allowNSFW: true,
    overrides: { uploadsPerMinute: 1_000_000, imagesPerHour: 1_000_000, downloadsPerHour: 1_000_000 },
  });
  const at = receiver.address();
  const url = `http://127.0.0.1:${typeof at === 'object' && at ? at.port : 0}/`;
  const hook = await appliance.call('POST', '/api/v1/webhooks', {
    as: artist.token,
    body: { url, events: ['job.succeeded'] },
  });
  expect(hook.status).toBe(201);
});
afterAll(async () => {
  await appliance.stop();
  receiver.closeAllConnections();
  receiver.close();
  await Promise.all([stop(upstream), stop(webui), stripe.stop()]);
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

const sketch = { prompt: 'a kiln', model: 'demo-sd15', size: '64x64', steps: 2 };

function asArtist(method: string, path: string, body?: object) {
  return appliance.call(method, `/api/v1/${path}`, { as: artist.key, ...(body && { body }) });
}

/** What has to be done again, and a few of the others: as many after a thousand kills as after the first. */
function again<Key, Value>(map: ReadonlyMap<Key, Value>, mustBe: (value: Value) => boolean): Key[] {
  const all = [...map];
  const few = Array.from({ length: Math.min(3, all.length) }, () => all[random(all.length)]);
  const wanted = [...all.filter(([, value]) => mustBe(value)), ...few.filter((one) => one !== undefined)];
  return [...new Set(wanted.map(([key]) => key))];
}

/** One of those that are as they should be for it. */
function oneOf<Key, Value>(map: ReadonlyMap<Key, Value>, is: (value: Value) => boolean): Key | undefined {
  const fit = [...map].filter(([, value]) => is(value));
  return fit[random(fit.length)]?.[0];
}

async function paint(): Promise<void> {
  switch (random(6)) {
    case 0: {
      const bytes = await picture('png', { width: 64 + random(64), height: 64 });
      const { status, data } = await appliance.upload(artist.key, [{ name: 'a.png', bytes }]);
      if (status === 201) uploads.set(data.id, data.bytes);
      return;
    }
    case 1: {
      const image = oneOf(uploads, (bytes) => bytes !== null);
      const { status, data } = await asArtist('POST', 'jobs/image-generation', { ...sketch, n: 2, image });
      if (status === 202) pictures.set(data.id, 'asked');
      return;
    }
    case 2: {
      const item = { feature: 'image-generation', input: sketch };
      const items = Array.from({ length: jobsOfBatch }, () => item);
      const { status, data } = await asArtist('POST', 'jobs/batch', { items });
      if (status !== 202) return;
      for (const { id } of data.jobs) {
        pictures.set(id, 'asked');
        batchOf.set(id, data.id);
      }
      return;
    }
    case 3: {
      const id = oneOf(pictures, (state) => state === 'asked');
      if (id === undefined) return;
      const { status, data } = await asArtist('POST', `jobs/${id}/cancel`);
      if (status === 200 && data.state === 'canceled') pictures.set(id, 'canceled');
      return;
    }
    case 4: {
      const id = oneOf(uploads, (bytes) => bytes !== null);
      // Whatever is not answered may have happened or not.
      const before = id === undefined ? undefined : uploads.get(id);
      if (id === undefined || before === undefined) return;
      uploads.delete(id);
      const { status } = await asArtist('DELETE', `uploads/${id}`);
      uploads.set(id, status === 200 ? null : before);
      return;
    }
    default: {
      const id = oneOf(pictures, (state) => state !== 'forgotten');
      if (id === undefined) return;
      const before = pictures.get(id);
      pictures.delete(id);
      torn.add(batchOf.get(id) ?? '');
      const { status } = await asArtist('DELETE', `history/${id}`);
      if (before) pictures.set(id, status === 200 ? 'forgotten' : before);
    }
  }
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
  while (going()) {
    await work().catch((error: unknown) => {
      if (error instanceof Error && error.name === 'AssertionError') throw error;
    });
    // What fails at once must not keep everything else from its turn.
    await nextTurn();
  }
}

/** Works until the appliance dies, by our hand or at the point it was told to. */
async function workAndDie(died: () => Promise<void>): Promise<void> {
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
    client(paint, going),
    client(paint, going),
    client(order, going),
    client(grant, going),
    client(revoke, going),
  ];
  await died();
  isOn = false;
  counts.kills += 1;
  await Promise.all(clients);
}

const env = { KILNHOUSE_DEMO: '0' };

async function restart(): Promise<void> {
  const { folder } = appliance;
  await appliance.stop();
  if (random(6) === 0) {
    // F3: again before it is up.
    const early = TestAppliance.launch({ folder, env });
    await delay(random(700));
    await early.kill();
    counts.duringBoot += 1;
    counts.kills += 1;
  }
  appliance = await TestAppliance.start({ folder, env });
  const bothEngines = async (): Promise<boolean> => {
    const answer = await fetch(`${appliance.tenantUrl}/ready`);
    const { text, image } = (await answer.json()) as Record<string, boolean>;
    return text === true && image === true;
  };
  await appliance.until(bothEngines);
}

/** Starts it with an order to die. It may do so before it serves. */
async function restartToDieAt(point: string, time: number): Promise<void> {
  await appliance.stop();
  const order = { KILNHOUSE_CRASH_AT: `${point}:${time}` };
  appliance = TestAppliance.launch({ folder: appliance.folder, env: { ...env, ...order } });
  await appliance.serving().catch(() => undefined);
}

async function posted(of: Person): Promise<number> {
  return (await appliance.operator(`/api/tenants/${of.company}`)).balance.posted;
}

/** J1, J3: every job that we were told of is there, and every one that is there comes to its end, charged once. */
async function checkJobs(): Promise<void> {
  const db = new BetterSqlite3(join(appliance.folder, 'kilnhouse.db'), { readonly: true });
  try {
    const open = db.prepare<[string], number>(
      "select count(*) from jobs where tenant = ? and state in ('queued', 'starting', 'processing')",
    );
    await appliance.until(() => open.pluck().get(worker.company) === 0, 20_000);
    const states = db.prepare<[string], { id: string; state: string }>(
      'select id, state from jobs where tenant = ?',
    );
    const there = new Map(states.all(worker.company).map(({ id, state }) => [id, state]));
    for (const id of jobs) expect(there.get(id), 'J1').toBe('succeeded');
    expect([...there.values()].filter((state) => state !== 'succeeded')).toEqual([]);
    expect(await posted(worker), 'L10').toBe(firstCredits - tokensOfAnAnswer * there.size);
  } finally {
    db.close();
  }
  // What the database says is what is answered.
  const { data } = await appliance.call('GET', '/api/v1/jobs?limit=100', { as: worker.key });
  for (const { state } of data.items) expect(state).toBe('succeeded');
}

/** J1, J2, J6, L10: what the artist was told is so, in the answers and on the disk. */
async function checkPictures(): Promise<void> {
  const states = new Map<string, { state: string; charged: number | null }>();
  const read = async (): Promise<boolean> => {
    states.clear();
    for (let after = ''; ;) {
      const { data } = await asArtist('GET', `jobs?limit=100${after}`);
      for (const { id, state, batch, credits } of data.items) {
        states.set(id, { state, charged: credits.charged });
        if (batch !== null) batchOf.set(id, batch);
      }
      if (data.next === null) break;
      after = `&after=${data.next}`;
    }
    return [...states.values()].every(({ charged }) => charged !== null);
  };
  await appliance.until(read, 30_000, 50);
  for (const [id, last] of pictures) {
    const now = states.get(id);
    if (last === 'forgotten') expect(now, `forgotten ${id}`).toBeUndefined();
    else
      expect(now?.state, `J1 ${id}`).toBe(
        last === 'canceled' ? 'canceled' : now?.state === 'canceled' ? 'canceled' : 'succeeded',
      );
  }
  // All of a batch or none, also of one whose receipt was lost.
  const sizes = new Map<string, number>();
  for (const id of states.keys()) {
    const batch = batchOf.get(id);
    if (batch !== undefined) sizes.set(batch, (sizes.get(batch) ?? 0) + 1);
  }
  const partial = [...sizes].filter(([batch, size]) => size !== jobsOfBatch && !torn.has(batch));
  expect(partial, 'J1').toEqual([]);
  for (const id of again(uploads, (bytes) => bytes === null)) {
    const bytes = uploads.get(id) ?? null;
    const { status, data } = await asArtist('GET', `uploads/${id}`);
    expect(status, `upload ${id}`).toBe(bytes === null ? 404 : 200);
    if (bytes === null) uploads.delete(id);
    else expect((await (await fetch(data.url)).arrayBuffer()).byteLength).toBe(bytes);
  }
  // What was checked once is not asked for again, so that a long run does not grow slower.
  for (const [id, state] of pictures) if (state === 'forgotten' || random(2) === 0) pictures.delete(id);
  for (const id of [...states.keys()].slice(60)) {
    torn.add(batchOf.get(id) ?? '');
    await asArtist('DELETE', `jobs/${id}`);
  }
}

/** Every row has its file, and every file its row. */
async function checkFiles(): Promise<void> {
  const known = (): Set<string> => {
    const db = new BetterSqlite3(join(appliance.folder, 'kilnhouse.db'), { readonly: true });
    const ids = db.prepare<[], string>(
      'select id from artefacts union all select thumbnail from artefacts where thumbnail is not null union all select id from uploads',
    );
    const all = new Set(ids.pluck().all());
    db.close();
    return all;
  };
  const onDisk = (): string[] =>
    readdirSync(join(appliance.folder, 'artefacts'), { recursive: true, encoding: 'utf8' })
      .map((path) => path.split('/'))
      .filter((parts) => parts.length === 3)
      .map(([, , name = '']) => name);
  await appliance.until(() => onDisk().every((name) => known().has(name)), 10_000, 50);
  const files = new Set(onDisk());
  expect(
    [...known()].filter((id) => !files.has(id)),
    'rows without files',
  ).toEqual([]);
  expect(readdirSync(join(appliance.folder, 'incoming'))).toEqual([]);
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
    const sums = db.prepare(
      `select 'storage', tenant from storage where bytes <> (
         select coalesce((select sum(bytes) from artefacts where tenant = storage.tenant), 0)
           + coalesce((select sum(bytes) from uploads where tenant = storage.tenant), 0))
       union all
       select 'usage', tenant from (select tenant, sum(requests) as requests, sum(credits) as credits from usage_daily group by 1) sums
         where (requests, credits) <> (select count(*), sum(credits) from usage where tenant = sums.tenant)
       union all
       select 'job', id from jobs where credits > 0 and finished_at is not null
         and (select count(*) from usage where id = jobs.id and credits = jobs.credits) <> 1`,
    );
    expect(sums.all()).toEqual([]);
    const boots = db.prepare(
      "select count(distinct boot) from jobs where state in ('starting', 'processing')",
    );
    expect(boots.pluck().get(), 'J3').toBeLessThanOrEqual(1);
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

async function check(): Promise<void> {
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
  await checkPictures();
  await checkFiles();
  // Stripe delivers again what we did not say we had, and now and then what we did.
  for (const id of again(events, ({ acknowledged }) => !acknowledged)) await pay(id);
  for (const reference of again(grants, (given) => !given)) await give(reference);
  expect(await posted(buyer), 'W1').toBe(creditsOfAnOrder * events.size + 10 * grants.size);
  await appliance.until(async () => (await appliance.operator('/api/ledger')).held === 0, 5_000);
  for (const key of revoked.slice(-5))
    expect((await appliance.call('GET', '/api/v1/credits/balance', { as: key })).status, 'A1').toBe(401);
}

const perKillMs = 8_000;

test(
  `L1 to L12, W1, A1, J1 to J6: ${kills} kills (seed ${seed}): sums hold, nothing is charged twice, nothing is lost`,
  async () => {
    while (counts.kills < kills) {
      await workAndDie(async () => {
        await delay(random(500));
        await appliance.kill();
      });
      await restart();
      await check();
    }
    expect(counts.answers).toBeGreaterThan(kills);
    expect(counts.streams).toBeGreaterThan(kills / 4);
    expect(events.size + grants.size).toBeGreaterThan(kills);
  },
  Math.max(120_000, kills * perKillMs),
);

test(
  `F2: dead at each of ${points.length} named points, ${hits} time(s) each`,
  async () => {
    for (const point of points) {
      for (let time = 1; time <= hits; time += 1) {
        await restartToDieAt(point, time);
        await workAndDie(async () => {
          const gone = appliance.ended();
          const isHit = await Promise.race([gone.then(() => true), delay(20_000).then(() => false)]);
          expect(isHit, `${point} is never come by`).toBe(true);
        });
        hit.set(point, (hit.get(point) ?? 0) + 1);
        counts.atPoints += 1;
        await restart();
        await check();
      }
    }
    expect([...hit.keys()]).toEqual(points);
  },
  points.length * hits * (perKillMs + 20_000),
);

test('W3: of every job of the artist that succeeded and is there, its endpoint was told', async () => {
  await restart();
  const { data } = await asArtist('GET', 'jobs?state=succeeded&limit=100');
  expect(data.items.length).toBeGreaterThan(0);
  await appliance.until(() => data.items.every(({ id }: { id: string }) => told.has(id)), 20_000, 50);
  // oxlint-disable-next-line no-console -- the report of the run
  console.info(
    JSON.stringify({
      seed,
      ...counts,
      orders: events.size,
      grants: grants.size,
      revoked: revoked.length,
      jobs: jobs.size,
      told: told.size,
      points: hit.size,
    }),
  );
});
