import type { Database } from 'better-sqlite3';
import { limits } from '../contract/limits.ts';
import { distinct, Statements } from '../db/statements.ts';
import type { FileName } from '../files/file-store.ts';
import type { Prices } from '../offers/prices.ts';
import type { Vault } from '../secrets/vault.ts';
import { isFinal, type JobEvent, type JobState, next } from './states.ts';

/** A job as it is kept. */
export interface JobRecord {
  readonly id: string;
  readonly tenant: string;
  readonly askedBy: string;
  readonly person: string | null;
  readonly feature: string;
  readonly model: string;
  readonly state: JobState;
  /** Goes up with every claim; who writes for an earlier one is refused (J2). */
  readonly attempt: number;
  readonly boot: string | null;
  readonly engineFailures: number;
  /** How often something it needs was away for a while: an engine, the queue, the disk. */
  readonly outages: number;
  readonly interruptions: number;
  /** Wall-clock milliseconds; a queued job does not begin before. Null: at once. */
  readonly notBefore: number | null;
  readonly creditsHeld: number;
  readonly credits: number;
  /** 0 to 1. */
  readonly progress: number;
  readonly step: string | null;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly createdAt: number;
  readonly startBy: number | null;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  readonly queueMs: number;
  readonly swapMs: number;
  readonly runMs: number;
  readonly gpuMs: number;
  /** What it was asked for together with. */
  readonly batch: string | null;
  /** The job that it is once more. */
  readonly retryOf: string | null;
}

export type NewJob = Pick<
  JobRecord,
  | 'id'
  | 'tenant'
  | 'askedBy'
  | 'person'
  | 'feature'
  | 'model'
  | 'creditsHeld'
  | 'startBy'
  | 'batch'
  | 'retryOf'
>;

/** What may change with, or without, a change of state. */
export type JobChange = Partial<
  Pick<
    JobRecord,
    | 'boot'
    | 'engineFailures'
    | 'outages'
    | 'notBefore'
    | 'interruptions'
    | 'credits'
    | 'progress'
    | 'step'
    | 'errorCode'
    | 'errorMessage'
    | 'startedAt'
    | 'queueMs'
    | 'swapMs'
    | 'runMs'
    | 'gpuMs'
  >
>;

export interface JobEventRecord {
  readonly sequence: number;
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly at: number;
}

export interface Artefact {
  readonly id: string;
  readonly job: string;
  readonly tenant: string;
  readonly name: string;
  readonly contentType: string;
  readonly bytes: number;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** The file of a small picture of it. */
  readonly thumbnail: string | null;
  readonly createdAt: number;
}

/** Somebody else works on the job by now, or it has ended: what was found out late does not count. */
export class Overtaken extends Error {
  override readonly name = 'Overtaken';
}

const columns = `select id, tenant, asked_by as askedBy, person, feature, model, state, attempt, boot,
  engine_failures as engineFailures, outages, not_before as notBefore, interruptions, credits_held as creditsHeld, credits, progress, step,
  error_code as errorCode, error_message as errorMessage, created_at as createdAt, start_by as startBy,
  started_at as startedAt, finished_at as finishedAt, queue_ms as queueMs, swap_ms as swapMs, run_ms as runMs,
  gpu_ms as gpuMs, batch, retry_of as retryOf from jobs`;

/** Jobs, their finished steps, events and results. Every change of state goes along an edge, or does not happen. */
export class JobStore {
  readonly #db: Database;
  readonly #vault: Vault;
  readonly #sql: Statements;

  constructor(db: Database, vault: Vault) {
    this.#db = db;
    this.#sql = new Statements(db);
    this.#vault = vault;
  }

  /** Puts one down, with the uploads that it needs. */
  create(job: NewJob, input: unknown, prices: Prices, uploads: readonly string[] = []): JobRecord {
    this.#sql
      .prepare(
        `insert into jobs (id, tenant, asked_by, person, feature, model, input, credits_held, start_by, created_at, prices,
           batch, retry_of)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        job.id,
        job.tenant,
        job.askedBy,
        job.person,
        job.feature,
        job.model,
        this.#vault.seal(job.tenant, JSON.stringify(input)),
        job.creditsHeld,
        job.startBy,
        Date.now(),
        JSON.stringify(prices),
        job.batch,
        job.retryOf,
      );
    const need = this.#sql.prepare('insert or ignore into job_uploads (job, upload) values (?, ?)');
    for (const upload of uploads) need.run(job.id, upload);
    this.addEvent(job.id, 'state', { state: 'queued' });
    return this.#record(job.id);
  }

  find(id: string): JobRecord | undefined {
    return this.#sql.prepare<[string], JobRecord>(`${columns} where id = ?`).get(id);
  }

  /** What was asked. */
  input(id: string): unknown {
    const row = this.#sql
      .prepare<[string], { tenant: string; input: Buffer }>('select tenant, input from jobs where id = ?')
      .get(id);
    if (!row) throw new Error(`There is no job ${id}.`);
    return JSON.parse(this.#vault.open(row.tenant, row.input).toString());
  }

  /** What things cost when it was asked for. */
  prices(id: string): Prices {
    const text = this.#sql.prepare<[string], string>('select prices from jobs where id = ?').pluck().get(id);
    if (text === undefined) throw new Error(`There is no job ${id}.`);
    return JSON.parse(text) as Prices;
  }

  /** Newest first; of one tenant where one is named; from an id of an earlier page on. */
  page(filter: {
    tenant?: string | undefined;
    state?: string | undefined;
    feature?: string | undefined;
    batch?: string | undefined;
    person?: string | undefined;
    after?: string | undefined;
    limit: number;
  }): JobRecord[] {
    const { after = '~', limit, ...rest } = filter;
    const where = ['id < :after'];
    const values: Record<string, string | number> = { after, limit };
    // Each condition stands alone, so that the database takes the index that is for it.
    for (const [name, value] of Object.entries(rest)) {
      if (value === undefined) continue;
      where.push(`${name} = :${name}`);
      values[name] = value;
    }
    return this.#sql
      .prepare<Record<string, string | number>, JobRecord>(
        `${columns} where ${where.join(' and ')} order by id desc limit :limit`,
      )
      .all(values);
  }

  /** Every job that has not ended, the oldest first. */
  open(): JobRecord[] {
    return this.#sql.prepare<[], JobRecord>(`${columns} where finished_at is null order by id`).all();
  }

  /** Of the queued jobs that may begin by now, the oldest of every tenant for every model; without those named. */
  heads(now: number, except: readonly string[] = []): { id: string; tenant: string; model: string }[] {
    return this.#sql
      .prepare<[number, number, string], { id: string; tenant: string; model: string }>(
        `select min(id) as id, tenant, model from jobs
         where state = 'queued' and (not_before is null or not_before <= ?) and (start_by is null or start_by > ?)
           and id not in (select value from json_each(?))
         group by tenant, model`,
      )
      .all(now, now, JSON.stringify(except));
  }

  hasQueued(): boolean {
    return this.#sql.prepare<[], 1>("select 1 from jobs where state = 'queued' limit 1").get() !== undefined;
  }

  /** Queued jobs that were to begin by now, at most `most`. */
  overdue(now: number, most: number): JobRecord[] {
    return this.#sql
      .prepare<[number, number], JobRecord>(
        `${columns} where state = 'queued' and start_by is not null and start_by <= ? limit ?`,
      )
      .all(now, most);
  }

  /** The queued jobs, oldest first. */
  queuedIds(): string[] {
    return this.#sql
      .prepare<[], string>(
        "select id from jobs indexed by jobs_open where finished_at is null and state = 'queued' order by id",
      )
      .pluck()
      .all();
  }

  /** What the latest that succeeded took of the GPU, each; null when there are none. */
  meanGpuMs(latest: number): number | null {
    return (
      this.#sql
        .prepare<[number], number | null>(
          "select avg(gpu_ms) from (select gpu_ms from jobs where state = 'succeeded' order by id desc limit ?)",
        )
        .pluck()
        .get(latest) ?? null
    );
  }

  openOf(tenant: string): number {
    return this.#sql
      .prepare<[string], number>('select count(*) from jobs where finished_at is null and tenant = ?')
      .pluck()
      .get(tenant) as number;
  }

  /** Takes a queued job for this run of the appliance. Null when it is not queued any more. */
  claim(id: string, boot: string): JobRecord | null {
    return this.#db.transaction(() => {
      const { changes } = this.#sql
        .prepare(
          `update jobs set state = 'starting', attempt = attempt + 1, boot = ?, not_before = null,
             started_at = coalesce(started_at, ?)
           where id = ? and state = 'queued'`,
        )
        .run(boot, Date.now(), id);
      if (changes === 0) return null;
      this.addEvent(id, 'state', { state: 'starting' });
      return this.#record(id);
    })();
  }

  /**
   * Moves a job along an edge, with whatever else changes. With an attempt, only for that one. Throws Overtaken
   * where the event does not happen in its state, or the job is forgotten.
   */
  move(id: string, event: JobEvent, change: JobChange = {}, attempt: number | null = null): JobRecord {
    return this.#db.transaction(() => {
      const before = this.#going(id);
      const state = next(before.state, event);
      if (state === null || (attempt !== null && before.attempt !== attempt))
        throw new Overtaken(`Job ${id} is ${before.state}.`);
      this.#write({ ...before, ...change, state, finishedAt: isFinal(state) ? Date.now() : null });
      this.addEvent(id, 'state', { state, ...(change.errorCode && { error: change.errorCode }) });
      return this.#record(id);
    })();
  }

  /** Changes what is not the state, for an attempt that still goes on. */
  note(id: string, attempt: number, change: JobChange): void {
    const before = this.#going(id);
    if (before.attempt !== attempt || isFinal(before.state))
      throw new Overtaken(`Job ${id} is ${before.state}.`);
    this.#write({ ...before, ...change });
  }

  /** The oldest jobs of a tenant that ended before a moment. */
  endedBefore(tenant: string, before: number, limit: number): JobRecord[] {
    return this.#sql
      .prepare<[string, number, number], JobRecord>(
        `${columns} where tenant = ? and finished_at < ? order by finished_at limit ?`,
      )
      .all(tenant, before, limit);
  }

  /** Jobs of a tenant, or of one person of it. */
  some(tenant: string, person: string | undefined, limit: number): JobRecord[] {
    return person === undefined
      ? this.#sql
          .prepare<[string, number], JobRecord>(`${columns} where tenant = ? limit ?`)
          .all(tenant, limit)
      : this.#sql
          .prepare<[string, string, number], JobRecord>(`${columns} where person = ? and tenant = ? limit ?`)
          .all(person, tenant, limit);
  }

  /** Jobs that have not ended, of keys that were revoked and of people who were disabled, unless they were to go on. */
  ofRevoked(): JobRecord[] {
    return this.#sql
      .prepare<[], JobRecord>(
        `${columns} where finished_at is null and outlives_asker = 0 and (
           exists (select 1 from api_keys key where key.id = jobs.asked_by and key.revoked_at is not null)
           or exists (select 1 from users where users.id = jobs.person and users.disabled_at is not null))`,
      )
      .all();
  }

  /** Jobs that have not ended, asked for with a key, unless they were to go on. */
  askedBy(key: string): JobRecord[] {
    return this.#sql
      .prepare<[string], JobRecord>(
        `${columns} where finished_at is null and outlives_asker = 0 and asked_by = ?`,
      )
      .all(key);
  }

  /** Has one job, or the open jobs of a key or of a person, go on although the right to ask for them is taken. */
  outliveAsker(tenant: string, whose: string): void {
    this.#sql
      .prepare(
        `update jobs set outlives_asker = 1
         where finished_at is null and tenant = ? and ? in (id, asked_by, person)`,
      )
      .run(tenant, whose);
  }

  /** Forgets a job, with its steps, events and results. What it cost stays in the ledger and the usage table. */
  remove(id: string): void {
    this.#sql.prepare('delete from jobs where id = ?').run(id);
  }

  /** The tenants that have jobs. */
  tenants(): string[] {
    return this.#sql.prepare<[], string>(distinct('jobs', 'tenant')).pluck().all();
  }

  /** What a step came to, if it was done; undefined otherwise. */
  stepResult(job: string, name: string): unknown {
    const text = this.#sql
      .prepare<[string, string], string>('select result from job_steps where job = ? and name = ?')
      .pluck()
      .get(job, name);
    return text === undefined ? undefined : JSON.parse(text);
  }

  /** Saves what a step came to, with the results it made, for an attempt that still goes on. */
  saveStep(
    job: string,
    attempt: number,
    name: string,
    result: unknown,
    artefacts: readonly Artefact[],
  ): void {
    this.#db.transaction(() => {
      this.note(job, attempt, { step: name });
      this.#sql
        .prepare('insert into job_steps (job, name, result, at) values (?, ?, ?, ?)')
        .run(job, name, JSON.stringify(result ?? null), Date.now());
      for (const artefact of artefacts) this.#addArtefact(artefact);
      this.addEvent(job, 'step', { step: name, artefacts: artefacts.map(({ id }) => id) });
    })();
  }

  finishedSteps(job: string): number {
    return this.#sql
      .prepare<[string], number>('select count(*) from job_steps where job = ?')
      .pluck()
      .get(job) as number;
  }

  artefacts(job: string): Artefact[] {
    return this.#sql
      .prepare<[string], Omit<Artefact, 'metadata'> & { metadata: string }>(
        `select id, job, tenant, name, content_type as contentType, bytes, metadata, thumbnail,
           created_at as createdAt
         from artefacts where job = ? order by id`,
      )
      .all(job)
      .map((row) => ({ ...row, metadata: JSON.parse(row.metadata) as Record<string, unknown> }));
  }

  /** Whether a file of results or uploads belongs to something. */
  knowsFile(id: string): boolean {
    const known = this.#sql.prepare<[string, string, string], 1>(
      `select 1 from artefacts where id = ? union all select 1 from artefacts where thumbnail = ?
       union all select 1 from uploads where id = ? limit 1`,
    );
    return known.get(id, id, id) !== undefined;
  }

  /** The files of results and uploads that were there before a moment, read a page at a time. */
  *files(before: number): Generator<FileName> {
    const page = this.#sql.prepare<[string, number, number], FileName>(
      `select * from (
         select id, tenant, job as "group", created_at from artefacts
         union all select thumbnail, tenant, job, created_at from artefacts where thumbnail is not null
         union all select id, tenant, 'uploads', created_at from uploads)
       where id > ? and created_at < ? order by id limit ?`,
    );
    let after = '';
    for (;;) {
      const found = page.all(after, before, limits.turn.rows);
      for (const { id, tenant, group } of found) yield { id, tenant, group };
      after = found.at(-1)?.id ?? '';
      if (found.length < limits.turn.rows) return;
    }
  }

  addEvent(job: string, type: string, data: object): void {
    this.#sql
      .prepare('insert into job_events (job, type, data, at) values (?, ?, ?, ?)')
      .run(job, type, JSON.stringify(data), Date.now());
  }

  /** What happened to a job since an event, in order. */
  events(job: string, after: number): JobEventRecord[] {
    return this.#sql
      .prepare<[string, number], Omit<JobEventRecord, 'data'> & { data: string }>(
        'select sequence, type, data, at from job_events where job = ? and sequence > ? order by sequence limit 500',
      )
      .all(job, after)
      .map((row) => ({ ...row, data: JSON.parse(row.data) as Record<string, unknown> }));
  }

  #addArtefact({ metadata, ...artefact }: Artefact): void {
    this.#sql
      .prepare(
        `insert into artefacts (id, job, tenant, name, content_type, bytes, metadata, thumbnail, created_at)
         values (:id, :job, :tenant, :name, :contentType, :bytes, :metadata, :thumbnail, :createdAt)`,
      )
      .run({ ...artefact, metadata: JSON.stringify(metadata) });
  }

  #write(job: JobRecord): void {
    this.#sql
      .prepare(
        `update jobs set state = :state, boot = :boot, engine_failures = :engineFailures,
           outages = :outages, not_before = :notBefore, interruptions = :interruptions, credits = :credits, progress = :progress, step = :step,
           error_code = :errorCode, error_message = :errorMessage, started_at = :startedAt,
           finished_at = :finishedAt, queue_ms = :queueMs, swap_ms = :swapMs, run_ms = :runMs, gpu_ms = :gpuMs
         where id = :id`,
      )
      .run(job);
  }

  /** A job that somebody works on; it may have been forgotten meanwhile. */
  #going(id: string): JobRecord {
    const job = this.find(id);
    if (!job) throw new Overtaken(`Job ${id} was forgotten.`);
    return job;
  }

  #record(id: string): JobRecord {
    const job = this.find(id);
    if (!job) throw new Error(`There is no job ${id}.`);
    return job;
  }
}
