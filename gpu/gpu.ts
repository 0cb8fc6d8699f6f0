import { randomUUID } from 'node:crypto';
import type { CatalogModel } from './catalog.ts';
import { EngineCare, type EngineStatus } from './engine-care.ts';
import { EngineError } from './engines/engine-error.ts';
import type {
  Answer,
  EmbedRequest,
  Engine,
  ImageEvent,
  ImageRequest,
  TextEvent,
  TextRequest,
} from './engines/engine.ts';
import type { GpuLog } from './gpu-log.ts';
import type { KeptState } from './kept-state.ts';
import type { Measurements } from './measurements.ts';
import { ModelBook, type ModelStatus } from './model-book.ts';
import type { GpuProbe } from './probes/gpu-probe.ts';
import type { LogLine } from './supervisor/log-ring.ts';
import { Telemetry } from './telemetry/telemetry.ts';
import { VideoMemory } from './video-memory.ts';
import { type Fit, fitMatrix } from './vram/fit.ts';
import type { BudgetLimits } from './vram/budget.ts';
import type { Standing } from './vram/explain.ts';
import type { Policy } from './vram/policy.ts';
import type { QueueLimits } from './vram/bounds.ts';
import { loadRefusals, PausedError, Scheduler } from './vram/scheduler.ts';
import type { Mode } from './vram/state.ts';
import type { Lane } from './vram/work.ts';

/** Who wants work done, as far as the GPU is concerned. */
export interface Caller {
  readonly tenant: string;
  readonly weight: number;
  readonly concurrency: number;
  readonly lane: Lane;
  /** What it is for, for the operator to see. */
  readonly feature?: string;
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

export interface GpuStatus {
  readonly mode: Mode;
  readonly totalBytes: number;
  readonly budgetBytes: number;
  readonly capacityBytes: number;
  readonly reservedBytes: number;
  readonly othersBytes: number;
  /** What our engines hold beyond what is reserved for their models. */
  readonly excessBytes: number;
  /** True where there is no card to read and the operator's figure is believed. */
  readonly declared: boolean;
  readonly readable: boolean;
  readonly dirty: boolean;
}

export interface GpuOptions {
  readonly engines: readonly Engine[];
  readonly probe: GpuProbe;
  /** The appliance's own processes, to tell them from other programs on the card. */
  readonly ownPids: () => Promise<ReadonlySet<number>>;
  /** The memory to plan with where no card can be read. */
  readonly declaredBytes: number;
  readonly budget: () => BudgetLimits;
  /** The models for requests that name none, where the operator chose. */
  readonly defaults: () => { readonly text: string | null; readonly image: string | null };
  readonly policy: () => Policy;
  readonly queue: () => QueueLimits;
  readonly measurements: Measurements;
  /** The operator's decisions that outlive the appliance. */
  readonly kept: KeptState;
  readonly pinned: ReadonlySet<string>;
  readonly log: GpuLog;
}

/** A lease on a loaded model, as work sees it. */
interface Leased {
  readonly engine: Engine;
  readonly modelKey: string;
  /** Aborted when whoever asked gives the work up, or the operator stops what runs. */
  readonly signal: AbortSignal;
  succeeded(): void;
  /** Returns what to tell whoever wanted the work. */
  failed(error: unknown): unknown;
  end(): void;
}

/** The appliance's own work: it waits its turn behind everybody's. */
const house: Caller = {
  tenant: '(house)',
  weight: 1,
  concurrency: 1,
  lane: 'batch',
  feature: 'health check',
};
const spillAdvice =
  'Work became several times slower with video memory full: Windows is probably using system memory instead. ' +
  'In the NVIDIA Control Panel set "CUDA - Sysmem Fallback Policy" to "Prefer No Sysmem Fallback", or use a smaller model.';

/**
 * The GPU as the rest of the appliance sees it: models by name, work with a caller, and nothing of processes,
 * memory or order. It stands behind this one class so that it could as well be on another machine.
 */
export class Gpu {
  readonly scheduler: Scheduler;
  readonly telemetry: Telemetry;
  readonly #options: GpuOptions;
  readonly #engines: ReadonlyMap<string, Engine>;
  readonly #book: ModelBook;
  /** Ends each piece of work that runs now. */
  readonly #atWork = new Set<AbortController>();
  readonly #memory: VideoMemory;
  readonly #care: EngineCare;
  readonly #closing = new AbortController();

  constructor(options: GpuOptions) {
    const { measurements, kept, pinned, log } = options;
    const closing = this.#closing.signal;
    this.#options = options;
    this.#engines = new Map(options.engines.map((engine) => [engine.describe().id, engine]));
    this.telemetry = new Telemetry(options.probe, options.ownPids);
    this.scheduler = new Scheduler({
      policy: options.policy,
      limits: options.queue,
      effects: {
        load: (modelId, signal) => this.#memory.load(modelId, signal),
        unload: (modelId, after) => this.#memory.unload(modelId, after),
        prewarm: (modelId) => this.#memory.prewarm(modelId),
        recheck: (modelId) => this.#memory.recheck(modelId),
      },
    });
    const { scheduler, telemetry } = this;
    const book = new ModelBook({
      engines: this.#engines,
      state: scheduler.state,
      measurements,
      pinned,
      defaults: options.defaults,
      outageOf: (engineId) => this.#care.outageOf(engineId),
    });
    this.#book = book;
    this.#care = new EngineCare({
      engines: this.#engines,
      book,
      scheduler,
      kept,
      closing,
      log,
      tryThroughQueue: (modelId, signal) =>
        this.#task(modelId, house, 0.1, signal, (engine, key, stopped) => engine.health(key, stopped)).result,
    });
    this.#memory = new VideoMemory({
      book,
      scheduler,
      telemetry,
      limits: options.budget,
      declaredBytes: options.declaredBytes,
      closing,
      log,
      ensureReady: (engineId) => this.#care.ensureReady(engineId),
      onEngineEnded: (engineId, reason) => this.#care.lost(engineId, reason),
      onDoubt: (engineId) => this.#care.recount(engineId),
    });
  }

  /** Reads the card, then brings the engines up in the background. */
  async start(): Promise<void> {
    await this.telemetry.sample();
    this.telemetry.start();
    this.#care.begin();
  }

  /** Resolves when no engine is being brought up any more, or after so many milliseconds. */
  settled(mostMs: number): Promise<void> {
    return this.#care.settled(mostMs);
  }

  startEngine(id: string): Promise<void> {
    return this.#care.start(id);
  }

  stopEngine(id: string): Promise<void> {
    return this.#care.stop(id);
  }

  restartEngine(id: string): Promise<void> {
    return this.#care.restart(id);
  }

  hasEngine(id: string): boolean {
    return this.#care.has(id);
  }

  engines(): EngineStatus[] {
    return this.#care.statuses();
  }

  logs(engineId: string): readonly LogLine[] {
    return this.#care.logs(engineId);
  }

  models(): ModelStatus[] {
    return this.#book.statuses();
  }

  /** The files that look like models and are not offered, with why. */
  leftOut(): { readonly engineId: string; readonly file: string; readonly reason: string }[] {
    return this.#care.leftOut();
  }

  model(id: string): CatalogModel | undefined {
    return this.#book.get(id);
  }

  /** Whether text or pictures can be made at this moment. */
  canServe(kind: 'text' | 'image'): boolean {
    return this.#book.canServe(kind);
  }

  /** What is asked for when nothing is named. */
  defaultModel(kind: 'text' | 'image' | 'embedding'): CatalogModel | undefined {
    return this.#book.defaultOf(kind);
  }

  /** Loads a model because the operator says so. Returns why that cannot be, in a sentence; null once it is on its way. */
  load(modelId: string): string | null {
    const model = this.#book.get(modelId);
    if (!model) return `There is no model "${modelId}".`;
    const obstacle = this.#book.obstacle(modelId);
    if (obstacle !== null) return obstacle;
    const refusal = this.scheduler.requestLoad(modelId);
    return refusal && `"${modelId}" is not loaded. ${loadRefusals[refusal]}`;
  }

  /** Forgets the measured memory of a model: it is estimated until its next load, which measures it again. */
  measureAgain(modelId: string): void {
    const model = this.#book.get(modelId);
    if (!model) return;
    this.#book.measureAgain(model);
    this.scheduler.pump();
  }

  /** These models, and no others, are never unloaded for others. */
  setPinned(modelIds: readonly string[]): void {
    this.#book.setPinned(modelIds);
    this.scheduler.pump();
  }

  /** Which models would have no room beside these pins, and the pins in the way of each. */
  blockedBy(pinned: readonly string[]): ReadonlyMap<string, readonly string[]> {
    return this.#book.blockedBy(new Set(pinned));
  }

  /** Why a model could never be loaded with these pins; null when it could, or is not known. */
  misfit(modelId: string, pinned: readonly string[]): string | null {
    return this.#book.get(modelId) ? this.#book.misfit(modelId, new Set(pinned)) : null;
  }

  /** Reads anew what an engine offers: its files have changed. */
  async refreshEngine(id: string): Promise<void> {
    await this.#care.refresh(id);
  }

  /** The limits of memory have changed. */
  async budgetChanged(): Promise<void> {
    await this.telemetry.sample();
  }

  /** What fits beside what, with what the operator lets us have. */
  fit(): Fit[] {
    const models = this.models().map(({ id, vramBytes }) => ({
      ...this.scheduler.state.model(id),
      vramBytes,
    }));
    return fitMatrix(models, this.scheduler.state.capacityBytes);
  }

  status(): GpuStatus {
    const { mode, budgetBytes, capacityBytes, reservedBytes } = this.scheduler.state;
    const { totalBytes, othersBytes, excessBytes, dirty } = this.#memory;
    const sample = this.telemetry.latest();
    const declared = !sample?.card;
    const readable = sample?.readable ?? true;
    return {
      mode,
      totalBytes,
      budgetBytes,
      capacityBytes,
      reservedBytes,
      othersBytes,
      excessBytes,
      declared,
      readable,
      dirty,
    };
  }

  stream(
    modelId: string,
    request: Omit<TextRequest, 'modelKey'>,
    caller: Caller,
    signal: AbortSignal,
  ): Run<TextEvent> {
    return this.#run(modelId, caller, 1, signal, (engine, modelKey, stopped) =>
      engine.stream({ ...request, modelKey }, { signal: stopped }),
    );
  }

  complete(
    modelId: string,
    request: Omit<TextRequest, 'modelKey'>,
    caller: Caller,
    signal: AbortSignal,
  ): Task<Answer> {
    return this.#task(modelId, caller, 1, signal, (engine, modelKey, stopped) =>
      engine.complete({ ...request, modelKey }, { signal: stopped }),
    );
  }

  embed(
    modelId: string,
    request: Omit<EmbedRequest, 'modelKey'>,
    caller: Caller,
    signal: AbortSignal,
  ): Task<Answer> {
    return this.#task(modelId, caller, 0.1, signal, (engine, modelKey, stopped) =>
      engine.embed({ ...request, modelKey }, { signal: stopped }),
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
    return this.#run(modelId, caller, units, signal, (engine, modelKey, stopped) =>
      engine.image({ ...request, modelKey }, { signal: stopped }),
    );
  }

  /** Ends all work that runs now, with a PausedError. What waits is left alone. */
  stopWork(): void {
    for (const stop of this.#atWork) stop.abort(new PausedError());
  }

  /** Ends all work and every engine that is ours. */
  async close(): Promise<void> {
    this.#care.end();
    this.#closing.abort(new EngineError('aborted', 'The appliance is shutting down.'));
    this.scheduler.close();
    this.telemetry.close();
    this.#options.measurements.close();
    await Promise.allSettled([...this.#engines.values()].map((engine) => engine.stop()));
  }

  /** Work whose events pass on as they come. */
  #run<Event>(
    modelId: string,
    caller: Caller,
    units: number,
    signal: AbortSignal,
    work: (engine: Engine, modelKey: string, signal: AbortSignal) => AsyncIterable<Event>,
  ): Run<Event> {
    const id = randomUUID();
    const timings = newTimings();
    const lease = (): Promise<Leased> => this.#lease(id, modelId, caller, units, signal, timings);
    async function* events(): AsyncGenerator<Event, void, void> {
      const leased = await lease();
      try {
        yield* work(leased.engine, leased.modelKey, leased.signal);
        leased.succeeded();
      } catch (error) {
        throw leased.failed(error);
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
    work: (engine: Engine, modelKey: string, signal: AbortSignal) => Promise<Result>,
  ): Task<Result> {
    const id = randomUUID();
    const timings = newTimings();
    const result = async (): Promise<Result> => {
      const leased = await this.#lease(id, modelId, caller, units, signal, timings);
      try {
        const found = await work(leased.engine, leased.modelKey, leased.signal);
        leased.succeeded();
        return found;
      } catch (error) {
        throw leased.failed(error);
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
    const model = this.#book.get(modelId);
    if (!model) throw new EngineError('model_missing', modelId);
    const obstacle = this.#book.obstacle(modelId);
    if (obstacle !== null) throw new InfeasibleError(obstacle);
    // Jobs wait until it is up again, however long that takes.
    const outage = caller.lane === 'interactive' ? this.#care.refusalOf(model.engineId) : null;
    if (outage) throw outage;
    const { slots } = this.scheduler.state.model(modelId);
    const costMs = (this.#book.unitMs(model) * units) / slots;
    const grant = await this.scheduler.submit({ id, modelId, costMs, ...caller }, signal);
    timings.queuedMs = grant.queuedMs;
    timings.swapMs = grant.swapMs;
    timings.granted = true;
    const began = performance.now();
    const stop = new AbortController();
    this.#atWork.add(stop);
    return {
      engine: this.#book.engineOf(model),
      modelKey: model.key,
      signal: AbortSignal.any([signal, stop.signal]),
      // How work on a lost model ends late says nothing of the engine that came after.
      succeeded: () => {
        if (grant.isCurrent()) this.#succeeded(model, (performance.now() - began) / Math.max(units, 0.01));
      },
      failed: (error) => {
        if (stop.signal.aborted) return stop.signal.reason;
        if (grant.isCurrent()) this.#care.troubled(model.engineId, model.id, error);
        return this.#care.causeOf(model.engineId, error);
      },
      end: () => {
        this.#atWork.delete(stop);
        timings.runMs = performance.now() - began;
        timings.gpuMs = grant.end();
      },
    };
  }

  #succeeded(model: CatalogModel, unitMs: number): void {
    this.#care.served(model.engineId);
    const card = this.telemetry.latest()?.card;
    const spilled = this.#book.worked(model, unitMs, card ? card.usedBytes / card.totalBytes : null);
    if (spilled) this.#options.log('warn', 'model spilled', { model: model.id, advice: spillAdvice });
  }
}

function newTimings(): Timings {
  return { queuedMs: 0, swapMs: 0, runMs: 0, gpuMs: 0, granted: false };
}
