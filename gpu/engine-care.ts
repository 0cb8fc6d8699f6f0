import { setTimeout as delay } from 'node:timers/promises';
import { EngineError, type EngineErrorKind } from './engines/engine-error.ts';
import type { Engine, EngineDescription, LogLine } from './engines/engine.ts';
import type { GpuLog } from './gpu-log.ts';
import type { ModelBook } from './model-book.ts';
import type { Scheduler } from './vram/scheduler.ts';
import type { Resident } from './vram/state.ts';

export type EngineHealth = 'unknown' | 'starting' | 'ready' | 'failing' | 'stopped';

export interface EngineStatus extends EngineDescription {
  readonly health: EngineHealth;
  readonly failure: string | null;
}

const timing = { refreshMs: 60_000, quietMs: 60_000, healthMs: 20_000, listMs: 30_000 } as const;
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
  readonly closing: AbortSignal;
  readonly log: GpuLog;
  /** Does a tiny piece of work on a model through the queue, like anybody's: that tests the scheduler as well. */
  readonly tryThroughQueue: (modelId: string, signal: AbortSignal) => Promise<void>;
}

/** Sees to it that engines are up, that what they hold is known, and that one that only seems alive is found out. */
export class EngineCare {
  readonly #options: EngineCareOptions;
  readonly #health = new Map<string, { state: EngineHealth; failure: string | null }>();
  readonly #tries = new Map<string, Promise<void>>();
  readonly #served = new Map<string, number>();
  readonly #checking = new Set<string>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: EngineCareOptions) {
    this.#options = options;
    for (const [id, engine] of options.engines) {
      this.#health.set(id, { state: 'unknown', failure: null });
      engine.onLost((reason) => this.lost(id, reason));
    }
  }

  /** Brings every engine up in the background, and looks after them from then on. */
  begin(): void {
    for (const id of this.#options.engines.keys()) this.start(id).catch(() => undefined);
    this.#timer = setInterval(() => void this.#tend(), timing.refreshMs).unref();
  }

  end(): void {
    if (this.#timer) clearInterval(this.#timer);
  }

  /** Resolves when no engine is being brought up any more, or after so many milliseconds. */
  async settled(mostMs: number): Promise<void> {
    if (![...this.#health.values()].some(({ state }) => state === 'starting')) return;
    const tried = Promise.allSettled(this.#tries.values());
    await Promise.race([tried, delay(mostMs, undefined, { ref: false })]);
  }

  has(id: string): boolean {
    return this.#options.engines.has(id);
  }

  statuses(): EngineStatus[] {
    return [...this.#options.engines].map(([id, engine]) => {
      const { state, failure } = this.#health.get(id) ?? { state: 'unknown' as const, failure: null };
      return { ...engine.describe(), health: state, failure };
    });
  }

  /** Reads anew what an engine offers, where it is up. */
  async refresh(id: string): Promise<void> {
    if (this.#health.get(id)?.state !== 'ready') return;
    const engine = this.#engine(id);
    await engine.rescan?.(this.#options.closing);
    await this.#refresh(id, engine);
  }

  /** Something ended late, so what the engine holds may not be what is counted: it is asked, where it is up. */
  recount(id: string): void {
    if (this.#health.get(id)?.state !== 'ready') return;
    this.#refresh(id, this.#engine(id)).catch(() => this.#check(id));
  }

  logs(id: string): readonly LogLine[] {
    return this.#engine(id).logs();
  }

  /** Brings an engine up and reads what it offers. Concurrent calls join. */
  start(id: string): Promise<void> {
    const running = this.#tries.get(id);
    if (running && this.#health.get(id)?.state === 'starting') return running;
    const attempt = this.#bringUp(id, this.#engine(id));
    attempt.catch(() => undefined);
    this.#tries.set(id, attempt);
    return attempt;
  }

  async stop(id: string): Promise<void> {
    this.lost(id, 'stopped by the operator');
    await this.#engine(id).stop();
    this.#health.set(id, { state: 'stopped', failure: null });
  }

  async restart(id: string): Promise<void> {
    await this.stop(id);
    await this.start(id);
  }

  /** The engine did what it was asked. */
  served(id: string): void {
    this.#served.set(id, performance.now());
    if (this.#health.get(id)?.state !== 'ready') this.#health.set(id, { state: 'ready', failure: null });
  }

  /** Work failed: silence and lost connections make the engine suspect, and it is made to prove itself. */
  troubled(id: string, modelId: string, error: unknown): void {
    if (!(error instanceof EngineError) || !reported.has(error.kind)) return;
    this.#options.log('warn', 'engine trouble', { engine: id, model: modelId, error: error.message });
    if (suspicious.has(error.kind)) void this.#check(id);
    // Looked at anew: the next one is not sent into the same.
    else if (astray.has(error.kind)) void this.#refresh(id, this.#engine(id)).catch(() => this.#check(id));
  }

  /** An engine went down: its models with it. */
  lost(id: string, reason: string): void {
    this.#health.set(id, { state: 'failing', failure: reason });
    const modelIds = this.#residentsOf(id).map(({ modelId }) => modelId);
    this.#options.scheduler.lost(modelIds, reason);
  }

  async #bringUp(id: string, engine: Engine): Promise<void> {
    const { closing, log } = this.#options;
    this.#health.set(id, { state: 'starting', failure: null });
    try {
      await engine.ensureReady(closing);
      await this.#refresh(id, engine);
      this.#health.set(id, { state: 'ready', failure: null });
      log('info', 'engine ready', { engine: id });
    } catch (error) {
      const failure = EngineError.from(error, 'unreachable').message;
      this.#health.set(id, { state: 'failing', failure });
      if (!closing.aborted) log('warn', 'engine not ready', { engine: id, failure });
      throw error;
    }
  }

  /** A real generation on a loaded model; an engine that fails it is stopped and started anew. */
  async #check(id: string): Promise<void> {
    const { book, closing, log } = this.#options;
    const resident = this.#residentsOf(id).find(({ phase }) => phase === 'ready' || phase === 'draining');
    const model = resident && book.get(resident.modelId);
    if (!model || this.#checking.has(id) || closing.aborted) return;
    this.#checking.add(id);
    try {
      const engine = this.#engine(id);
      await engine.health(model.key, AbortSignal.any([closing, AbortSignal.timeout(timing.healthMs)]));
      this.served(id);
    } catch (error) {
      if (closing.aborted) return;
      const failure = EngineError.from(error, 'silent').message;
      log('error', 'engine failed its health check', { engine: id, failure });
      this.lost(id, failure);
      await this.#engine(id).stop();
      await this.start(id).catch(() => undefined);
    } finally {
      this.#checking.delete(id);
    }
  }

  /** Once a minute: what the engines offer may have changed, and a silent one may be dead. */
  async #tend(): Promise<void> {
    for (const [id, engine] of this.#options.engines) {
      const health = this.#health.get(id)?.state;
      if (health === 'stopped' || health === 'starting') continue;
      if (health === 'failing') {
        await this.start(id).catch(() => undefined);
        continue;
      }
      await this.#refresh(id, engine).catch(() => this.#check(id));
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

  #residentsOf(id: string): Resident[] {
    const { state } = this.#options.scheduler;
    return [...state.residents.values()].filter(({ modelId }) => state.models.get(modelId)?.engineId === id);
  }

  #engine(id: string): Engine {
    const engine = this.#options.engines.get(id);
    if (!engine) throw new EngineError('unreachable', `There is no engine "${id}".`);
    return engine;
  }
}
