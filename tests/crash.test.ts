import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Database } from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Program, start, stop } from '../bench/gateway/programs.ts';
import { type Answer, passwordOf, type Person, TestAppliance } from './appliance.ts';
import { spent, timed } from './crash-time.ts';
import {
  type Checked,
  checkedUpTo,
  faultsOfAll,
  faultsSince,
  filesAgainstRows,
  withDatabase,
} from './crash-checks.ts';
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
/** After so many kills the whole past is checked, and the run tells how far it is. */
const wholeEvery = 25;
/** In so many kills each kind of client got something done; otherwise the run shows less than it says. */
const idleEvery = 100;
/** A kill waits for so many things that clients did, at most, so that a slow machine is killed at work as well. */
const worksOfAKill = 60;
/** Of the artist's jobs so many are kept; a long run would list more with every kill. */
const keptPictures = 60;
/** After so long, what is waited for does not come. */
const longMs = 60_000;
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
/** What clients of any kind have done. */
let worked = 0;
/** Jobs for pictures that were taken. */
let painted = 0;
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
  buyersToken = buyer.token;
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
      if (status !== 202) return;
      pictures.set(data.id, 'asked');
      painted += 1;
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

let buyersToken = '';

/** As the buyer in person. */
function asBuyer(method: string, path: string, body?: object): Promise<Answer> {
  return appliance.call(method, `/api/v1/${path}`, { as: buyersToken, ...(body && { body }) });
}

/** The token of a person is good for a quarter of an hour, and a long run takes longer. */
async function signInAgain(): Promise<void> {
  const { status } = await asBuyer('GET', 'credits/balance');
  if (status !== 401) return;
  const { email } = buyer;
  const body = { email, password: passwordOf(email) };
  buyersToken = (await appliance.call('POST', '/api/v1/auth/login', { body })).data.token;
}

async function order(): Promise<void> {
  const before = stripe.sessions.length;
  const body = { package: 'starter' };
  const { status, data } = await asBuyer('POST', 'payments/create-checkout', body);
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
  const made = await asBuyer('POST', 'api-keys', { name: 'k' });
  // Kills between the two calls leave keys behind, and a company has only so many.
  if (made.status === 409) return revokeLeftovers();
  if (made.status !== 201) return;
  const { status } = await asBuyer('DELETE', `api-keys/${made.data.id}`);
  if (status === 200) revoked.push(made.data.key);
}

async function revokeLeftovers(): Promise<void> {
  const { data } = await asBuyer('GET', 'api-keys');
  for (const { id, name, revokedAt } of data as { id: string; name: string; revokedAt: string | null }[])
    if (name === 'k' && revokedAt === null) await asBuyer('DELETE', `api-keys/${id}`);
}

/** Works until it is told to end, one thing after another; what the kill cuts short is nobody's fault. */
async function client(work: () => Promise<void>, going: () => boolean): Promise<void> {
  while (going()) {
    await work().then(
      () => (worked += 1),
      (error: unknown) => {
        if (error instanceof Error && error.name === 'AssertionError') throw error;
      },
    );
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

/** Starts it again, and says when both engines can be had; what needs none of them is checked meanwhile. */
async function restart(meanwhile: () => Promise<void> = async () => undefined): Promise<void> {
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
  appliance = await timed('boot', TestAppliance.start({ folder, env }));
  const bothEngines = async (): Promise<boolean> => {
    const answer = await fetch(`${appliance.tenantUrl}/ready`);
    const { text, image } = (await answer.json()) as Record<string, boolean>;
    return text === true && image === true;
  };
  const ready = appliance.until(bothEngines, longMs).catch(async (cause: unknown) => {
    const engines = JSON.stringify(await appliance.operator('/api/engines'));
    throw new Error(`Not both engines are ready: ${engines}`, { cause });
  });
  await Promise.all([timed('engines', ready), timed('meanwhile', meanwhile())]);
}

/** Starts it with an order to die. It may do so before it serves. */
async function restartToDieAt(point: string, time: number): Promise<void> {
  await appliance.stop();
  const order = { KILNHOUSE_CRASH_AT: `${point}:${time}` };
  appliance = TestAppliance.launch({ folder: appliance.folder, env: { ...env, ...order } });
  await appliance.serving().catch(() => undefined);
}

/** Runs `look` with the database while the appliance has it open, too. */
function look<Found>(query: (db: Database) => Found): Found {
  return withDatabase(appliance.folder, query);
}

function posted(of: Person): number {
  const balance = 'select posted from ledger_accounts where name = ?';
  return look((db) => db.prepare<[string], number>(balance).pluck().get(of.company)) ?? 0;
}

interface JobRow {
  readonly id: string;
  readonly state: string;
  readonly batch: string | null;
}

function jobsOf(person: Person): JobRow[] {
  return look((db) =>
    db.prepare<[string], JobRow>('select id, state, batch from jobs where tenant = ?').all(person.company),
  );
}

/** What the database says of its newest jobs is what is answered. */
async function checkAnswers(as: string, rows: readonly JobRow[]): Promise<void> {
  const { data } = await appliance.call('GET', '/api/v1/jobs?limit=100', { as });
  const newest = rows.toSorted((a, b) => (a.id < b.id ? 1 : -1)).slice(0, 100);
  expect(data.items.map(({ id, state }: JobRow) => ({ id, state }))).toEqual(
    newest.map(({ id, state }) => ({ id, state })),
  );
}

/** J1, J3: every job that we were told of is there, and every one that is there came to its end, charged once. */
async function checkJobs(): Promise<void> {
  const rows = jobsOf(worker);
  expect(rows.filter(({ state }) => state !== 'succeeded')).toEqual([]);
  const there = new Set(rows.map(({ id }) => id));
  expect(
    [...jobs].filter((id) => !there.has(id)),
    'J1',
  ).toEqual([]);
  expect(posted(worker), 'L10').toBe(firstCredits - tokensOfAnAnswer * rows.length);
  await checkAnswers(worker.key, rows);
}

/** J1, J2, J6, L10: what the artist was told is so, in the answers and on the disk. */
async function checkPictures(): Promise<void> {
  const rows = jobsOf(artist);
  const states = new Map(rows.map(({ id, state }) => [id, state]));
  for (const { id, batch } of rows) if (batch !== null) batchOf.set(id, batch);
  await checkAnswers(artist.key, rows);
  for (const [id, last] of pictures) {
    const now = states.get(id);
    if (last === 'forgotten') {
      expect(now, `forgotten ${id}`).toBeUndefined();
      pictures.delete(id);
    } else expect(now, `J1 ${id}`).toBe(last === 'canceled' || now === 'canceled' ? 'canceled' : 'succeeded');
  }
  // All of a batch or none, also of one whose receipt was lost.
  const sizes = new Map<string, number>();
  for (const id of states.keys()) {
    const batch = batchOf.get(id);
    if (batch !== undefined) sizes.set(batch, (sizes.get(batch) ?? 0) + 1);
  }
  const partial = [...sizes].filter(([batch, size]) => size !== jobsOfBatch && !torn.has(batch));
  expect(partial, 'J1').toEqual([]);
  await Promise.all(again(uploads, (bytes) => bytes === null).map(checkUpload));
  // The oldest go, so that a long run does not grow slower. That they are gone is checked after the next kill.
  const oldest = rows
    .map(({ id }) => id)
    .toSorted()
    .slice(0, -keptPictures);
  await Promise.all(
    oldest.map(async (id) => {
      torn.add(batchOf.get(id) ?? '');
      expect((await asArtist('DELETE', `jobs/${id}`)).status, `delete ${id}`).toBe(200);
      pictures.set(id, 'forgotten');
    }),
  );
}

async function checkUpload(id: string): Promise<void> {
  const bytes = uploads.get(id) ?? null;
  const { status, data } = await asArtist('GET', `uploads/${id}`);
  expect(status, `upload ${id}`).toBe(bytes === null ? 404 : 200);
  if (bytes === null) uploads.delete(id);
  else expect((await (await fetch(data.url)).arrayBuffer()).byteLength).toBe(bytes);
}

/** Every row has its file, and every file its row. */
async function checkFiles(): Promise<void> {
  const { folder } = appliance;
  let found = { missing: ['not looked yet'], strange: [''] };
  const isTidy = (): boolean => (found = filesAgainstRows(folder)).strange.length === 0;
  await appliance.until(isTidy, longMs, 50);
  expect(found.missing, 'rows without files').toEqual([]);
  expect(readdirSync(join(folder, 'incoming'))).toEqual([]);
}

let checked: Checked = { entry: 0, usage: 0 };

/** What the start left, before anybody works. */
async function checkStart(): Promise<void> {
  expect(
    look((db) => faultsSince(db, checked)),
    'L4, L10, J3',
  ).toEqual([]);
  checked = look(checkedUpTo);
  const stopped = "select count(*) from ledger_entries where reason like 'the appliance stopped%'";
  counts.orphans = look((db) => db.prepare<[], number>(stopped).pluck().get()) ?? 0;
}

/** The whole of the past, which one kill changes little of: every `wholeEvery` kills, and at the end of each test. */
async function checkWhole(): Promise<void> {
  expect(look(faultsOfAll), 'the whole database').toEqual([]);
  const proof = await appliance.operator('/api/ledger');
  expect(proof, 'L1, L2, L3, L12').toMatchObject({ ok: true, faults: [] });
  for (const person of [patient, buyer, worker]) {
    const { balance } = await appliance.operator(`/api/tenants/${person.company}`);
    expect(balance.posted, 'the balance that is shown').toBe(posted(person));
  }
  await Promise.all([...uploads.keys()].map(checkUpload));
  for (const key of revoked) expect(await statusOf(key), 'A1').toBe(401);
}

const statusOf = async (key: string): Promise<number> =>
  (await appliance.call('GET', '/api/v1/credits/balance', { as: key })).status;

/*
 * After each kill, once it serves again:
 * - each new entry and usage row, sums beside their rows, files against rows, the states of all jobs (J1, J3, L4, L10);
 * - whoever was cut short asks, pays and is paid again with the same key, and the balances are right to the credit (L9,
 *   W1); some answers, uploads and revoked keys of the past are tried again;
 * - no hold is open, and no job.
 * Every `wholeEvery` kills and at the end of each test also: each page of the database, each entry, usage row and
 * foreign key from the first on, the appliance's own proof (L1, L2, L3, L12: each start proves it, too), all uploads and
 * all revoked keys.
 */
async function check(): Promise<void> {
  // Whoever was cut short asks again with the same key; who was answered gets that answer.
  const unanswered = [...asked].filter(([, answer]) => answer === null).map(([key]) => key);
  const askAgain = (key: string): Promise<void> =>
    appliance.until(async () => (await ask(key), asked.get(key) !== null), longMs);
  const answered = [...asked.keys()];
  const some = Array.from({ length: 5 }, () => answered[random(answered.length)] ?? '');
  await timed(
    'asks',
    Promise.all([
      ...[...new Set([...unanswered, ...some])].map(askAgain),
      // Stripe delivers again what we did not say we had, and now and then what we did.
      ...again(events, ({ acknowledged }) => !acknowledged).map(pay),
      ...again(grants, (given) => !given).map(give),
    ]),
  );
  const open = "select count(*) from jobs where state in ('queued', 'starting', 'processing')";
  const held = 'select count(*) from open_holds';
  const isOver = (): boolean =>
    look((db) => [open, held].every((sql) => db.prepare(sql).pluck().get() === 0));
  await timed('jobs', appliance.until(isOver, longMs));
  expect(posted(patient), 'L9').toBe(firstCredits - tokensOfAnAnswer * asked.size);
  expect(posted(buyer), 'W1').toBe(creditsOfAnOrder * events.size + 10 * grants.size);
  await timed('checkJobs', checkJobs());
  await timed('checkPictures', checkPictures());
  await timed('checkFiles', checkFiles());
  for (const key of revoked.slice(-5)) expect(await statusOf(key), 'A1').toBe(401);
  await signInAgain();
}

/** What a kill may take at most, on a machine that does something else as well. */
const perKillMs = 30_000;
/** By then a client has come by every point. */
const pointMs = 120_000;
let violations = 0;
let before: Record<string, number> = {};

/** What each kind of client got done so far. */
const done = (): Record<string, number> => ({
  answers: counts.answers,
  streams: counts.streams,
  orders: events.size,
  grants: grants.size,
  revoked: revoked.length,
  jobs: jobs.size,
  pictures: painted,
});

function tell(violation = ''): void {
  const { kills: killed, answers, orphans } = counts;
  const perKill = Object.values(spent).reduce((sum, seconds) => sum + seconds, 0) / Math.max(1, killed);
  // oxlint-disable-next-line no-console -- how far the run is
  console.info(
    `seed ${seed}: ${killed} kills (${hit.size} of ${points.length} points), ${answers} answers, ${orphans} orphaned holds, ` +
      `${violations} violations, ${perKill.toFixed(1)} s a kill ${violation}`,
  );
}

/** One kill, the next start and all that is checked after it. A client that does nothing is a fault of the driver. */
async function round(die: () => Promise<void>): Promise<void> {
  const kill = counts.kills;
  try {
    await workAndDie(die);
    await restart(checkStart);
    await check();
    if (Math.floor(counts.kills / wholeEvery) === Math.floor(kill / wholeEvery)) return;
    await timed('whole', checkWhole());
    tell();
    if (Math.floor(counts.kills / idleEvery) === Math.floor(kill / idleEvery)) return;
    const now = done();
    const idle = Object.keys(now).filter((name) => now[name] === before[name]);
    expect(idle, 'clients that got nothing done for long').toEqual([]);
    before = now;
  } catch (error) {
    violations += 1;
    tell(error instanceof Error ? error.message : String(error));
    throw error;
  }
}

test(
  `L1 to L12, W1, A1, J1 to J6: ${kills} kills (seed ${seed}): sums hold, nothing is charged twice, nothing is lost`,
  async () => {
    while (counts.kills < kills) {
      await round(async () => {
        const until = worked + random(worksOfAKill);
        const isEnough = (): boolean => worked >= until;
        await timed('work', Promise.all([delay(random(250)), appliance.until(isEnough, longMs, 5)]));
        await appliance.kill();
      });
    }
    await checkWhole();
    tell();
    expect(counts.answers).toBeGreaterThan(kills);
    expect(counts.streams).toBeGreaterThan(kills / 4);
    expect(events.size + grants.size).toBeGreaterThan(kills);
  },
  120_000 + kills * perKillMs,
);

test(
  `F2: dead at each of ${points.length} named points, ${hits} time(s) each`,
  async () => {
    for (const point of points) {
      for (let time = 1; time <= hits; time += 1) {
        await restartToDieAt(point, time);
        await round(async () => {
          const gone = appliance.ended();
          const isHit = await Promise.race([gone.then(() => true), delay(pointMs, false, { ref: false })]);
          expect(isHit, `${point} is never come by`).toBe(true);
        });
        hit.set(point, (hit.get(point) ?? 0) + 1);
        counts.atPoints += 1;
      }
    }
    await checkWhole();
    tell();
    expect([...hit.keys()]).toEqual(hits > 0 ? points : []);
  },
  120_000 + points.length * hits * (perKillMs + pointMs),
);

test('W3: of every job of the artist that succeeded and is there, its endpoint was told', async () => {
  await restart();
  const { data } = await asArtist('GET', 'jobs?state=succeeded&limit=100');
  expect(data.items.length).toBeGreaterThan(0);
  await appliance.until(() => data.items.every(({ id }: { id: string }) => told.has(id)), longMs, 50);
  // oxlint-disable-next-line no-console -- the report of the run
  console.info(
    JSON.stringify({
      seed,
      ...counts,
      violations,
      seconds: Object.fromEntries(Object.entries(spent).map(([what, s]) => [what, Math.round(s)])),
      orders: events.size,
      grants: grants.size,
      revoked: revoked.length,
      jobs: jobs.size,
      told: told.size,
      points: hit.size,
    }),
  );
});
