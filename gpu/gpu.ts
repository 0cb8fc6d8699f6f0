import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Catalog, type CatalogModel } from './catalog.ts';
import { EngineError } from './engines/engine-error.ts';
import type {
  Answer,
  EmbedRequest,
  Engine,
  EngineDescription,
  ImageEvent,
  ImageRequest,
  LogLine,
  TextEvent,
  TextRequest,
} from './engines/engine.ts';
import type { Measurements } from './measurements.ts';
import type { GpuProbe } from './probes/gpu-probe.ts';
import { type Sample, Telemetry } from './telemetry/telemetry.ts';
import { type BudgetLimits, budgetBytes, capacityBytes, othersBytes } from './vram/budget.ts';
import type { Standing } from './vram/explain.ts';
import type { Policy } from './vram/policy.ts';
import { type Departure, type QueueLimits, Scheduler } from './vram/scheduler.ts';
import { SpillWatch } from './vram/spill.ts';
import type { Mode, Phase } from './vram/state.ts';
import type { Lane } from './vram/work.ts';

/** Who wants work done, as far as the GPU is concerned. */
export interface Caller {
  readonly tenant: string;
  readonly weight: number;
  readonly concurrency: number;
  readonly lane: Lane;
}

/** What a piece of work took; filled in as it goes. */
export interface Timings {
  queuedMs: number;
  swapMs: number;
  runMs: number;
  gpuMs: number;
  granted: boolean;
}

/** Work that was asked for: its events, and its place in the queue until it starts. */
export interface Run<Event> {
  readonly id: string;
  readonly events: AsyncIterable<Event>;
  readonly timings: Readonly<Timings>;
  standing(): Standing | undefined;
}

/** Work with one result. */
export interface Task<Result> {
  readonly id: string;
  readonly result: Promise<Result>;
  readonly timings: Readonly<Timings>;
  standing(): Standing | undefined;
}

/** The model cannot be served on this machine, whatever one waits for. */
export class InfeasibleError extends Error {
  override readonly name = 'InfeasibleError';
}

export interface ModelStatus extends CatalogModel {
  readonly phase: Phase | 'absent';
  readonly vramBytes: number;
  readonly measured: boolean;
  readonly running: number;
  readonly waiting: number;
  readonly slots: number;
  readonly loadMs: number;
  readonly pinned: boolean;
  readonly spilled: boolean;
}

export type EngineHealth = 'unknown' | 'starting' | 'ready' | 'failing' | 'stopped';

export interface EngineStatus extends EngineDescription {
  readonly health: EngineHealth;
  readonly failure: string | null;
}

export interface GpuStatus {
  readonly mode: Mode;
  readonly totalBytes: number;
  readonly budgetBytes: number;
  readonly capacityBytes: number;
  readonly reservedBytes: number;
  readonly othersBytes: number;
  /** True where there is no card to read and the operator's figure is believed. */
  readonly declared: boolean;
  readonly readable: boolean;
  readonly dirty: boolean;
}

export interface GpuOptions {
  readonly engines: readonly Engine[];
  readonly probe: GpuProbe;
  /** The memory to plan with where no card can be read. */
  readonly declaredBytes: number;
  readonly budget: BudgetLimits;
  readonly policy: () => Policy;
  readonly queue: () => QueueLimits;
  readonly measurements: Measurements;
  readonly pinned: ReadonlySet<string>;
  readonly log: (level: 'info' | 'warn' | 'error', message: string, about: object) => void;
}

/** A lease on a loaded model, as work sees it. */
interface Leased {
  readonly engine: Engine;
  readonly modelKey: string;
  succeeded(): void;
  failed(error: unknown): void;
  end(): void;
}

/** First guesses, until something was measured. */
const guesses = { loadMs: 8_000, unloadMs: 1_500, textUnitMs: 6_000, imageUnitMs: 8_000 } as const;
const timing = {
  measureEveryMs: 100,
  releaseMs: 15_000,
  releasePollMs: 250,
  releasedShare: 0.75,
  refreshMs: 60_000,
  healthEveryMs: 60_000,
  healthMs: 20_000,
  recoveryMs: 30_000,
} as const;

/**
 * The GPU as the rest of the appliance sees it: models by name, work with a caller, and nothing of processes,
 * memory or order. It stands behind this one class so that it could as well be on another machine.
 */
export class Gpu {
  readonly #options: GpuOptions;
  readonly #engines: ReadonlyMap<string, Engine>;
  readonly #catalog = new Catalog();
  readonly #telemetry: Telemetry;
  readonly #health = new Map<string, { state: EngineHealth; failure: string | null }>();
  readonly #pinned: Set<string>;
  readonly #spills = new Map<string, SpillWatch>();
  readonly #spilled = new Set<string>();
  readonly #served = new Map<string, number>();
  readonly #measuredAt = new Map<string, number>();
  readonly #checking = new Set<string>();
  readonly #closing = new AbortController();
  readonly scheduler: Scheduler;
  #totalBytes: number;
  #othersBytes = 0;
  #dirty = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: GpuOptions) {
    this.#options = options;
    this.#engines = new Map(options.engines.map((engine) => [engine.describe().id, engine]));
    this.#telemetry = new Telemetry(options.probe);
    this.#pinned = new Set(options.pinned);
    this.#totalBytes = options.declaredBytes;
    this.scheduler = new Scheduler({
      policy: options.policy,
      limits: options.queue,
      effects: {
        load: (modelId) => this.#load(modelId),
        unload: (modelId, after) => this.#unload(modelId, after),
        prewarm: (modelId) => this.#prewarm(modelId),
      },
    });
    this.#telemetry.onSample((sample) => this.#budget(sample));
    // What others use is only known for sure between changes, so the first moment after one is looked at.
    this.scheduler.onDecision(({ type }) => {
      if (type === 'loaded' || type === 'released') void this.#telemetry.sample();
    });
    for (const [id, engine] of this.#engines) {
      this.#health.set(id, { state: 'unknown', failure: null });
      engine.onLost((reason) => this.#lost(id, reason));
    }
  }

  /** Reads the card, then brings the engines up in the background. */
  async start(): Promise<void> {
    await this.#telemetry.sample();
    this.#telemetry.start();
    for (const id of this.#engines.keys()) void this.startEngine(id).catch(() => undefined);
    this.#timer = setInterval(() => void this.#tend(), timing.refreshMs).unref();
  }

  /** Resolves when every engine was tried once, for tests and for the first run. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#tries.values());
  }

  readonly #tries = new Map<string, Promise<void>>();

  /** Brings an engine up and reads what it offers. Concurrent calls join. */
  startEngine(id: string): Promise<void> {
    const engine = this.#engine(id);
    const running = this.#tries.get(id);
    if (running && this.#health.get(id)?.state === 'starting') return running;
    const attempt = this.#bringUp(id, engine);
    attempt.catch(() => undefined);
    this.#tries.set(id, attempt);
    return attempt;
  }

  async #bringUp(id: string, engine: Engine): Promise<void> {
    this.#health.set(id, { state: 'starting', failure: null });
    try {
      await engine.ensureReady(this.#closing.signal);
      await this.#refresh(id, engine);
      this.#health.set(id, { state: 'ready', failure: null });
      this.#options.log('info', 'engine ready', { engine: id });
    } catch (error) {
      const failure = EngineError.from(error, 'unreachable').message;
      this.#health.set(id, { state: 'failing', failure });
      if (!this.#closing.signal.aborted)
        this.#options.log('warn', 'engine not ready', { engine: id, failure });
      throw error;
    }
  }

  async stopEngine(id: string): Promise<void> {
    const engine = this.#engine(id);
    this.#lost(id, 'stopped by the operator');
    await engine.stop();
    this.#health.set(id, { state: 'stopped', failure: null });
  }

  async restartEngine(id: string): Promise<void> {
    await this.stopEngine(id);
    await this.startEngine(id);
  }

  models(): ModelStatus[] {
    return this.#catalog.all().map((model) => this.#status(model));
  }

  model(id: string): CatalogModel | undefined {
    return this.#catalog.get(id);
  }

  /** The first model of a kind: what is asked for when nothing is named. */
  defaultModel(kind: 'text' | 'image' | 'embedding'): CatalogModel | undefined {
    const fits = this.#catalog
      .all()
      .filter((model) => (kind === 'embedding' ? model.embeds : model.modality === kind))
      .filter((model) => this.#feasible(model.id) === null);
    const loaded = fits.find((model) => this.scheduler.state.residents.has(model.id));
    // An embedding model proper goes before a text model that also embeds.
    return loaded ?? fits.find((model) => model.modality === kind) ?? fits[0];
  }

  engines(): EngineStatus[] {
    return [...this.#engines].map(([id, engine]) => {
      const { state, failure } = this.#health.get(id) ?? { state: 'unknown' as const, failure: null };
      return { ...engine.describe(), health: state, failure };
    });
  }

  logs(engineId: string): readonly LogLine[] {
    return this.#engine(engineId).logs();
  }

  hasEngine(id: string): boolean {
    return this.#engines.has(id);
  }

  status(): GpuStatus {
    const { state } = this.scheduler;
    const sample = this.#telemetry.latest();
    return {
      mode: state.mode,
      totalBytes: this.#totalBytes,
      budgetBytes: state.budgetBytes,
      capacityBytes: state.capacityBytes,
      reservedBytes: state.reservedBytes,
      othersBytes: this.#othersBytes,
      declared: !sample?.card,
      readable: sample?.readable ?? true,
      dirty: this.#dirty,
    };
  }

  get telemetry(): Telemetry {
    return this.#telemetry;
  }

  pin(modelId: string, pinned: boolean): void {
    if (pinned) this.#pinned.add(modelId);
    else this.#pinned.delete(modelId);
    this.#facts();
    this.scheduler.pump();
  }

  stream(
    modelId: string,
    request: Omit<TextRequest, 'modelKey'>,
    caller: Caller,
    signal: AbortSignal,
  ): Run<TextEvent> {
    return this.#run(modelId, caller, 1, signal, (engine, modelKey) =>
      engine.stream({ ...request, modelKey }, { signal }),
    );
  }

  complete(
    modelId: string,
    request: Omit<TextRequest, 'modelKey'>,
    caller: Caller,
    signal: AbortSignal,
  ): Task<Answer> {
    return this.#task(modelId, caller, 1, signal, (engine, modelKey) =>
      engine.complete({ ...request, modelKey }, { signal }),
    );
  }

  embed(
    modelId: string,
    request: Omit<EmbedRequest, 'modelKey'>,
    caller: Caller,
    signal: AbortSignal,
  ): Task<Answer> {
    return this.#task(modelId, caller, 0.1, signal, (engine, modelKey) =>
      engine.embed({ ...request, modelKey }, { signal }),
    );
  }

  image(
    modelId: string,
    request: Omit<ImageRequest, 'modelKey'>,
    caller: Caller,
    signal: AbortSignal,
  ): Run<ImageEvent> {
    const { width, height, steps, source } = request;
    const units = ((width * height) / 512 ** 2) * (Math.max(1, steps * (source ? source.strength : 1)) / 20);
    return this.#run(modelId, caller, units, signal, (engine, modelKey) =>
      engine.image({ ...request, modelKey }, { signal }),
    );
  }

  /** Ends all work and every engine that is ours. */
  async close(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    this.#closing.abort(new EngineError('aborted', 'The appliance is shutting down.'));
    this.scheduler.close();
    this.#telemetry.close();
    this.#options.measurements.flush();
    await Promise.allSettled([...this.#engines.values()].map((engine) => engine.stop()));
  }

  /** Work whose events pass on as they come. */
  #run<Event>(
    modelId: string,
    caller: Caller,
    units: number,
    signal: AbortSignal,
    work: (engine: Engine, modelKey: string) => AsyncIterable<Event>,
  ): Run<Event> {
    const id = randomUUID();
    const timings = newTimings();
    const lease = (): Promise<Leased> => this.#lease(id, modelId, caller, units, signal, timings);
    async function* events(): AsyncGenerator<Event, void, void> {
      const leased = await lease();
      try {
        yield* work(leased.engine, leased.modelKey);
        leased.succeeded();
      } catch (error) {
        leased.failed(error);
        throw error;
      } finally {
        leased.end();
      }
    }
    return { id, events: events(), timings, standing: () => this.scheduler.standing(id) };
  }

  /** Work with one result. */
  #task<Result>(
    modelId: string,
    caller: Caller,
    units: number,
    signal: AbortSignal,
    work: (engine: Engine, modelKey: string) => Promise<Result>,
  ): Task<Result> {
    const id = randomUUID();
    const timings = newTimings();
    const result = async (): Promise<Result> => {
      const leased = await this.#lease(id, modelId, caller, units, signal, timings);
      try {
        const found = await work(leased.engine, leased.modelKey);
        leased.succeeded();
        return found;
      } catch (error) {
        leased.failed(error);
        throw error;
      } finally {
        leased.end();
      }
    };
    return { id, result: result(), timings, standing: () => this.scheduler.standing(id) };
  }

  /** Waits for a lease. Whoever gets it must say how it went, and end it. */
  async #lease(
    id: string,
    modelId: string,
    caller: Caller,
    units: number,
    signal: AbortSignal,
    timings: Timings,
  ): Promise<Leased> {
    const model = this.#catalog.get(modelId);
    if (!model) throw new EngineError('model_missing', modelId);
    const obstacle = this.#feasible(modelId);
    if (obstacle !== null) throw new InfeasibleError(obstacle);
    const { slots } = this.scheduler.state.model(modelId);
    const costMs = (this.#unitMs(model) * units) / slots;
    const grant = await this.scheduler.submit({ id, modelId, costMs, ...caller }, signal);
    timings.queuedMs = grant.queuedMs;
    timings.swapMs = grant.swapMs;
    timings.granted = true;
    const began = performance.now();
    return {
      engine: this.#engine(model.engineId),
      modelKey: model.key,
      succeeded: () => this.#succeeded(model, (performance.now() - began) / Math.max(units, 0.01)),
      failed: (error) => this.#troubled(model, error),
      end: () => {
        timings.runMs = performance.now() - began;
        timings.gpuMs = grant.end();
      },
    };
  }

  #succeeded(model: CatalogModel, unitMs: number): void {
    const now = performance.now();
    this.#served.set(model.engineId, now);
    // One measurement in a while is enough: under load there are thousands a second.
    if (now - (this.#measuredAt.get(model.id) ?? Number.NEGATIVE_INFINITY) < timing.measureEveryMs) return;
    this.#measuredAt.set(model.id, now);
    const key = this.#measureKey(model);
    this.#options.measurements.duration(key, 'unitMs', unitMs);
    const card = this.#telemetry.latest()?.card;
    let watch = this.#spills.get(model.id);
    if (!watch) this.#spills.set(model.id, (watch = new SpillWatch()));
    if (card && watch.observe(unitMs, card.usedBytes / card.totalBytes) && !this.#spilled.has(model.id)) {
      this.#spilled.add(model.id);
      const advice =
        'Work became several times slower with video memory full: Windows is probably using system memory instead. ' +
        'In the NVIDIA Control Panel set "CUDA - Sysmem Fallback Policy" to "Prefer No Sysmem Fallback", or use a smaller model.';
      this.#options.log('warn', 'model spilled', { model: model.id, advice });
    }
    this.#updateFacts(model);
  }

  /** Silence and lost connections make the engine suspect: it is asked to generate, and restarted if it cannot. */
  #troubled(model: CatalogModel, error: unknown): void {
    if (!(error instanceof EngineError)) return;
    if (!['silent', 'unreachable', 'broken_stream', 'out_of_memory'].includes(error.kind)) return;
    this.#options.log('warn', 'engine trouble', {
      engine: model.engineId,
      model: model.id,
      error: error.message,
    });
    void this.#check(model.engineId);
  }

  /** A real generation on a loaded model; an engine that fails it is stopped and started anew. */
  async #check(engineId: string): Promise<void> {
    if (this.#checking.has(engineId) || this.#closing.signal.aborted) return;
    this.#checking.add(engineId);
    try {
      const engine = this.#engine(engineId);
      const resident = this.#residentsOf(engineId).find(
        ({ phase }) => phase === 'ready' || phase === 'draining',
      );
      if (!resident) return;
      const key = this.#catalog.get(resident.modelId)?.key ?? '';
      try {
        await engine.health(
          key,
          AbortSignal.any([this.#closing.signal, AbortSignal.timeout(timing.healthMs)]),
        );
        this.#served.set(engineId, performance.now());
        this.#health.set(engineId, { state: 'ready', failure: null });
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        const failure = EngineError.from(error, 'silent').message;
        this.#options.log('error', 'engine failed its health check', { engine: engineId, failure });
        this.#lost(engineId, failure);
        await engine.stop();
        this.#health.set(engineId, { state: 'failing', failure });
        await this.startEngine(engineId).catch(() => undefined);
      }
    } finally {
      this.#checking.delete(engineId);
    }
  }

  /** Once a minute: what the engines offer may have changed, and a silent one may be dead. */
  async #tend(): Promise<void> {
    for (const [id, engine] of this.#engines) {
      const health = this.#health.get(id)?.state;
      if (health === 'stopped' || health === 'starting') continue;
      if (health === 'failing') {
        await this.startEngine(id).catch(() => undefined);
        continue;
      }
      await this.#refresh(id, engine).catch(() => this.#check(id));
      const quiet = performance.now() - (this.#served.get(id) ?? 0) >= timing.healthEveryMs;
      const busy = this.#residentsOf(id).some(({ running }) => running > 0);
      if (quiet && !busy) await this.#probeThroughQueue(id);
    }
  }

  /** The health check goes through the queue like everybody's work: it tests the scheduler as well. */
  async #probeThroughQueue(engineId: string): Promise<void> {
    const resident = this.#residentsOf(engineId).find(({ phase }) => phase === 'ready');
    const model = resident && this.#catalog.get(resident.modelId);
    if (!model || model.modality === 'image') return;
    const house: Caller = { tenant: '(house)', weight: 1, concurrency: 1, lane: 'batch' };
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(timing.recoveryMs)]);
    const probed = this.#task(model.id, house, 0.1, signal, (engine, key) => engine.health(key, signal));
    try {
      await probed.result;
    } catch {
      await this.#check(engineId);
    }
  }

  #lost(engineId: string, reason: string): void {
    this.#health.set(engineId, { state: 'failing', failure: reason });
    this.scheduler.lost(
      this.#residentsOf(engineId).map(({ modelId }) => modelId),
      reason,
    );
  }

  async #refresh(id: string, engine: Engine): Promise<void> {
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(timing.recoveryMs)]);
    this.#catalog.update(engine, await engine.models(signal));
    this.#facts();
    for (const { key, slots } of await engine.loaded(signal)) {
      const model = this.#catalog.find(id, key);
      if (!model) continue;
      if (slots !== null) this.#slots.set(model.id, slots);
      this.#updateFacts(model);
      this.scheduler.state.adopt(model.id, performance.now());
    }
    this.scheduler.pump();
  }

  readonly #slots = new Map<string, number>();

  /** Brings the scheduler's facts up to date; what is gone from every engine is forgotten once nobody uses it. */
  #facts(): void {
    const { state } = this.scheduler;
    for (const model of this.#catalog.all()) this.#updateFacts(model);
    for (const id of state.models.keys()) {
      const used = state.residents.has(id) || state.queue.count(id) > 0;
      if (!this.#catalog.get(id) && !used) state.models.delete(id);
    }
  }

  #updateFacts(model: CatalogModel): void {
    const engine = this.#engine(model.engineId);
    const { profile, exclusive } = engine.describe();
    const measured = this.#options.measurements.of(this.#measureKey(model));
    const slots = this.#slots.get(model.id) ?? profile.slots;
    this.scheduler.state.models.set(model.id, {
      id: model.id,
      engineId: model.engineId,
      vramBytes: Math.round(measured.vramBytes ?? engine.estimate(model)),
      slots: this.#spilled.has(model.id) ? Math.max(1, Math.floor(slots / 2)) : slots,
      loadMs: measured.loadMs ?? guesses.loadMs,
      unloadMs: measured.unloadMs ?? guesses.unloadMs,
      runMs: this.#unitMs(model),
      pinned: this.#pinned.has(model.id),
      exclusive,
    });
  }

  #unitMs(model: CatalogModel): number {
    const { unitMs } = this.#options.measurements.of(this.#measureKey(model));
    return unitMs ?? (model.modality === 'image' ? guesses.imageUnitMs : guesses.textUnitMs);
  }

  #measureKey(model: CatalogModel): string {
    const { profile } = this.#engine(model.engineId).describe();
    return `${model.engineId}/${model.key}@${profile.name}`;
  }

  /** Why a model can never be served as things are; null when it can. */
  #feasible(modelId: string): string | null {
    const { state } = this.scheduler;
    const { vramBytes } = state.model(modelId);
    if (state.residents.has(modelId)) return null;
    if (vramBytes > state.capacityBytes) {
      return `"${modelId}" needs ${gib(vramBytes)} of video memory; this machine can give ${gib(state.capacityBytes)}.`;
    }
    let pinnedBytes = 0;
    for (const id of this.#pinned) {
      if (id !== modelId) pinnedBytes += state.models.get(id)?.vramBytes ?? 0;
    }
    if (vramBytes + pinnedBytes > state.capacityBytes) {
      return `"${modelId}" does not fit beside the models the operator has pinned.`;
    }
    return null;
  }

  #status(model: CatalogModel): ModelStatus {
    const { state } = this.scheduler;
    const facts = state.model(model.id);
    const resident = state.residents.get(model.id);
    return {
      ...model,
      phase: resident?.phase ?? 'absent',
      vramBytes: resident?.bytes ?? facts.vramBytes,
      measured: this.#options.measurements.of(this.#measureKey(model)).vramBytes !== null,
      running: resident?.running ?? 0,
      waiting: state.queue.count(model.id),
      slots: facts.slots,
      loadMs: facts.loadMs,
      pinned: facts.pinned,
      spilled: this.#spilled.has(model.id),
    };
  }

  #residentsOf(engineId: string): { modelId: string; phase: Phase; running: number }[] {
    const { state } = this.scheduler;
    return [...state.residents.values()].filter(
      ({ modelId }) => state.models.get(modelId)?.engineId === engineId,
    );
  }

  #engine(id: string): Engine {
    const engine = this.#engines.get(id);
    if (!engine) throw new EngineError('unreachable', `There is no engine "${id}".`);
    return engine;
  }

  #budget(sample: Sample): void {
    const { state } = this.scheduler;
    const { budget } = this.#options;
    if (sample.card) {
      this.#totalBytes = sample.card.totalBytes;
      const { usedBytes } = sample.card;
      this.#othersBytes = othersBytes(usedBytes, state.reservedBytes, !state.inTransition, this.#othersBytes);
    }
    this.scheduler.setBudget(
      budgetBytes(this.#totalBytes, this.#othersBytes, budget),
      capacityBytes(this.#totalBytes, budget),
      sample.readable,
    );
  }

  /** Loads a model and measures what it took. */
  async #load(modelId: string): Promise<{ vramBytes: number | null; slots: number | null }> {
    const model = this.#catalog.get(modelId);
    if (!model) throw new EngineError('model_missing', modelId);
    const engine = this.#engine(model.engineId);
    const stopWatching = this.#telemetry.watch();
    try {
      await engine.ensureReady(this.#closing.signal);
      const before = await this.#usedBytes();
      const began = performance.now();
      const { slots } = await engine.load(model.key, this.#closing.signal);
      const key = this.#measureKey(model);
      this.#options.measurements.duration(key, 'loadMs', performance.now() - began);
      if (slots !== null) this.#slots.set(modelId, slots);
      const after = await this.#usedBytes();
      const { workingBytes } = engine.describe().profile;
      const grown = before === null || after === null ? null : after - before;
      // Too little to be true: it was loaded already, or something else left at the same time.
      const believable = grown !== null && grown > engine.estimate(model) * 0.2;
      const vramBytes = believable ? this.#options.measurements.footprint(key, grown + workingBytes) : null;
      this.#health.set(model.engineId, { state: 'ready', failure: null });
      this.#updateFacts(model);
      return { vramBytes, slots };
    } finally {
      stopWatching();
    }
  }

  /** Unloads a model and waits until its memory was seen to come back (V2). */
  async #unload(modelId: string, after: Departure): Promise<{ released: boolean }> {
    const model = this.#catalog.get(modelId);
    const held = this.scheduler.state.residents.get(modelId)?.bytes ?? 0;
    const stopWatching = this.#telemetry.watch();
    try {
      const before = after === 'asked' ? await this.#usedBytes() : null;
      const began = performance.now();
      if (model && after !== 'lost') await this.#askToUnload(model);
      const working = model ? this.#engine(model.engineId).describe().profile.workingBytes : 0;
      const released = await this.#released(before, Math.max(0, held - working));
      if (model && released && after === 'asked') {
        this.#options.measurements.duration(this.#measureKey(model), 'unloadMs', performance.now() - began);
      }
      this.#dirty = !released;
      if (!released) this.#options.log('warn', 'video memory did not come back', { model: modelId });
      return { released };
    } finally {
      stopWatching();
    }
  }

  /** An engine that cannot unload is ended, if it is ours: that gives everything back. */
  async #askToUnload(model: CatalogModel): Promise<void> {
    const engine = this.#engine(model.engineId);
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(timing.recoveryMs)]);
    try {
      const held = (await engine.loaded(signal)).some(({ key }) => key === model.key);
      if (held) await engine.unload(model.key, signal);
    } catch (error) {
      const { message } = EngineError.from(error, 'bad_answer');
      this.#options.log('warn', 'unload failed; the engine is stopped', { model: model.id, error: message });
      await engine.stop();
    }
  }

  /**
   * Whether the memory came back: most of it, compared with before; or, where nobody looked before (a death, a failed
   * load), once it no longer falls.
   */
  async #released(before: number | null, bytes: number): Promise<boolean> {
    const sample = await this.#telemetry.sample();
    if (!sample.card) return true;
    const deadline = performance.now() + timing.releaseMs;
    let last: number | null = null;
    for (;;) {
      const used = await this.#usedBytes();
      if (used !== null) {
        if (before !== null && used <= before - bytes * timing.releasedShare) return true;
        if (before === null && last !== null && used >= last) return true;
        last = used;
      }
      if (performance.now() >= deadline || this.#closing.signal.aborted) return false;
      await delay(timing.releasePollMs);
    }
  }

  async #usedBytes(): Promise<number | null> {
    const { card, readable } = await this.#telemetry.sample();
    return readable ? (card?.usedBytes ?? null) : null;
  }

  #prewarm(modelId: string): void {
    const model = this.#catalog.get(modelId);
    if (!model) return;
    const engine = this.#engine(model.engineId);
    void engine.prewarm?.(model.key, this.#closing.signal).catch(() => undefined);
  }
}

function newTimings(): Timings {
  return { queuedMs: 0, swapMs: 0, runMs: 0, gpuMs: 0, granted: false };
}

function gib(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
}
