import { setTimeout as delay } from 'node:timers/promises';
import type { CatalogModel } from './catalog.ts';
import { EngineError } from './engines/engine-error.ts';
import type { GpuLog } from './gpu-log.ts';
import type { ModelBook } from './model-book.ts';
import type { Sample, Telemetry } from './telemetry/telemetry.ts';
import { type BudgetLimits, budgetBytes, capacityBytes, othersBytes } from './vram/budget.ts';
import type { Departure, Effects, Scheduler } from './vram/scheduler.ts';

const timing = { releaseMs: 15_000, releasePollMs: 250, releasedShare: 0.75, unloadMs: 30_000 } as const;

export interface VideoMemoryOptions {
  readonly book: ModelBook;
  readonly scheduler: Scheduler;
  readonly telemetry: Telemetry;
  readonly limits: () => BudgetLimits;
  readonly declaredBytes: number;
  readonly closing: AbortSignal;
  readonly log: GpuLog;
  /** Brings an engine to where it can load; rejects where the operator stopped it. */
  readonly ensureReady: (engineId: string) => Promise<void>;
  /** An engine was ended because it would not unload: whatever else it held is gone too. */
  readonly onEngineEnded: (engineId: string, reason: string) => void;
  /** What an engine holds may not be what is counted any more. */
  readonly onDoubt: (engineId: string) => void;
}

/** Video memory as it really is: loads and unloads with the card read before and after, and the budget kept true. */
export class VideoMemory implements Effects {
  readonly #options: VideoMemoryOptions;
  #totalBytes: number;
  #othersBytes = 0;
  #dirty = false;

  constructor(options: VideoMemoryOptions) {
    this.#options = options;
    this.#totalBytes = options.declaredBytes;
    options.telemetry.onSample((sample) => this.#adjust(sample));
    // What others use is only known for sure between changes, so the first moment after one is looked at.
    options.scheduler.onDecision(({ type }) => {
      if (type === 'loaded' || type === 'released') void options.telemetry.sample();
    });
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  get othersBytes(): number {
    return this.#othersBytes;
  }

  /** True after a release that was not seen in time. */
  get dirty(): boolean {
    return this.#dirty;
  }

  /** Loads a model and measures what it took; a load that was given up (the signal) is not begun, and not measured. */
  async load(modelId: string, signal: AbortSignal): Promise<{ vramBytes: number | null }> {
    const { book, telemetry, closing, ensureReady } = this.#options;
    const model = book.get(modelId);
    if (!model) throw new EngineError('model_missing', modelId);
    const engine = book.engineOf(model);
    const stopWatching = telemetry.watch();
    try {
      await ensureReady(model.engineId);
      const before = await this.#usedBytes();
      signal.throwIfAborted();
      const began = performance.now();
      const { slots } = await engine.load(model.key, AbortSignal.any([closing, signal]));
      const tookMs = performance.now() - began;
      const after = await this.#usedBytes();
      signal.throwIfAborted();
      book.setSlots(model, slots);
      const grown = before === null || after === null ? null : after - before;
      return { vramBytes: book.loaded(model, tookMs, grown) };
    } finally {
      stopWatching();
    }
  }

  /** Unloads a model and waits until its memory was seen to come back (V2). */
  async unload(modelId: string, after: Departure): Promise<{ released: boolean }> {
    const { book, scheduler, telemetry, log } = this.#options;
    const model = book.get(modelId);
    const held = scheduler.state.residents.get(modelId)?.bytes ?? 0;
    const stopWatching = telemetry.watch();
    try {
      const before = after === 'asked' ? await this.#usedBytes() : null;
      const began = performance.now();
      if (model && after !== 'lost') await this.#askToUnload(model);
      const working = model ? book.engineOf(model).describe().profile.workingBytes : 0;
      const released = await this.#released(before, Math.max(0, held - working));
      if (model && released && after === 'asked') book.unloaded(model, performance.now() - began);
      this.#dirty = !released;
      if (!released) log('warn', 'video memory did not come back', { model: modelId });
      return { released };
    } finally {
      stopWatching();
    }
  }

  recheck(modelId: string): void {
    const model = this.#options.book.get(modelId);
    if (model) this.#options.onDoubt(model.engineId);
  }

  prewarm(modelId: string): void {
    const { book, closing } = this.#options;
    const model = book.get(modelId);
    if (model)
      void book
        .engineOf(model)
        .prewarm?.(model.key, closing)
        .catch(() => undefined);
  }

  /** An engine that cannot unload is ended, if it is ours: that gives everything back. */
  async #askToUnload(model: CatalogModel): Promise<void> {
    const { book, closing, log, onEngineEnded } = this.#options;
    const engine = book.engineOf(model);
    const signal = AbortSignal.any([closing, AbortSignal.timeout(timing.unloadMs)]);
    try {
      const held = (await engine.loaded(signal)).some(({ key }) => key === model.key);
      if (held) await engine.unload(model.key, signal);
    } catch (error) {
      const { message } = EngineError.from(error, 'bad_answer');
      log('warn', 'unload failed; the engine is stopped', { model: model.id, error: message });
      await engine.stop();
      onEngineEnded(model.engineId, message);
    }
  }

  /**
   * Whether the memory came back: most of it, compared with before; or, where nobody looked before (a death, a failed
   * load), once it no longer falls.
   */
  async #released(before: number | null, bytes: number): Promise<boolean> {
    const sample = await this.#options.telemetry.sample();
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
      if (performance.now() >= deadline || this.#options.closing.aborted) return false;
      await delay(timing.releasePollMs);
    }
  }

  async #usedBytes(): Promise<number | null> {
    const { card, readable } = await this.#options.telemetry.sample();
    return readable ? (card?.usedBytes ?? null) : null;
  }

  #adjust(sample: Sample): void {
    const { scheduler } = this.#options;
    const limits = this.#options.limits();
    const { state } = scheduler;
    if (sample.card) {
      this.#totalBytes = sample.card.totalBytes;
      const { usedBytes } = sample.card;
      this.#othersBytes = othersBytes(usedBytes, state.reservedBytes, !state.inTransition, this.#othersBytes);
    }
    scheduler.setBudget(
      budgetBytes(this.#totalBytes, this.#othersBytes, limits),
      capacityBytes(this.#totalBytes, limits),
      sample.readable,
    );
  }
}
