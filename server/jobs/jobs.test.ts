import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import BetterSqlite3, { type Database } from 'better-sqlite3';
import fc from 'fast-check';
import { Type } from 'typebox';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { EngineError } from '../../gpu/engines/engine-error.ts';
import type { Gpu } from '../../gpu/gpu.ts';
import { limits } from '../contract/limits.ts';
import { newId } from '../db/ids.ts';
import { DurableWrites } from '../db/durable-writes.ts';
import { openDatabase } from '../db/open.ts';
import { DiskSpace } from '../files/disk-space.ts';
import { LocalFiles } from '../files/local-files.ts';
import { noTimings } from '../generation/timings.ts';
import { Ledger } from '../ledger/ledger.ts';
import { proveLedger } from '../ledger/proof.ts';
import { Offers } from '../offers/offers.ts';
import { Vault } from '../secrets/vault.ts';
import { Directory } from '../tenants/directory.ts';
import { FileTenants, identityOf } from '../tenants/file-tenants.ts';
import { KeyStore } from '../tenants/key-store.ts';
import { TenantStore } from '../tenants/tenant-store.ts';
import { UsageStore } from '../usage/usage-store.ts';
import type { Feature, JobContext } from './feature.ts';
import { JobStore } from './job-store.ts';
import { Jobs } from './jobs.ts';

/* The runner alone, with a feature whose steps the test lets through one by one. */
let db: Database;
let store: JobStore;
let ledger: Ledger;
let jobs: Jobs;
let offers: Offers;
const closers: (() => unknown)[] = [];
/** Steps that wait to be let through, by job. */
let waiting: { job: string; step: string; go: () => void; fail: (error: Error) => void }[] = [];
/** Jobs whose work was told to stop. */
let aborted: string[] = [];
/** Whether the engine had begun when its work ends. */
let isGranted = true;
let hasModel = true;
const problems: unknown[] = [];

const feature: Feature<{ id: string; steps: number }> = {
  name: 'test',
  path: '/test',
  summary: 'A test',
  body: Type.Object({}),
  modality: 'image',
  wish: ({ steps }) => ({
    prompts: '',
    work: () => ({ kind: 'image', count: steps, width: 64, height: 64, steps: 1 }),
  }),
  prepare: (input) => input,
  steps: ({ steps }) => steps,
  async run({ id, steps }, context: JobContext) {
    for (let index = 1; index <= steps; index += 1) {
      const step = `step-${index}`;
      await context.step(step, async (results) => {
        context.signal.addEventListener('abort', () => aborted.push(id));
        await context.text({ endpoint: 'completions', body: { id, step } });
        await results.add({ name: step, contentType: 'text/plain', bytes: Buffer.from(step), metadata: {} });
      });
    }
    return { images: steps };
  },
};

/** Work of the GPU that the test lets through. */
function complete(_model: string, { body }: { body: { id: string; step: string } }) {
  const { id: job, step } = body;
  const result = new Promise<void>((go, fail) => waiting.push({ job, step, go, fail }));
  return { result, timings: { ...noTimings(), granted: isGranted }, standing: () => undefined };
}

let directory: Directory;
let fileTenants: FileTenants;

function open(): Jobs {
  const files = (fileTenants = new FileTenants());
  for (const [name, plan] of [
    ['small', 'free'],
    ['big', 'enterprise'],
  ] as const)
    files.add(name, identityOf(name, { name, plan, credits: true }, offers.plans));
  const keys = new KeyStore(db, () => undefined);
  const usage = new UsageStore(db, () => undefined);
  closers.push(
    () => keys.close(),
    () => usage.close(),
  );
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-jobs-'));
  directory = new Directory({ db, files, tenants: new TenantStore(db, offers), keys });
  return new Jobs({
    store,
    ledger,
    usage,
    files: new LocalFiles(folder, new DiskSpace(folder, 0), new Vault(Buffer.alloc(32, 1))),
    pictures: { work: () => Promise.reject(new Error('there are none')) },
    moderation: { allowsResult: () => Promise.resolve(true) },
    uploads: { find: () => undefined, read: () => Promise.reject(new Error('there are none')) },
    features: new Map([[feature.name, feature as Feature<unknown>]]),
    directory,
    gpu: { model: (id: string) => (hasModel ? { id } : undefined), complete } as unknown as Gpu,
    emit: () => undefined,
    writes: new DurableWrites({
      atomically: (work) => ledger.atomically(work),
      onError: (error) => problems.push(error),
    }),
    onError: (error) => problems.push(error),
    pausesMs: [0],
  });
}

beforeEach(() => {
  db = openDatabase(':memory:');
  offers = new Offers(db);
  store = new JobStore(db, new Vault(Buffer.alloc(32, 1)));
  ledger = new Ledger(db);
  waiting = [];
  aborted = [];
  isGranted = true;
  hasModel = true;
  problems.length = 0;
  for (const tenant of ['small', 'big', 'gone'])
    ledger.grant({ id: tenant, account: `file:${tenant}`, credits: 1_000, reason: 'test' });
  jobs = open();
});
afterEach(async () => {
  for (const { fail } of waiting) fail(new Error('the test is over'));
  await jobs.close();
  for (const close of closers.splice(0)) close();
});

function add(tenant = 'big', steps = 1, startBy: number | null = null): string {
  const id = newId('job');
  const creditsHeld = 2 * steps;
  ledger.atomically(() => {
    ledger.hold({ id, account: `file:${tenant}`, credits: creditsHeld, reason: 'test' });
    const job = {
      id,
      tenant,
      askedBy: 'k',
      person: null,
      feature: 'test',
      model: 'm',
      creditsHeld,
      batch: null,
      retryOf: null,
      startBy,
    };
    store.create(job, { id, steps }, offers.prices);
  });
  return id;
}
const stateOf = (id: string) => store.find(id)?.state;
const letThrough = async (count: number): Promise<void> => {
  await vi.waitFor(() => expect(waiting.length).toBeGreaterThanOrEqual(count));
  for (const { go } of waiting.splice(0, count)) go();
};
const balance = (tenant: string) => ledger.balance(`file:${tenant}`);

test('J5: a tenant with one job does not wait for another’s hundred', async () => {
  for (let i = 0; i < 100; i += 1) add('big');
  const one = add('small');
  jobs.wake();
  await vi.waitFor(() => expect(waiting).toHaveLength(limits.jobs.running));
  expect(waiting.map(({ job }) => job)).toContain(one);
});

test('no more of a tenant at once than its plan allows', async () => {
  for (let i = 0; i < 5; i += 1) add('small');
  jobs.wake();
  await vi.waitFor(() => expect(waiting).toHaveLength(2));
  await letThrough(1);
  await vi.waitFor(() => expect(waiting).toHaveLength(2));
  expect(store.open().filter(({ state }) => state === 'queued')).toHaveLength(2);
});

test('J3: what an earlier run left goes on after its last finished step, and is charged once', async () => {
  const id = add('big', 3);
  jobs.wake();
  await letThrough(1);
  await vi.waitFor(() => expect(store.finishedSteps(id)).toBe(1));
  // Another run of the appliance, as after a crash; the worker of this one still thinks that it works.
  const late = waiting.splice(0);
  const next = open();
  next.start();
  await vi.waitFor(() => expect(waiting.map(({ step }) => step)).toEqual(['step-2']));
  for (const { go } of late) go();
  await letThrough(1);
  await letThrough(1);
  await vi.waitFor(() => expect(stateOf(id)).toBe('succeeded'));
  expect(store.find(id)).toMatchObject({ attempt: 2, interruptions: 1, credits: 6 });
  expect(store.artefacts(id)).toHaveLength(3);
  expect(balance('big')).toEqual({ posted: 994, held: 0, available: 994 });
  await next.close();
});

test('J4: one under which the appliance stops again and again is parked, and not charged', () => {
  const id = add('big');
  for (let i = 0; i <= limits.jobs.interruptions; i += 1) {
    if (stateOf(id) !== 'queued') break;
    store.claim(id, `boot-${i}`);
    const next = open();
    void next.close();
    next.start();
  }
  expect(store.find(id)).toMatchObject({ state: 'failed', errorCode: 'poison', credits: 0 });
  expect(balance('big')).toMatchObject({ posted: 1_000, held: 0 });
});

test('J4: engines that die under a job: twice is forgiven', async () => {
  const id = add('big');
  jobs.wake();
  for (let i = 0; i <= limits.jobs.engineFailures; i += 1) {
    await vi.waitFor(() => expect(waiting).toHaveLength(1));
    waiting.splice(0)[0]?.fail(new EngineError('failed', 'it died'));
  }
  await vi.waitFor(() => expect(store.find(id)).toMatchObject({ state: 'failed', errorCode: 'poison' }));
  expect(balance('big')).toMatchObject({ posted: 1_000, held: 0 });
});

test('J4: an outage is waited for, with pauses that grow, and is not held against the job', async () => {
  isGranted = false;
  const id = add('big');
  jobs.wake();
  for (let i = 0; i < limits.jobs.outages; i += 1) {
    await vi.waitFor(() => expect(waiting).toHaveLength(1), { timeout: 5_000 });
    waiting.splice(0)[0]?.fail(new EngineError('unreachable', 'nobody answers'));
  }
  await letThrough(1);
  await vi.waitFor(() => expect(stateOf(id)).toBe('succeeded'));
  expect(store.find(id)).toMatchObject({ engineFailures: 0, outages: 0 });
}, 20_000);

test('J4: an outage that does not end, ends the job as what it was, uncharged', async () => {
  isGranted = false;
  const id = add('big');
  jobs.wake();
  for (let i = 0; i <= limits.jobs.outages; i += 1) {
    await vi.waitFor(() => expect(waiting).toHaveLength(1), { timeout: 5_000 });
    waiting.splice(0)[0]?.fail(new EngineError('unreachable', 'nobody answers'));
  }
  await vi.waitFor(() => expect(store.find(id)).toMatchObject({ errorCode: 'engine_unavailable' }));
  expect(balance('big')).toMatchObject({ posted: 1_000, held: 0 });
}, 20_000);

test('D2: results that find no room on the disk make the job wait, not fail', async () => {
  const id = add('big');
  jobs.wake();
  await vi.waitFor(() => expect(waiting).toHaveLength(1));
  waiting.splice(0)[0]?.fail(Object.assign(new Error('no room'), { code: 'ENOSPC' }));
  await letThrough(1);
  await vi.waitFor(() => expect(stateOf(id)).toBe('succeeded'));
});

test('J6: jobs that fail in the same turn and begin again can all be cancelled, counted and waited for', async () => {
  const ids = Array.from({ length: 3 }, () => add('big'));
  jobs.wake();
  await vi.waitFor(() => expect(waiting).toHaveLength(3));
  // One engine dies under all of them.
  for (const { fail } of waiting.splice(0)) fail(new EngineError('failed', 'it died'));
  await vi.waitFor(() => expect(waiting).toHaveLength(3), { timeout: 5_000 });
  for (const id of ids) jobs.cancel(id);
  // The work was told to stop: all three come to an end although nobody lets them through.
  await vi.waitFor(() => expect(aborted).toEqual(expect.arrayContaining(ids)));
  expect(ids.map(stateOf)).toEqual(['canceled', 'canceled', 'canceled']);
});

/** Random failures, cancels and successes: what runs is what the database says runs. */
test('J2: whatever ends in whichever order, each job that runs can be told to stop', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.constantFrom('fail', 'death', 'go', 'cancel'), { minLength: 1, maxLength: 5 }), {
        minLength: 1,
        maxLength: 6,
      }),
      async (rounds) => {
        const ids = Array.from({ length: 5 }, () => add('big'));
        jobs.wake();
        for (const round of rounds) {
          const open = store.open().length;
          await vi.waitFor(() => expect(waiting).toHaveLength(Math.min(open, limits.jobs.running)), {
            timeout: 5_000,
          });
          const taken = waiting.splice(0, round.length);
          for (const [index, one] of taken.entries()) {
            const what = round[index];
            if (what === 'go') one.go();
            else if (what === 'cancel') jobs.cancel(one.job);
            else if (what === 'death') one.fail(new EngineError('failed', 'it died'));
            else one.fail(new Error('a fault of ours'));
            if (what === 'cancel') one.fail(new Error('told to stop'));
          }
          await vi.waitFor(() => expect(waiting).toHaveLength(store.open().length), { timeout: 5_000 });
        }
        for (const { id } of store.open()) jobs.cancel(id);
        await vi.waitFor(() => expect(waiting.filter(({ job }) => !aborted.includes(job))).toEqual([]));
        for (const { fail } of waiting.splice(0)) fail(new Error('told to stop'));
        expect(ids.filter((id) => !store.find(id)?.finishedAt)).toEqual([]);
      },
    ),
    { numRuns: 15 },
  );
  expect(proveLedger(db)).toMatchObject({ faults: [], held: 0 });
}, 60_000);

test('L11: an end that can never be written fails the job, gives back what was held, and frees its place', async () => {
  const bad = add('big');
  const good = add('big');
  db.exec(`create trigger never before update on jobs when new.state = 'succeeded' and new.id = '${bad}'
    begin select raise(abort, 'never'); end`);
  jobs.wake();
  await letThrough(2);
  await vi.waitFor(() => expect([stateOf(bad), stateOf(good)]).toEqual(['failed', 'succeeded']));
  expect(store.find(bad)).toMatchObject({ errorCode: 'internal_error', credits: 0 });
  expect(balance('big')).toMatchObject({ posted: 998, held: 0 });
  expect(problems).toHaveLength(1);
});

test('L11: a job whose state can never change is given up alone; the others run', async () => {
  const bad = add('big');
  const good = add('big');
  db.exec(`create trigger never before update on jobs when new.id = '${bad}'
    begin select raise(abort, 'never'); end`);
  jobs.wake();
  await letThrough(1);
  await vi.waitFor(() => expect(stateOf(good)).toBe('succeeded'));
  expect(balance('big')).toMatchObject({ posted: 998, held: 0 });
});

test('S15: jobs of a revoked key end, uncharged; those that were to go on do', async () => {
  jobs.start();
  const [ends, stays] = [add('big', 3), add('big', 3)];
  for (const [id, job] of [
    ['key-a', ends],
    ['key-b', stays],
  ]) {
    db.prepare('insert into tenants (id, name, plan, created_at) values (?, ?, ?, 0)').run(id, 'x', 'free');
    db.prepare(
      `insert into api_keys (id, tenant, name, hash, prefix, last_four, created_at) values (:id, :id, 'k', :id, '', '', 0)`,
    ).run({ id });
    db.prepare('update jobs set asked_by = ? where id = ?').run(id, job);
  }
  jobs.wake();
  await letThrough(2);
  await vi.waitFor(() => expect(waiting).toHaveLength(2));
  db.exec('update api_keys set revoked_at = 1');
  store.outliveAsker('big', 'key-b');
  directory.changed();
  await vi.waitFor(() => expect(stateOf(ends)).toBe('canceled'));
  expect(store.find(ends)).toMatchObject({ errorCode: 'access_revoked', credits: 0 });
  await vi.waitFor(() => expect(new Set(aborted)).toEqual(new Set([ends])));
  for (const { fail, job } of waiting) if (job === ends) fail(new Error('told to stop'));
  waiting = waiting.filter(({ job }) => job === stays);
  await letThrough(1);
  await letThrough(1);
  await vi.waitFor(() => expect(stateOf(stays)).toBe('succeeded'));
  expect(balance('big')).toMatchObject({ posted: 994, held: 0 });
});

test('S15: a key that is taken out of tenants.json takes its jobs with it; a suspended tenant’s are put back', async () => {
  jobs.start();
  const small = identityOf('hash-of-it', { name: 'filed', plan: 'pro', credits: true }, offers.plans);
  fileTenants.replace(new Map([['hash-of-it', small]]));
  ledger.grant({ id: 'filed', account: 'file:filed', credits: 100, reason: 'test' });
  const id = add('filed');
  db.prepare('update jobs set asked_by = ? where id = ?').run(small.id, id);
  jobs.wake();
  await vi.waitFor(() => expect(waiting).toHaveLength(1));
  fileTenants.replace(new Map([['hash-of-it', { ...small, tenant: { ...small.tenant, disabled: true } }]]));
  await vi.waitFor(() => expect(aborted).toEqual([id]));
  waiting.splice(0)[0]?.fail(new Error('told to stop'));
  await vi.waitFor(() => expect(stateOf(id)).toBe('queued'));
  fileTenants.replace(new Map([['hash-of-it', small]]));
  await vi.waitFor(() => expect(waiting).toHaveLength(1), { timeout: 5_000 });
  fileTenants.replace(new Map());
  await vi.waitFor(() => expect(stateOf(id)).toBe('canceled'));
  waiting.splice(0)[0]?.fail(new Error('told to stop'));
  expect(balance('filed')).toMatchObject({ posted: 100, held: 0 });
});

test('17: what happens between a look and the wait for the next change is not missed', async () => {
  const id = add('big');
  const changes = jobs.changesOf(id);
  jobs.cancel(id);
  // A wait that nothing would end but the change that was before it.
  await changes.next(2 ** 30);
  const again = changes.next(2 ** 30);
  jobs.added([store.find(id)!]);
  await again;
  changes.stop();
});

test('19: a job and its event are claimed together, or not at all', () => {
  const id = add('big');
  db.exec(`create trigger never before insert on job_events when new.job = '${id}'
    begin select raise(abort, 'never'); end`);
  expect(() => store.claim(id, 'boot')).toThrow('never');
  expect(store.find(id)).toMatchObject({ state: 'queued', attempt: 0 });
});

test('20: jobs of a tenant that is gone from tenants.json are forgotten after a while', async () => {
  const [id, young] = [add('gone'), add('gone')];
  db.exec("update jobs set finished_at = 1, state = 'canceled'");
  db.prepare('update jobs set finished_at = ? where id = ?').run(Date.now(), young);
  await jobs.sweep();
  expect([store.find(id), store.find(young)?.id]).toEqual([undefined, young]);
});

test('J6: cancel is final, and costs what was finished', async () => {
  const id = add('big', 4);
  jobs.wake();
  await letThrough(1);
  await vi.waitFor(() => expect(waiting).toHaveLength(1));
  expect(jobs.cancel(id)).toMatchObject({ state: 'canceled', credits: 2 });
  await letThrough(1);
  expect(store.artefacts(id)).toHaveLength(1);
  expect(jobs.cancel(id)).toMatchObject({ state: 'canceled', credits: 2 });
  expect(balance('big')).toEqual({ posted: 998, held: 0, available: 998 });
});

test('a shutdown puts jobs back without holding it against them', async () => {
  const id = add('big');
  jobs.wake();
  await vi.waitFor(() => expect(waiting).toHaveLength(1));
  const closing = jobs.close();
  for (const { go } of waiting.splice(0)) go();
  await closing;
  expect(store.find(id)).toMatchObject({ state: 'queued', interruptions: 0 });
  expect(balance('big').held).toBe(2);
});

test('what cannot begin in time is dropped; what waits for an engine begins when it is there', async () => {
  hasModel = false;
  const late = add('big', 1, Date.now() - 1);
  const patient = add('big');
  jobs.wake();
  expect([stateOf(late), stateOf(patient)]).toEqual(['expired', 'queued']);
  expect(jobs.standing(store.find(patient)!)).toMatchObject({ position: 1, reason: 'engine_unavailable' });
  hasModel = true;
  await vi.waitFor(() => expect(waiting).toHaveLength(1), { timeout: 5_000 });
});

test('D2: a full disk stops nothing for good', async () => {
  const id = add('big');
  const claim = vi.spyOn(store, 'claim').mockImplementation(() => {
    throw new BetterSqlite3.SqliteError('full', 'SQLITE_FULL');
  });
  jobs.wake();
  expect(problems).toHaveLength(1);
  expect(stateOf(id)).toBe('queued');
  claim.mockRestore();
  await vi.waitFor(() => expect(waiting).toHaveLength(1), { timeout: 5_000 });
});

test('L10: however jobs end, each has one row of usage, and the sums hold', async () => {
  const ids = Array.from({ length: 6 }, () => add('big', 2));
  jobs.wake();
  await vi.waitFor(() => expect(waiting).toHaveLength(6));
  jobs.cancel(ids[0]!);
  const [failing] = waiting.splice(
    waiting.findIndex(({ job }) => job === ids[1]),
    1,
  );
  failing?.fail(new Error('a fault of ours'));
  await vi.waitFor(
    () => {
      for (const { go } of waiting.splice(0)) go();
      expect(store.open()).toEqual([]);
    },
    { timeout: 5_000 },
  );
  const rows = db.prepare('select id, credits, status from usage order by id').all();
  expect(rows).toEqual(
    ids
      .map((id, i) => ({
        id,
        credits: i > 1 ? 4 : 0,
        status: i > 1 ? 'ok' : i === 0 ? 'abandoned' : 'failed',
      }))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1)),
  );
  expect(proveLedger(db)).toMatchObject({ faults: [], spent: 16, held: 0 });
});
