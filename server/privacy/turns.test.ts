import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Database } from 'better-sqlite3';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { InvitationStore } from '../accounts/invitation-store.ts';
import { MailedTokens } from '../accounts/mailed-tokens.ts';
import { SessionStore } from '../accounts/session-store.ts';
import { UserStore } from '../accounts/user-store.ts';
import { AuditLog, system } from '../audit/audit-log.ts';
import { DurableWrites } from '../db/durable-writes.ts';
import { openDatabase } from '../db/open.ts';
import { DiskSpace } from '../files/disk-space.ts';
import { LocalFiles } from '../files/local-files.ts';
import { UploadStore } from '../files/upload-store.ts';
import { Uploads } from '../files/uploads.ts';
import { HistoryStore } from '../history/history-store.ts';
import { History } from '../history/history.ts';
import { IdempotencyStore } from '../idempotency/idempotency-store.ts';
import { JobStore } from '../jobs/job-store.ts';
import { Jobs, type JobParts } from '../jobs/jobs.ts';
import { Ledger } from '../ledger/ledger.ts';
import { Outbox } from '../mail/outbox.ts';
import { Offers } from '../offers/offers.ts';
import { Vault } from '../secrets/vault.ts';
import { Directory } from '../tenants/directory.ts';
import { FileTenants } from '../tenants/file-tenants.ts';
import { KeyStore } from '../tenants/key-store.ts';
import { TenantStore } from '../tenants/tenant-store.ts';
import { UsageStore } from '../usage/usage-store.ts';
import { WebhookStore } from '../webhooks/webhook-store.ts';
import { eraseCompany, type ErasureDeps, erasePerson, finishErasures } from './erase.ts';
import { ErasureStore } from './erasure-store.ts';
import { Sweeper } from './sweeper.ts';

const count = 1_000;
const day = 24 * 3_600_000;
let db: Database;
let deps: ErasureDeps;
let history: History;
let tenant: string;
let person: string;
const closers: (() => unknown)[] = [];
const problems: unknown[] = [];

beforeEach(() => {
  db = openDatabase(':memory:');
  const vault = new Vault(Buffer.alloc(32, 1));
  const offers = new Offers(db);
  const ledger = new Ledger(db);
  const tenants = new TenantStore(db, offers);
  const keys = new KeyStore(db, () => undefined);
  const directory = new Directory({ db, files: new FileTenants(), tenants, keys });
  const users = new UserStore(db);
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-turns-'));
  const space = new DiskSpace(folder, 0);
  const files = new LocalFiles(join(folder, 'artefacts'), space, vault);
  const jobStore = new JobStore(db, vault);
  const usage = new UsageStore(db, (error) => problems.push(error));
  const onError = (error: unknown): void => void problems.push(error);
  const writes = new DurableWrites({ atomically: (work) => ledger.atomically(work), onError });
  const jobs = new Jobs({
    store: jobStore,
    ledger,
    usage,
    files,
    directory,
    features: new Map(),
    gpu: { model: () => undefined },
    emit: () => undefined,
    writes,
    onError,
  } as unknown as JobParts);
  const prompts = new HistoryStore(db, vault);
  history = new History({ db, usage, prompts, jobs, jobStore });
  deps = {
    ledger,
    tenants,
    users,
    directory,
    jobs,
    history: prompts,
    sessions: new SessionStore(db, Buffer.alloc(32)),
    mailedTokens: new MailedTokens(db),
    invitations: new InvitationStore(db),
    outbox: new Outbox({ db, transport: null, writes, onError }),
    idempotency: new IdempotencyStore(db, vault),
    uploads: new Uploads({
      store: new UploadStore(db),
      files,
      incoming: join(folder, 'in'),
      onError,
    } as never),
    webhooks: new WebhookStore(db, vault),
    audit: new AuditLog(db),
    erasures: new ErasureStore(db),
  } as unknown as ErasureDeps;
  closers.push(
    () => usage.close(),
    () => keys.close(),
  );
  tenant = tenants.create({ name: 'many', plan: 'free' }).id;
  const about = { tenant, email: 'ann@example.test', name: 'Ann', role: 'admin', passwordHash: 'x' } as const;
  person = users.create({ ...about, emailVerifiedAt: null }).id;
  fill();
});

afterEach(() => {
  for (const close of closers.splice(0)) close();
  expect(problems.splice(0)).toEqual([]);
});

/** Many rows of everything that is past its time, all of one tenant and one person. */
function fill(): void {
  const past = Date.now() - 60 * day;
  const many = `with recursive n (i) as (select 1 union all select i + 1 from n where i < ${count})`;
  // Of these, nobody can have many.
  const few = many.replace(String(count), '60');
  const webhook = deps.webhooks.create({ tenant, url: 'https://example.test', events: [] }).webhook.id;
  const statements = [
    `insert into sessions (id, user, created_at, expires_at) ${many} select 's' || i, :person, :past, :past from n`,
    `insert into mailed_tokens ${few} select 't' || i, :person, 'reset', :past from n`,
    `insert into invitations (id, hash, tenant, email, role, created_at, expires_at)
       ${few} select 'i' || i, 'i' || i, :tenant, 'x', 'member', :past, :past from n`,
    `insert into webhook_deliveries (id, webhook, event, type, payload, created_at)
       ${many} select 'd' || i, :webhook, 'e', 't', '{}', :past from n`,
    `insert into idempotency (tenant, key, fingerprint, request_id, status, answer, at)
       ${many} select :tenant, 'k' || i, 'f', 'r', 200, zeroblob(20000), :past from n`,
    `insert into uploads ${many} select 'upl_' || printf('%032x', i), :tenant, :person, 'n', 'image/png', 1, 1, 1, :past, :past from n`,
    `insert into history (id, tenant, user, feature, model, at, content)
       ${many} select 'h' || i, :tenant, :person, 'chat', 'm', :past, zeroblob(100) from n`,
    `insert into jobs (id, tenant, asked_by, person, feature, model, state, input, prices, created_at, finished_at)
       ${many} select 'job_' || printf('%032x', i), :tenant, 'k', :person, 'f', 'm', 'succeeded', x'', '{}', :past, :past from n`,
    `insert into usage (id, at, tenant, key_id, person, feature, model, status)
       ${many} select 'job_' || printf('%032x', i), :past, :tenant, 'k', :person, 'f', 'm', 'ok' from n`,
    `insert into audit (at, actor_kind, actor, address, action, tenant)
       ${many} select :past, 'user', :person, '192.0.2.1', 'a', :tenant from n`,
  ];
  for (const text of statements) {
    const statement = db.prepare(text);
    const values = { person, tenant, past, webhook };
    statement.run(Object.fromEntries(Object.entries(values).filter(([name]) => text.includes(`:${name}`))));
  }
  for (let i = 0; i < count; i += 1)
    deps.ledger.grant({ id: `g${i}`, account: tenant, credits: 1, reason: 'test', expiresAt: past });
}

/** The most rows that any turn of the event loop changed while some work was done, by the database's own count. */
async function mostInATurn(work: () => Promise<unknown>): Promise<number> {
  const changes = db.prepare<[], number>('select total_changes()').pluck();
  const changed = (): number => changes.get() ?? 0;
  let before = changed();
  let most = 0;
  let isDone = false;
  const done = work().finally(() => (isDone = true));
  do {
    const now = changed();
    most = Math.max(most, now - before);
    before = now;
    await nextTurn();
  } while (!isDone);
  await done;
  return most;
}

const left = (table: string): number =>
  db.prepare<[], number>(`select count(*) from ${table}`).pluck().get() ?? 0;
const swept = [
  'sessions',
  'mailed_tokens',
  'invitations',
  'webhook_deliveries',
  'idempotency',
  'uploads',
  'history',
  'jobs',
];
// Each row may take others along by triggers and references, and one look may see two turns.
const bound = 400;

test('review 15: the sweeper takes a few rows in each turn, whatever has come together', async () => {
  const most = await mostInATurn(async () => {
    const sweeper = new Sweeper(deps, (error) => problems.push(error));
    await sweeper.sweep();
    await sweeper.close();
  });
  expect(most).toBeLessThanOrEqual(bound);
  expect(swept.map(left)).toEqual(swept.map(() => 0));
  expect(deps.ledger.balance(tenant).posted).toBe(0);
});

test('review 15: so does forgetting the history', async () => {
  let removed = 0;
  const most = await mostInATurn(async () => (removed = await history.remove({ tenant }, {})));
  expect(most).toBeLessThanOrEqual(bound);
  expect(removed).toBe(count);
  expect(left('jobs')).toBe(0);
});

test.each(['person', 'company'] as const)('review 15: so does erasing a %s', async (kind) => {
  const most = await mostInATurn(async () => {
    const user = deps.users.find(person);
    if (kind === 'company') await eraseCompany(deps, tenant, system);
    else if (user) await erasePerson(deps, user, system);
  });
  expect(most).toBeLessThanOrEqual(bound);
  expect(['uploads', 'history', 'jobs', 'erasures', 'users'].map(left)).toEqual([0, 0, 0, 0, 0]);
  expect(left('audit where address is not null')).toBe(0);
  expect(left(`audit where action = '${kind === 'person' ? 'user' : 'tenant'}.erase'`)).toBe(1);
});

test('an erasure that a crash interrupted shuts out at once, and goes on at the next start', async () => {
  const erasing = eraseCompany(deps, tenant, system);
  // What the database holds at this moment is what a crash would leave.
  expect(deps.directory.tenant(tenant)?.disabled).toBe(true);
  expect(left('erasures')).toBe(1);
  await finishErasures(deps);
  await erasing;
  expect(['jobs', 'history', 'tenants', 'erasures'].map(left)).toEqual([0, 0, 0, 0]);
});

test('a batch is cancelled a few jobs in each turn', async () => {
  db.exec("update jobs set state = 'succeeded'");
  const make = db.prepare(
    `insert into jobs (id, tenant, asked_by, feature, model, input, prices, created_at)
     values (?, ?, 'k', 'f', 'm', x'', '{}', 0)`,
  );
  const ids = Array.from({ length: 50 }, (_, index) => `open-${index}`);
  for (const id of ids) make.run(id, tenant);
  const most = await mostInATurn(() => deps.jobs.cancelAll(ids));
  expect(left("jobs where state = 'canceled'")).toBe(50);
  expect(most).toBeLessThanOrEqual(120);
});

test('jobs whose time to begin is over end a few in each turn', async () => {
  db.exec("update jobs set state = 'succeeded'");
  const make = db.prepare(
    `insert into jobs (id, tenant, asked_by, feature, model, input, prices, created_at, start_by)
     values (?, ?, 'k', 'f', 'm', x'', '{}', 0, 1)`,
  );
  for (let index = 0; index < 200; index += 1) make.run(`late-${index}`, tenant);
  const expired = (): number => left("jobs where state = 'expired'");
  const most = await mostInATurn(async () => {
    deps.jobs.wake();
    await vi.waitFor(() => expect(expired()).toBe(200));
  });
  expect(most).toBeLessThanOrEqual(120);
});

test.each([
  ['sessions', 'select id from sessions where expires_at < 1 or ended_at < 1 limit 9'],
  ['mailed_tokens', 'select hash from mailed_tokens where expires_at <= 1 limit 9'],
  ['invitations', 'select id from invitations where expires_at <= 1 limit 9'],
  ['outbox', 'select id from outbox where sent_at < 1 or created_at < 1 limit 9'],
  ['deliveries', 'select id from webhook_deliveries where next_at is null and created_at < 1 limit 9'],
  ['history', "select sequence from history where tenant = 't' and at < 1 order by at limit 9"],
  ['jobs', "select id from jobs where tenant = 't' and finished_at < 1 order by finished_at limit 9"],
  ['audit, tenant', "select sequence from audit where tenant = 't' and address is not null limit 9"],
  [
    'audit, person',
    "select sequence from audit where (actor = 'u' or target = 'u') and address is not null limit 9",
  ],
])('what is past its time is found by an index: %s', (_, query) => {
  const plan = db.prepare<[], { detail: string }>(`explain query plan ${query}`).all();
  const details = plan.map(({ detail }) => detail);
  expect(details.filter((detail) => detail.startsWith('SCAN'))).toEqual([]);
  expect(details.filter((detail) => detail.includes('TEMP B-TREE'))).toEqual([]);
});
