import { randomUUID } from 'node:crypto';
import { EngineError, type EngineErrorKind } from '../../gpu/engines/engine-error.ts';
import type { Gpu, Timings } from '../../gpu/gpu.ts';
import type { Standing } from '../../gpu/vram/explain.ts';
import { PausedError } from '../../gpu/vram/scheduler.ts';
import { limits } from '../contract/limits.ts';
import { crashPoint } from '../crash-point.ts';
import type { DurableWrites } from '../db/durable-writes.ts';
import { inTurns } from '../db/in-turns.ts';
import { isStorageError } from '../db/storage-error.ts';
import type { ErrorCode } from '../contract/errors.ts';
import { addTimings } from '../generation/timings.ts';
import { ApiError, asApiError } from '../http/api-error.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Upload } from '../files/upload-store.ts';
import type { Directory } from '../tenants/directory.ts';
import { type Actual, type PricedWork, priceOf, workDone } from '../offers/prices.ts';
import type { UsageStore } from '../usage/usage-store.ts';
import { type Feature, type JobContext, uploadsOf } from './feature.ts';
import { type JobChange, type JobRecord, type JobStore, Overtaken } from './job-store.ts';
import { QueuePlaces } from './queue-places.ts';
import { type ResultParts, StepResults } from './results.ts';
import { isFinal, type JobEvent } from './states.ts';

export interface JobParts extends ResultParts {
  readonly store: JobStore;
  readonly features: ReadonlyMap<string, Feature<unknown>>;
  readonly gpu: Gpu;
  readonly ledger: Ledger;
  readonly usage: UsageStore;
  readonly directory: Directory;
  readonly uploads: {
    find(tenant: string, id: string): Upload | undefined;
    read(upload: Upload): Promise<Uint8Array>;
  };
  readonly writes: DurableWrites;
  /** Tells the tenant's endpoints. Called inside the transaction of what happened. */
  readonly emit: (tenant: string, type: string, data: object) => void;
  readonly onError: (error: unknown, job: string | null) => void;
  /** Pauses before a job is tried again, in milliseconds; those of the limits where not given. */
  readonly pausesMs?: readonly number[];
}

interface Running {
  readonly job: JobRecord;
  readonly abort: AbortController;
  readonly ended: Promise<void>;
  /** Whether the call of the GPU that it made last had been given a lease: the engine had begun. */
  wasGranted: boolean;
  standing: () => Standing | undefined;
  progress: number;
  preview: Preview | null;
}

/** How the picture that a job makes looks at the moment. */
export interface Preview {
  readonly bytes: Uint8Array;
  /** Goes up with every new one of the job. */
  readonly version: number;
}

/** The first in a line. */
type Head = ReturnType<JobStore['heads']>[number];

/** A job has many rows: fewer of them at a time. */
const jobTurns = { most: limits.turn.jobs } as const;

/** Why a job's work was told to stop. */
class Canceled extends Error {
  override readonly name = 'Canceled';
}
class Suspended extends Error {
  override readonly name = 'Suspended';
}
class ShuttingDown extends Error {
  override readonly name = 'ShuttingDown';
}

/** What an engine says of the job, and not of itself: trying again would end the same. */
const jobsOwn: ReadonlySet<EngineErrorKind> = new Set(['rejected', 'unsupported', 'model_missing']);

/**
 * Does jobs: several at once, each a step after the other. What is finished is on disk before the next begins, so a
 * job goes on where it was, whatever ended the process. Money moves with the change of state, in one transaction.
 */
export class Jobs {
  readonly #parts: JobParts;
  readonly #boot = randomUUID();
  readonly #running = new Map<string, Running>();
  /** Jobs whose end is being recorded, or can never be: they are not begun. */
  readonly #ending = new Set<string>();
  /** While jobs whose time is over are being ended. */
  #isExpiring = false;
  /** By the id of a job, or of a tenant for all of its jobs. */
  readonly #listeners = new Map<string, Set<(job: string) => void>>();
  #again: NodeJS.Timeout | null = null;
  #unwatchRights: () => void = () => undefined;
  #isClosed = false;
  /** Of the latest jobs that succeeded; read anew when it is asked for after one more did. */
  #meanGpuMs: number | null = null;

  readonly #places: QueuePlaces;

  constructor(parts: JobParts) {
    this.#parts = parts;
    this.#places = new QueuePlaces(() => parts.store.queuedIds());
  }

  /**
   * Looks at what goes on after rights were taken: jobs of a revoked key or a disabled person end, uncharged, and those of
   * a suspended tenant are put back until it is not.
   */
  async #lookAtRights(): Promise<void> {
    const { store, directory } = this.#parts;
    for (const { job, abort } of this.#running.values())
      if (directory.tenant(job.tenant)?.disabled === true) abort.abort(new Suspended());
    const removed = directory.removedKeys().flatMap((key) => store.askedBy(key));
    const left = [...store.ofRevoked(), ...removed];
    await inTurns((most) => {
      const some = left.splice(0, most);
      for (const job of some) void this.#endOfRevoked(job);
      return some.length;
    }, jobTurns);
    this.wake();
  }

  async #endOfRevoked(job: JobRecord): Promise<void> {
    await this.#record(job, 'the end of a job whose key or person lost the right to it', () =>
      this.#writeEnd(job, 'cancel', 0, revoked),
    );
    this.#stop(job.id);
  }

  /** Takes up what an earlier run of the appliance left, and begins. No job stays running without a worker (J3). */
  start(): void {
    const { store } = this.#parts;
    for (const job of store.open()) {
      if (job.state === 'queued' || job.boot === this.#boot) continue;
      const interruptions = job.interruptions + 1;
      const isPoison = interruptions > limits.jobs.interruptions;
      const message = 'The appliance stopped again and again while this job ran. Nothing was charged.';
      void this.#record(job, 'the return of an interrupted job', () => {
        if (isPoison)
          this.#writeEnd(job, 'fail', 0, { interruptions, errorCode: 'poison', errorMessage: message });
        else store.move(job.id, 'requeue', { interruptions });
      });
    }
    const look = (): void =>
      void this.#lookAtRights().catch((error: unknown) => this.#parts.onError(error, null));
    this.#unwatchRights = this.#parts.directory.onChange(look);
    look();
    this.wake();
  }

  /** Begins what can begin: of the tenant that has least running for its weight, the oldest. */
  wake(): void {
    if (this.#isClosed) return;
    let isWaiting = true;
    try {
      isWaiting = this.#beginWhatCan();
    } catch (error) {
      // A full disk: nothing begins, and it is tried again.
      this.#parts.onError(error, null);
    }
    if (!isWaiting) return;
    // What has to wait for an engine, or for its time to be over, is looked at again.
    this.#again ??= setTimeout(() => {
      this.#again = null;
      this.wake();
    }, limits.jobs.againMs).unref();
  }

  /** Whether some have to wait. */
  #beginWhatCan(): boolean {
    const { store } = this.#parts;
    if (!this.#isExpiring) void this.#expire().catch((error: unknown) => this.#parts.onError(error, null));
    while (this.#running.size < limits.jobs.running) {
      // A job whose earlier attempt has not quite ended is not begun beside it.
      const busy = [...this.#running.keys(), ...this.#ending];
      const first = this.#first(store.heads(Date.now(), busy));
      if (!first) break;
      this.#begin(first.id);
    }
    return store.hasQueued();
  }

  /** Ends the jobs whose time to begin is over, a few in each turn of the event loop. */
  async #expire(): Promise<void> {
    const end = { errorCode: 'expired', errorMessage: 'The job could not begin in time.' };
    this.#isExpiring = true;
    const ended = inTurns((most) => {
      // Those whose end waits for the disk do not stand in the others' way.
      const overdue = this.#parts.store.overdue(Date.now(), most + this.#ending.size);
      const some = overdue.filter(({ id }) => !this.#ending.has(id)).slice(0, most);
      for (const job of some)
        void this.#record(job, 'the expiry of a job', () => this.#writeEnd(job, 'expire', 0, end));
      return this.#isClosed ? 0 : some.length;
    }, jobTurns);
    await ended.finally(() => (this.#isExpiring = false));
  }

  /** Where a job is in its own line: how many of all tenants' are before it, or the GPU's own account of it. */
  standing(job: JobRecord): { position: number; etaMs: number | null; reason: string } | null {
    const running = this.#running.get(job.id)?.standing();
    if (running) return { position: running.position, etaMs: running.etaMs, reason: running.reason };
    if (job.state !== 'queued') return null;
    const hasModel = this.#parts.gpu.model(job.model) !== undefined;
    const pauseMs = (job.notBefore ?? 0) - Date.now();
    if (hasModel && pauseMs > 0) return { position: 1, etaMs: pauseMs, reason: 'engine_unavailable' };
    const before = this.#places.before(job.id, performance.now());
    return {
      position: before + 1,
      etaMs: hasModel ? this.#etaMs(before) : null,
      reason: hasModel ? 'tenant_concurrency' : 'engine_unavailable',
    };
  }

  /**
   * When a job with so many before it is likely to begin: what the GPU still has to do for those that run and those
   * before it, by what jobs took lately. Null while none has been done.
   */
  #etaMs(before: number): number | null {
    const meanMs = (this.#meanGpuMs ??= this.#parts.store.meanGpuMs(limits.jobs.lately));
    if (meanMs === null) return null;
    const left = [...this.#running.values()].reduce((sum, { progress }) => sum + 1 - progress, 0);
    return Math.round((before + left) * meanMs);
  }

  progress(job: JobRecord): number {
    return this.#running.get(job.id)?.progress ?? job.progress;
  }

  preview(id: string): Preview | null {
    return this.#running.get(id)?.preview ?? null;
  }

  /**
   * Ends a job for good (J6), in one transaction with what `alongside` writes. What it had finished is charged. Does
   * nothing to one that has ended.
   */
  cancel(id: string, alongside: () => void = () => undefined): JobRecord {
    const { store, ledger } = this.#parts;
    const job = store.find(id);
    if (!job) throw new Error(`There is no job ${id}.`);
    if (isFinal(job.state)) return job;
    ledger.atomically(() => {
      alongside();
      this.#end(job, 'cancel', this.#chargeFor(job), {});
    });
    crashPoint('job.canceled');
    this.#stop(id);
    return store.find(id) ?? job;
  }

  /** Ends jobs of those that have not ended, all of them or none. */
  #cancelTogether(jobs: readonly JobRecord[]): void {
    const open = jobs.filter(({ state }) => !isFinal(state));
    this.#parts.ledger.atomically(() => {
      for (const job of open) this.#end(job, 'cancel', this.#chargeFor(job), {});
    });
    for (const { id } of open) this.#stop(id);
  }

  /** Stops the work of a job that was cancelled. */
  #stop(id: string): void {
    this.#running.get(id)?.abort.abort(new Canceled());
  }

  /** Cancels jobs, a few in each turn of the event loop. */
  async cancelAll(ids: readonly string[]): Promise<void> {
    const left = [...ids];
    await inTurns((most) => {
      const some = left.splice(0, most);
      this.#cancelTogether(some.flatMap((id) => this.#parts.store.find(id) ?? []));
      return some.length;
    }, jobTurns);
  }

  /** Ends and forgets every job of a tenant, or of one person of it, with its results. */
  async forget(tenant: string, person?: string): Promise<void> {
    const { store } = this.#parts;
    await inTurns((most) => {
      const some = store.some(tenant, person, most);
      this.#cancelTogether(some);
      this.forgetAll(some);
      return some.length;
    }, jobTurns);
  }

  /** Forgets jobs that ended longer ago than their tenant's plan keeps them, a few in each turn of the event loop. */
  async sweep(signal?: AbortSignal): Promise<void> {
    const { store, directory } = this.#parts;
    for (const tenant of store.tenants()) {
      const known = directory.tenant(tenant);
      // Of a tenant that is gone (from tenants.json), nobody comes for the results any more.
      const days = known ? known.limits.historyDays : limits.jobs.goneTenantDays;
      if (days === null) continue;
      const before = Date.now() - days * 24 * 3_600_000;
      await inTurns(
        (most) => {
          const some = store.endedBefore(tenant, before, most);
          this.forgetAll(some);
          return some.length;
        },
        { ...jobTurns, signal },
      );
    }
  }

  /** Forgets jobs that have ended, in one transaction with what goes with them; their results after it. */
  forgetAll(jobs: readonly JobRecord[], alongside: () => void = () => undefined): void {
    const { store, ledger, files, onError } = this.#parts;
    ledger.atomically(() => {
      for (const { id } of jobs) store.remove(id);
      alongside();
    });
    for (const { tenant, id } of jobs) {
      crashPoint('job.forgotten');
      files.removeGroup(tenant, id).catch((error: unknown) => onError(error, id));
    }
  }

  /** Calls back whenever something happened to a job, or to any job of a tenant. Returns how to stop that. */
  watch(jobOrTenant: string, listener: (job: string) => void): () => void {
    const listeners = this.#listeners.get(jobOrTenant) ?? new Set();
    this.#listeners.set(jobOrTenant, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(jobOrTenant);
    };
  }

  /**
   * Listens to a job from now on. `next` resolves when something happened to it since the last call (or since now), the
   * time is over, or the signal is aborted. Listen before you read how the job stands: then nothing is missed between.
   */
  changesOf(id: string): { next(withinMs: number, signal?: AbortSignal): Promise<void>; stop(): void } {
    let hasChanged = false;
    let tell = (): void => undefined;
    const stop = this.watch(id, () => {
      hasChanged = true;
      tell();
    });
    const next = (withinMs: number, signal?: AbortSignal): Promise<void> =>
      new Promise((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          tell = () => undefined;
          signal?.removeEventListener('abort', done);
          hasChanged = false;
          resolve();
        };
        const timer = setTimeout(done, Math.max(0, withinMs));
        tell = done;
        signal?.addEventListener('abort', done);
        if (hasChanged || signal?.aborted === true) done();
      });
    return { next, stop };
  }

  /** To be called when jobs were put down. */
  added(jobs: readonly JobRecord[]): void {
    for (const job of jobs) this.#tell(job);
    this.wake();
  }

  /** Forgets a job that has ended, with its results. */
  remove(job: JobRecord): void {
    if (!isFinal(job.state)) throw new ApiError('conflict', `It is ${job.state} yet. Cancel it first.`);
    this.forgetAll([job]);
  }

  /** Puts back what runs, without holding it against the jobs. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unwatchRights();
    if (this.#again) clearTimeout(this.#again);
    const ended = [...this.#running.values()].map((one) => {
      one.abort.abort(new ShuttingDown());
      return one.ended;
    });
    const enough = new Promise((resolve) => setTimeout(resolve, limits.jobs.closeMs).unref());
    await Promise.race([Promise.all(ended), enough]);
  }

  /** Whose turn it is, of those that can begin. */
  #first(heads: readonly Head[]): Head | undefined {
    const running = new Map<string, number>();
    for (const { job } of this.#running.values()) running.set(job.tenant, (running.get(job.tenant) ?? 0) + 1);
    const turns = heads.flatMap((head) => {
      const tenant = this.#parts.directory.tenant(head.tenant);
      const count = running.get(head.tenant) ?? 0;
      const canBegin = tenant && !tenant.disabled && count < tenant.limits.concurrent;
      if (!canBegin || !this.#parts.gpu.model(head.model)) return [];
      return [{ head, turn: count / tenant.limits.weight }];
    });
    return turns.toSorted((a, b) => a.turn - b.turn || (a.head.id < b.head.id ? -1 : 1))[0]?.head;
  }

  #begin(id: string): void {
    const job = this.#claim(id);
    if (!job) return;
    crashPoint('job.claimed');
    const abort = new AbortController();
    const running: Running = {
      job,
      abort,
      wasGranted: false,
      standing: () => undefined,
      progress: job.progress,
      preview: null,
      ended: Promise.resolve()
        .then(() => this.#work(job, running))
        .catch((error: unknown) => this.#parts.onError(error, job.id)),
    };
    this.#running.set(job.id, running);
    this.#tell(job);
  }

  #claim(id: string): JobRecord | null {
    const { store } = this.#parts;
    try {
      return store.claim(id, this.#boot);
    } catch (error) {
      // A full disk: nothing can begin. Anything else is this job's own, and the others begin without it.
      if (isStorageError(error)) throw error;
      this.#parts.onError(error, id);
      const job = store.find(id);
      if (job) void this.#record(job, 'the failure of a job', () => this.#writeEnd(job, 'fail', 0, ourFault));
      return null;
    }
  }

  async #work(job: JobRecord, running: Running): Promise<void> {
    const { store, features, ledger } = this.#parts;
    const { abort } = running;
    const timings: Timings = {
      queuedMs: job.queueMs,
      swapMs: job.swapMs,
      runMs: job.runMs,
      gpuMs: job.gpuMs,
      granted: false,
    };
    try {
      const feature = features.get(job.feature);
      if (!feature)
        throw new ApiError('internal_error', `The feature "${job.feature}" is not here any more.`);
      const input = store.input(job.id);
      await this.#tidy(job);
      ledger.atomically(() => this.#emit(store.move(job.id, 'begin', {}, job.attempt)));
      crashPoint('job.begun');
      this.#tell(job);
      const context = this.#contextOf(job, running, timings);
      const used = await feature.run(input, context);
      running.abort.signal.throwIfAborted();
      crashPoint('job.worked');
      const { uploads } = uploadsOf(feature, input, (id) => this.#parts.uploads.find(job.tenant, id));
      const work = feature.wish(input, context.model, uploads).work();
      await this.#record(job, 'the success of a job', () => this.#finish(job, work, used, timings));
      this.#meanGpuMs = null;
      crashPoint('job.finished');
    } catch (error) {
      const { code } = asApiError(error);
      const isOurs = code === 'internal_error' || code === 'storage_unavailable';
      if (isOurs && !abort.signal.aborted && !(error instanceof Overtaken))
        this.#parts.onError(error, job.id);
      await this.#record(job, 'the end of a job', () => this.#settleFailure(job, running, timings, error));
    } finally {
      if (this.#running.get(job.id) === running) this.#running.delete(job.id);
      this.#tell(job);
      this.wake();
      // A requeued job cleans up at its next start (perhaps already running): clean only jobs that ended.
      const state = store.find(job.id)?.state;
      if (state === undefined || isFinal(state)) await this.#tidy(job);
    }
  }

  /** Files that were written for a step that was not saved. */
  async #tidy({ tenant, id }: JobRecord): Promise<void> {
    const { store, files } = this.#parts;
    if (!store.find(id)) return files.removeGroup(tenant, id);
    const known = store.artefacts(id).flatMap((artefact) => [artefact.id, artefact.thumbnail ?? '']);
    await files.tidy(tenant, id, new Set(known));
  }

  #contextOf(job: JobRecord, running: Running, timings: Timings): JobContext {
    const { store, gpu, directory, uploads, pictures } = this.#parts;
    const model = gpu.model(job.model);
    const tenant = directory.tenant(job.tenant);
    if (!model || !tenant)
      throw new ApiError('model_not_found', `There is no model "${job.model}" any more.`);
    const { signal } = running.abort;
    const caller = {
      tenant: tenant.id,
      weight: tenant.limits.weight,
      concurrency: tenant.limits.concurrent,
      lane: 'batch',
      feature: job.feature,
    } as const;
    return {
      signal,
      model,
      step: async (name, work) => {
        const before = store.stepResult(job.id, name);
        if (before !== undefined) return before as Awaited<ReturnType<typeof work>>;
        signal.throwIfAborted();
        const results = new StepResults(this.#parts, job, tenant);
        const result = await work(results);
        signal.throwIfAborted();
        store.saveStep(job.id, job.attempt, name, result, results.made);
        crashPoint('step.saved');
        store.note(job.id, job.attempt, { progress: running.progress, outages: 0, ...timesOf(timings) });
        this.#tell(job);
        return result;
      },
      image: (request) => {
        const run = gpu.image(model.id, request, caller, signal);
        running.standing = () => run.standing();
        const events = counted(run.events, () => {
          addTimings(timings, run.timings);
          running.wasGranted = run.timings.granted;
        });
        return { id: run.id, timings: run.timings, standing: () => run.standing(), events };
      },
      text: async (request) => {
        const task = gpu.complete(model.id, request, caller, signal);
        running.standing = () => task.standing();
        try {
          return await task.result;
        } finally {
          addTimings(timings, task.timings);
          running.wasGranted = task.timings.granted;
        }
      },
      upload: async (id) => {
        const upload = uploads.find(job.tenant, id);
        if (!upload) throw new ApiError('not_found', `The upload ${id} is not there any more.`);
        return { upload, bytes: await uploads.read(upload) };
      },
      picture: (work) => pictures.work(work, 'picture', tenant.id),
      preview: (bytes) => {
        running.preview = { bytes, version: (running.preview?.version ?? 0) + 1 };
        this.#tell(job);
      },
      progress: (fraction) => {
        running.progress = Math.min(1, Math.max(running.progress, fraction));
        this.#tell(job);
      },
    };
  }

  /** Charged by what it came to, at the prices it was asked for at, and never more than was held. */
  #finish(job: JobRecord, work: PricedWork, used: Actual, timings: Timings): void {
    const { store, ledger, usage } = this.#parts;
    ledger.atomically(() => {
      const price = priceOf(store.prices(job.id), workDone(work, used));
      const credits = Math.min(job.creditsHeld, price);
      const done = store.move(job.id, 'finish', { credits, progress: 1, ...timesOf(timings) }, job.attempt);
      if (job.creditsHeld > 0) ledger.post(job.id, credits);
      usage.addNow(rowOf(job, 'ok', null, credits, timings, used));
      this.#emit(done);
    });
  }

  /**
   * Records how a job ended, or that it is put back: now, or as soon as storage takes it (D2). What can never be
   * recorded that way ends as a failure of ours, and what is held for it is given back in any case.
   */
  async #record(job: JobRecord, what: string, write: () => void): Promise<void> {
    const { writes, ledger, store } = this.#parts;
    const { id } = job;
    const unlessOvertaken = (work: () => void) => (): void => {
      try {
        work();
      } catch (error) {
        // Somebody else recorded how it stands.
        if (!(error instanceof Overtaken)) throw error;
      }
    };
    const release = {
      what: 'the release of held credits',
      id,
      write: () => void ledger.void(id, 'internal_error'),
    };
    const failure = {
      what: 'the failure of a job',
      id,
      // Nobody is told: that may be what cannot be written.
      write: unlessOvertaken(() => this.#writeEnd(job, 'fail', 0, ourFault, () => undefined)),
      instead: [release],
    };
    this.#ending.add(id);
    const outcome = await writes.commit({ what, id, write: unlessOvertaken(write), instead: [failure] });
    if (outcome !== 'lost' || isFinal(store.find(id)?.state ?? 'failed')) this.#ending.delete(id);
    this.#tell(job);
    this.wake();
  }

  /** What becomes of a job whose work did not come to its end. */
  #settleFailure(job: JobRecord, running: Running, timings: Timings, error: unknown): void {
    const { store } = this.#parts;
    const { reason } = running.abort.signal;
    // Cancelled, or taken over: how it stands is written already.
    if (error instanceof Overtaken || reason instanceof Canceled) return;
    // It was cancelled, or taken over, just now.
    const current = store.find(job.id);
    if (!current || current.attempt !== job.attempt || isFinal(current.state)) return;
    const times = timesOf(timings);
    // The operator stopped its engine, or what ran at a pause: it waits, and nothing is held against it.
    const isStopped =
      (error instanceof EngineError && error.kind === 'stopped') || error instanceof PausedError;
    if (reason instanceof ShuttingDown || reason instanceof Suspended || isStopped) {
      const notBefore = isStopped ? Date.now() + this.#pauseMs(1) : null;
      store.move(job.id, 'requeue', { notBefore, ...times }, job.attempt);
      return;
    }
    const { code, message } = asApiError(error);
    const isDeath = running.wasGranted && isEngineFailure(error);
    const engineFailures = job.engineFailures + (isDeath ? 1 : 0);
    const outages = current.outages + (isDeath || !isNotNow(error) ? 0 : 1);
    const mayTryAgain = isDeath
      ? engineFailures <= limits.jobs.engineFailures
      : isNotNow(error) && outages <= limits.jobs.outages;
    if (mayTryAgain) {
      const notBefore = Date.now() + this.#pauseMs(engineFailures + outages);
      store.move(job.id, 'requeue', { engineFailures, outages, notBefore, ...times }, job.attempt);
      return;
    }
    this.#writeEnd(job, 'fail', 0, {
      engineFailures,
      outages,
      ...times,
      errorCode: isDeath ? 'poison' : code,
      errorMessage: message,
    });
  }

  /** How long a job waits after so many failures, a little more or less, so that not all come back together. */
  #pauseMs(failures: number): number {
    const pauses = this.#parts.pausesMs ?? limits.jobs.pausesMs;
    const pauseMs = pauses[failures - 1] ?? pauses.at(-1) ?? 0;
    return Math.round(pauseMs * (0.9 + Math.random() * 0.2));
  }

  /** Ends a job for a reason other than its success, and tells whoever watches. Throws where that cannot be written. */
  #end(job: JobRecord, event: JobEvent, credits: number, change: JobChange): void {
    this.#parts.ledger.atomically(() => this.#writeEnd(job, event, credits, change));
    this.#tell(job);
  }

  /**
   * The end of a job that is not its success: its state, its charge and its row of usage. Call it inside a transaction,
   * so that all or none of it is written.
   */
  #writeEnd(
    job: JobRecord,
    event: JobEvent,
    credits: number,
    change: JobChange,
    emit: (ended: JobRecord) => void = (ended) => this.#emit(ended),
  ): void {
    const { store, ledger, usage } = this.#parts;
    const ended = store.move(job.id, event, { ...change, credits });
    if (job.creditsHeld > 0 && credits > 0) ledger.post(job.id, credits);
    else if (job.creditsHeld > 0) ledger.void(job.id, change.errorCode ?? ended.state);
    const status = event === 'cancel' ? 'abandoned' : event === 'expire' ? 'refused' : 'failed';
    usage.addNow(rowOf(ended, status, change.errorCode ?? ended.state, credits, null, {}));
    emit(ended);
  }

  #emit({ id, tenant, feature, state, credits, errorCode }: JobRecord): void {
    this.#parts.emit(tenant, `job.${state}`, { id, feature, state, credits, error: errorCode });
  }

  /** The part of what is held that the finished steps are of the whole, in the customer's favour. */
  #chargeFor(job: JobRecord): number {
    const { store, features } = this.#parts;
    const feature = features.get(job.feature);
    if (!feature || job.creditsHeld === 0) return 0;
    const finished = store.finishedSteps(job.id);
    return Math.min(
      job.creditsHeld,
      Math.floor((job.creditsHeld * finished) / feature.steps(store.input(job.id))),
    );
  }

  #tell({ id, tenant }: Pick<JobRecord, 'id' | 'tenant'>): void {
    for (const listener of this.#listeners.get(id) ?? []) listener(id);
    for (const listener of this.#listeners.get(tenant) ?? []) listener(id);
  }
}

async function* counted<Event>(events: AsyncIterable<Event>, done: () => void): AsyncIterable<Event> {
  try {
    yield* events;
  } finally {
    done();
  }
}

const revoked = {
  errorCode: 'access_revoked',
  errorMessage:
    'The key or person that asked for this job lost the right to ask for it. The job was ended; nothing was charged.',
} as const;

const ourFault = {
  errorCode: 'internal_error',
  errorMessage:
    'The appliance could not record how this job went; its operator was told. Nothing was charged.',
} as const;

/** An engine did not do its work, for a reason that is not in the request. */
function isEngineFailure(error: unknown): boolean {
  return error instanceof EngineError && !jobsOwn.has(error.kind);
}

/** Codes of refusals that say "not now" to work which can wait, as a job can. */
const notNowCodes: ReadonlySet<ErrorCode> = new Set([
  'queue_full',
  'tenant_queue_full',
  'paused',
  'storage_unavailable',
  'storage_full',
  'moderation_unavailable',
]);

function isNotNow(error: unknown): boolean {
  return isEngineFailure(error) || notNowCodes.has(asApiError(error).code);
}

function timesOf({ queuedMs, swapMs, runMs, gpuMs }: Timings) {
  return {
    queueMs: Math.round(queuedMs),
    swapMs: Math.round(swapMs),
    runMs: Math.round(runMs),
    gpuMs: Math.round(gpuMs),
  };
}

function rowOf(
  job: JobRecord,
  status: 'ok' | 'failed' | 'refused' | 'abandoned',
  errorCode: string | null,
  credits: number,
  timings: Timings | null,
  { promptTokens = 0, completionTokens = 0, images = 0 }: Actual,
) {
  const times = timings ? timesOf(timings) : job;
  return {
    id: job.id,
    at: Date.now(),
    tenant: job.tenant,
    keyId: job.askedBy,
    person: job.person,
    feature: job.feature,
    model: job.model,
    status,
    errorCode,
    promptTokens,
    completionTokens,
    images,
    queueMs: times.queueMs,
    swapMs: times.swapMs,
    runMs: times.runMs,
    gpuMs: times.gpuMs,
    credits,
  };
}
