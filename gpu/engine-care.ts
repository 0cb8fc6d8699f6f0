import { setTimeout as delay } from 'node:timers/promises';
import { EngineError, type EngineErrorKind } from './engines/engine-error.ts';
import type { Engine, EngineDescription, LeftOut } from './engines/engine.ts';
import type { GpuLog } from './gpu-log.ts';
import type { KeptState } from './kept-state.ts';
import type { ModelBook } from './model-book.ts';
import { Backoff, engineRestart } from './supervisor/backoff.ts';
import type { LogLine } from './supervisor/log-ring.ts';
import type { Scheduler } from './vram/scheduler.ts';
import type { Outage, Resident } from './vram/state.ts';

export type EngineHealth = 'unknown' | 'starting' | 'ready' | 'failing' | 'failed' | 'stopped';

export interface EngineStatus extends EngineDescription {
  readonly health: EngineHealth;
  /** What happened, for the operator; null while it is well. */
  readonly failure: string | null;
  /** When it is tried again by itself, wall-clock milliseconds; null while that is not planned. */
  readonly nextTryAt: number | null;
}

const timing = {
  refreshMs: 60_000,
  quietMs: 60_000,
  healthMs: 20_000,
  listMs: 30_000,
  /** How long people wait for an engine that is down before they are told to come back. */
  outageMs: 60_000,
} as const;
/** What makes an engine suspect, rather than the request. */
const suspicious: ReadonlySet<EngineErrorKind> = new Set([
  'silent',
  'unreachable',
  'broken_stream',
  'out_of_memory',
]);
/** What says that the engine holds something else than we think. */
const astray: ReadonlySet<EngineErrorKind> = new Set(['wrong_model', 'model_gone', 'model_missing']);
/** What the engine did wrong, and the operator is told in its own words. */
const reported: ReadonlySet<EngineErrorKind> = new Set([...suspicious, ...astray, 'bad_answer']);

export interface EngineCareOptions {
  readonly engines: ReadonlyMap<string, Engine>;
  readonly book: ModelBook;
  readonly scheduler: Scheduler;
  readonly kept: KeptState;
  readonly closing: AbortSignal;
  readonly log: GpuLog;
  /** Does a tiny piece of work on a model through the queue, like anybody's: that tests the scheduler as well. */
  readonly tryThroughQueue: (modelId: string, signal: AbortSignal) => Promise<void>;
}

/** How one engine is, and what is being done about it. */
interface Care {
  health: EngineHealth;
  failure: string | null;
  /** False from the operator's stop until the operator's start: nothing else starts it. */
  isWanted: boolean;
  /** When it became ready or went down, monotonic milliseconds. */
  since: number;
  nextTryAt: number | null;
  readonly backoff: Backoff;
  attempt: Promise<void> | null;
  stopping: Promise<void> | null;
  retryTimer: NodeJS.Timeout | null;
  outageTimer: NodeJS.Timeout | null;
}

/**
 * Sees to it that engines are up, that what they hold is known, and that one that only seems alive is found out. Nobody
 * else starts or stops an engine: whoever needs one asks here.
 */
export class EngineCare {
  readonly #options: EngineCareOptions;
  readonly #cares = new Map<string, Care>();
  readonly #served = new Map<string, number>();
  readonly #checking = new Set<string>();
  readonly #leftOut = new Map<string, readonly LeftOut[]>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: EngineCareOptions) {
    this.#options = options;
    for (const [id, engine] of options.engines) {
      const isWanted = !options.kept.stoppedEngines.includes(id);
      this.#cares.set(id, {
        health: isWanted ? 'unknown' : 'stopped',
        failure: null,
        isWanted,
        since: performance.now(),
        nextTryAt: null,
        backoff: new Backoff(engineRestart),
        attempt: null,
        stopping: null,
        retryTimer: null,
        outageTimer: null,
      });
      engine.onLost((reason) => this.lost(id, reason));
    }
  }

  /** Brings every engine up in the background that the operator has not stopped, and looks after them from then on. */
  begin(): void {
    for (const [id, care] of this.#cares) {
      care.since = performance.now();
      if (care.isWanted) this.#bringUp(id).catch(() => undefined);
    }
    this.#timer = setInterval(() => {
      this.#tend().catch((error: unknown) =>
        this.#options.log('error', 'the engines could not be looked after', { error: String(error) }),
      );
    }, timing.refreshMs).unref();
  }

  end(): void {
    if (this.#timer) clearInterval(this.#timer);
    for (const care of this.#cares.values()) clearTimers(care);
  }

  /** Resolves when no engine is being brought up any more, or after so many milliseconds. */
  async settled(mostMs: number): Promise<void> {
    const attempts = [...this.#cares.values()].flatMap(({ attempt }) => attempt ?? []);
    if (attempts.length === 0) return;
    await Promise.race([Promise.allSettled(attempts), delay(mostMs, undefined, { ref: false })]);
  }

  has(id: string): boolean {
    return this.#options.engines.has(id);
  }

  statuses(): EngineStatus[] {
    return [...this.#options.engines].map(([id, engine]) => {
      const { health, failure, nextTryAt } = this.#care(id);
      return { ...engine.describe(), health, failure, nextTryAt };
    });
  }

  /** Why nothing can be loaded in an engine now; null where it can. */
  outageOf(id: string): Outage | null {
    const { health, isWanted } = this.#care(id);
    if (!isWanted) return 'engine_stopped';
    if (health === 'ready') return null;
    return health === 'failed' ? 'engine_failed' : 'engine_starting';
  }

  /** Why people who ask for a model of this engine now are told to come back; null while they are served or may wait. */
  refusalOf(id: string): EngineError | null {
    const care = this.#care(id);
    const isOver = performance.now() - care.since >= timing.outageMs;
    if (this.outageOf(id) === null || (care.health !== 'failed' && !isOver)) return null;
    if (!care.isWanted) return new EngineError('stopped', undefined, { retryAfterMs: timing.outageMs });
    const retryAfterMs =
      care.nextTryAt === null ? timing.outageMs : Math.max(1_000, care.nextTryAt - Date.now());
    const kind = care.health === 'failed' ? 'failed' : 'start_failed';
    return new EngineError(kind, care.failure ?? undefined, { retryAfterMs });
  }

  /** What work that failed on an engine is told: that the operator stopped it, where that was the reason. */
  causeOf(id: string, error: unknown): unknown {
    if (this.#care(id).isWanted || !(error instanceof EngineError) || error.kind === 'aborted') return error;
    return new EngineError('stopped', undefined, { cause: error, retryAfterMs: timing.outageMs });
  }

  /** Reads anew what an engine offers, where it is up. */
  async refresh(id: string): Promise<void> {
    if (this.#care(id).health !== 'ready') return;
    const engine = this.#engine(id);
    await engine.rescan?.(this.#options.closing);
    await this.#refresh(id, engine);
  }

  /** Something ended late, so what the engine holds may not be what is counted: it is asked, where it is up. */
  recount(id: string): void {
    if (this.#care(id).health !== 'ready') return;
    this.#refresh(id, this.#engine(id)).catch(() => this.#checkSoon(id));
  }

  logs(id: string): readonly LogLine[] {
    return this.#engine(id).logs();
  }

  /** The operator's start: with new chances, where it had been stopped or given up. Concurrent calls join. */
  async start(id: string): Promise<void> {
    const care = this.#care(id);
    if (care.stopping) await care.stopping;
    this.#options.kept.setStopped(id, false);
    care.backoff.reset();
    care.isWanted = true;
    care.failure = null;
    if (care.health !== 'ready') care.since = performance.now();
    // A program that was given up has used up its own chances as well.
    if (care.health === 'failed' && !care.attempt) await this.#engine(id).stop();
    await this.#bringUp(id);
  }

  /** The operator's stop. It holds until the operator's start, also over restarts of the appliance. */
  stop(id: string): Promise<void> {
    const care = this.#care(id);
    this.#options.kept.setStopped(id, true);
    care.stopping ??= this.#stop(id, care).finally(() => (care.stopping = null));
    return care.stopping;
  }

  async #stop(id: string, care: Care): Promise<void> {
    care.isWanted = false;
    clearTimers(care);
    this.#goesDown(id, 'stopped', 'The operator stopped it.');
    care.failure = null;
    await this.#engine(id).stop();
    // An attempt that was under way ends with it, or undoes itself.
    await care.attempt?.catch(() => undefined);
  }

  async restart(id: string): Promise<void> {
    await this.stop(id);
    await this.start(id);
  }

  /** Brings an engine to where a model can be loaded. Rejects with an EngineError, at once where the operator stopped it. */
  async ensureReady(id: string): Promise<void> {
    const care = this.#care(id);
    if (!care.isWanted) throw new EngineError('stopped');
    if (care.health !== 'ready') return this.#bringUp(id);
    try {
      await this.#engine(id).ensureReady(this.#options.closing);
    } catch (error) {
      this.#down(id, EngineError.from(error, 'unreachable'));
      throw error;
    }
  }

  /** The engine did what it was asked. */
  served(id: string): void {
    this.#served.set(id, performance.now());
    const care = this.#care(id);
    if (care.isWanted && care.health !== 'ready' && care.attempt === null) this.#comesUp(id);
  }

  /** Work failed: silence and lost connections make the engine suspect, and it is made to prove itself. */
  troubled(id: string, modelId: string, error: unknown): void {
    if (!(error instanceof EngineError) || !reported.has(error.kind)) return;
    this.#options.log('warn', 'engine trouble', { engine: id, model: modelId, error: error.message });
    if (suspicious.has(error.kind)) this.#checkSoon(id);
    // Looked at anew: the next one is not sent into the same.
    else if (astray.has(error.kind)) this.#refresh(id, this.#engine(id)).catch(() => this.#checkSoon(id));
  }

  /** An engine went down by itself: its models with it. */
  lost(id: string, reason: string): void {
    const care = this.#care(id);
    if (!care.isWanted) this.#goesDown(id, 'stopped', reason);
    // The attempt that is under way fails of it, and counts it.
    else if (care.attempt) this.#goesDown(id, care.health, reason);
    else this.#down(id, new EngineError('unreachable', reason), reason);
  }

  /** Tries once to bring an engine up and to read what it offers. Concurrent calls join. */
  #bringUp(id: string): Promise<void> {
    const care = this.#care(id);
    if (care.retryTimer) clearTimeout(care.retryTimer);
    care.retryTimer = null;
    care.nextTryAt = null;
    care.attempt ??= this.#try(id, care).finally(() => (care.attempt = null));
    return care.attempt;
  }

  async #try(id: string, care: Care): Promise<void> {
    const { closing, log } = this.#options;
    const engine = this.#engine(id);
    // One that failed goes on being shown as failing, until it is up.
    if (care.failure === null) this.#goesDown(id, 'starting', null);
    try {
      await engine.ensureReady(closing);
      if (care.isWanted) await this.#refresh(id, engine);
    } catch (error) {
      if (care.isWanted) this.#down(id, EngineError.from(error, 'unreachable'));
      throw error;
    }
    if (!care.isWanted) {
      // It was stopped in the middle, by a way that this start did not notice.
      await engine.stop();
      throw new EngineError('stopped');
    }
    this.#comesUp(id);
    log('info', 'engine ready', { engine: id });
  }

  #comesUp(id: string): void {
    const care = this.#care(id);
    clearTimers(care);
    care.health = 'ready';
    care.failure = null;
    care.nextTryAt = null;
    care.since = performance.now();
    this.#options.book.engineChanged(id);
    this.#options.scheduler.pump();
  }

  /** An engine that is wanted does not work: its models are gone, and it is tried again after a while. */
  #down(id: string, error: EngineError, failure = error.message): void {
    const { closing, log } = this.#options;
    if (closing.aborted) return;
    const care = this.#care(id);
    // One death, told by several.
    if (care.retryTimer) return;
    const now = performance.now();
    const livedMs = care.health === 'ready' ? now - care.since : 0;
    const mayPass = error.retryable || error.kind === 'aborted';
    const { waitMs, isGivenUp } = mayPass ? care.backoff.died(now, livedMs) : care.backoff.refused();
    this.#goesDown(id, isGivenUp ? 'failed' : 'failing', failure);
    care.failure = failure;
    care.nextTryAt = Date.now() + waitMs;
    log('warn', isGivenUp ? 'engine given up for now' : 'engine not ready', { engine: id, failure, waitMs });
    care.retryTimer = setTimeout(() => {
      // What comes of it is in the status.
      this.#bringUp(id).catch(() => undefined);
    }, waitMs).unref();
  }

  /** Takes its models out, and lets people wait for it only so long. */
  #goesDown(id: string, health: EngineHealth, reason: string | null): void {
    const { scheduler, book } = this.#options;
    const care = this.#care(id);
    if (care.health === 'ready' || (health === 'stopped' && care.health !== 'stopped')) {
      care.since = performance.now();
    }
    care.health = health;
    book.engineChanged(id);
    if (reason !== null) {
      scheduler.lost(
        this.#residentsOf(id).map(({ modelId }) => modelId),
        reason,
      );
    }
    this.#refuseWaiting(id);
    care.outageTimer ??= setTimeout(
      () => {
        care.outageTimer = null;
        this.#refuseWaiting(id);
      },
      Math.max(0, care.since + timing.outageMs - performance.now()) + 1,
    ).unref();
    scheduler.pump();
  }

  /** Ends the waiting of people, where they are to be told to come back. Jobs go on waiting. */
  #refuseWaiting(id: string): void {
    const { scheduler } = this.#options;
    const refusal = this.refusalOf(id);
    if (refusal === null) return;
    for (const work of scheduler.state.queue.all()) {
      const isOurs = scheduler.state.models.get(work.modelId)?.engineId === id;
      if (isOurs && work.lane === 'interactive') scheduler.cancel(work.id, refusal);
    }
  }

  #checkSoon(id: string): void {
    this.#check(id).catch((error: unknown) =>
      this.#options.log('error', 'an engine could not be checked', { engine: id, error: String(error) }),
    );
  }

  /** A real generation on a loaded model; an engine that fails it is stopped and started anew. */
  async #check(id: string): Promise<void> {
    const { book, closing } = this.#options;
    const resident = this.#residentsOf(id).find(({ phase }) => phase === 'ready' || phase === 'draining');
    const model = resident && book.get(resident.modelId);
    if (!model || this.#checking.has(id) || closing.aborted) return;
    this.#checking.add(id);
    try {
      const engine = this.#engine(id);
      await engine.health(model.key, AbortSignal.any([closing, AbortSignal.timeout(timing.healthMs)]));
      this.served(id);
    } catch (error) {
      await this.#revive(id, EngineError.from(error, 'silent'));
    } finally {
      this.#checking.delete(id);
    }
  }

  /** Ends an engine that only seems alive; it is started anew by itself. */
  async #revive(id: string, error: EngineError): Promise<void> {
    const { closing, log } = this.#options;
    if (closing.aborted || !this.#care(id).isWanted) return;
    log('error', 'engine failed its health check', { engine: id, failure: error.message });
    this.#down(id, error);
    await this.#engine(id)
      .stop()
      .catch((failed: unknown) =>
        log('error', 'an engine could not be stopped', { engine: id, error: String(failed) }),
      );
  }

  /** Once a minute: what the engines offer may have changed, and a silent one may be dead. */
  async #tend(): Promise<void> {
    for (const [id, engine] of this.#options.engines) {
      if (this.#care(id).health !== 'ready') continue;
      try {
        await this.#refresh(id, engine);
      } catch (error) {
        // With a model loaded it may prove itself; with none there is nothing it could do better than answer.
        if (this.#residentsOf(id).length > 0) await this.#check(id);
        else await this.#revive(id, EngineError.from(error, 'unreachable'));
        continue;
      }
      const quiet = performance.now() - (this.#served.get(id) ?? 0) >= timing.quietMs;
      if (quiet) await this.#tryOut(id);
    }
  }

  /** Pictures take too long to be made for nothing; a web UI is checked by what people ask of it. */
  async #tryOut(id: string): Promise<void> {
    const residents = this.#residentsOf(id);
    const idle = residents.find(({ phase, running }) => phase === 'ready' && running === 0);
    const model = idle && this.#options.book.get(idle.modelId);
    if (!model || model.modality === 'image' || residents.some(({ running }) => running > 0)) return;
    const signal = AbortSignal.any([this.#options.closing, AbortSignal.timeout(timing.healthMs)]);
    await this.#options.tryThroughQueue(model.id, signal).catch(() => this.#check(id));
  }

  /** Reads what an engine offers and holds: others may load and unload in it as well. */
  async #refresh(id: string, engine: Engine): Promise<void> {
    const { book, scheduler, closing } = this.#options;
    const signal = AbortSignal.any([closing, AbortSignal.timeout(timing.listMs)]);
    book.offered(engine, await engine.models(signal));
    this.#tellLeftOut(id, engine);
    const before = this.#phasesOf(id);
    const loaded = await engine.loaded(signal);
    // An answer from before a load or unload says nothing of what is held after it; the next look is in a minute.
    if (this.#phasesOf(id) !== before) return;
    const held = new Set<string>();
    for (const { key, slots } of loaded) {
      const model = book.find(id, key);
      if (!model) continue;
      held.add(model.id);
      book.setSlots(model, slots);
      scheduler.state.adopt(model.id, performance.now());
    }
    const vanished = this.#residentsOf(id).filter(
      ({ modelId, phase, running }) => phase === 'ready' && running === 0 && !held.has(modelId),
    );
    scheduler.lost(
      vanished.map(({ modelId }) => modelId),
      'unloaded by somebody else',
    );
    scheduler.pump();
  }

  /** Which residencies an engine has, and how far each is: two equal answers mean that nothing changed between. */
  #phasesOf(id: string): string {
    return this.#residentsOf(id)
      .map(({ instance, phase }) => `${instance} ${phase}`)
      .join();
  }

  /** Says of each file once why it is not offered. */
  #tellLeftOut(id: string, engine: Engine): void {
    const before = new Set((this.#leftOut.get(id) ?? []).map(({ file, reason }) => `${file}\n${reason}`));
    const leftOut = engine.leftOut?.() ?? [];
    for (const { file, reason } of leftOut) {
      if (before.has(`${file}\n${reason}`)) continue;
      this.#options.log('warn', 'file left out of the models', { engine: id, file, reason });
    }
    this.#leftOut.set(id, leftOut);
  }

  /** The files that look like models and are not offered, with why. */
  leftOut(): { readonly engineId: string; readonly file: string; readonly reason: string }[] {
    return [...this.#leftOut].flatMap(([engineId, files]) => files.map((one) => ({ engineId, ...one })));
  }

  #residentsOf(id: string): Resident[] {
    const { state } = this.#options.scheduler;
    return [...state.residents.values()].filter(({ modelId }) => state.models.get(modelId)?.engineId === id);
  }

  #care(id: string): Care {
    const care = this.#cares.get(id);
    if (!care) throw new EngineError('unreachable', `There is no engine "${id}".`);
    return care;
  }

  #engine(id: string): Engine {
    const engine = this.#options.engines.get(id);
    if (!engine) throw new EngineError('unreachable', `There is no engine "${id}".`);
    return engine;
  }
}

function clearTimers(care: Care): void {
  if (care.retryTimer) clearTimeout(care.retryTimer);
  if (care.outageTimer) clearTimeout(care.outageTimer);
  care.retryTimer = null;
  care.outageTimer = null;
}
