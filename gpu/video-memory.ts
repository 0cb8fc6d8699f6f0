import { setTimeout as delay } from 'node:timers/promises';
import type { CatalogModel } from './catalog.ts';
import { EngineError } from './engines/engine-error.ts';
import type { GpuLog } from './gpu-log.ts';
import type { ModelBook } from './model-book.ts';
import type { Sample, SampledCard, Telemetry } from './telemetry/telemetry.ts';
import { type BudgetLimits, budgetBeside, capacityBytes, type Shares, sharesOf } from './vram/budget.ts';
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
  #shares: Shares = { othersBytes: 0, excessBytes: 0 };
  #dirty = false;

  constructor(options: VideoMemoryOptions) {
    this.#options = options;
    this.#totalBytes = options.declaredBytes;
    options.telemetry.onSample((sample) => this.#adjust(sample));
    // What others use is only known for sure between changes, so the first moment after one is looked at.
    options.scheduler.onDecision(({ type }) => {
      if (type !== 'loaded' && type !== 'released') return;
      options.telemetry
        .sample()
        .catch((error: unknown) =>
          options.log('warn', 'the card could not be read', { error: String(error) }),
        );
    });
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  get othersBytes(): number {
    return this.#shares.othersBytes;
  }

  /** What our engines hold beyond what is reserved for their models. */
  get excessBytes(): number {
    return this.#shares.excessBytes;
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
      const before = await this.#heldBytes();
      const roomBytes = this.#options.scheduler.state.budgetBytes;
      signal.throwIfAborted();
      const began = performance.now();
      const { slots } = await engine.load(model.key, AbortSignal.any([closing, signal]));
      const tookMs = performance.now() - began;
      const after = await this.#heldBytes();
      signal.throwIfAborted();
      book.setSlots(model, slots);
      const grown = before && after && grownBetween(before, after);
      return { vramBytes: book.loaded(model, tookMs, grown, roomBytes) };
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
    if (!model) return;
    book
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
        if (before !== null && used <= before - Math.min(bytes, before) * timing.releasedShare) return true;
        if (before === null && last !== null && used >= last) return true;
        last = used;
      }
      if (performance.now() >= deadline || this.#options.closing.aborted) return false;
      await delay(timing.releasePollMs);
    }
  }

  /** What is held of the card; null while it cannot be read. */
  async #heldBytes(): Promise<Held | null> {
    const { card, readable } = await this.#options.telemetry.sample();
    return readable && card ? { ownBytes: this.#ownBytes(card), allBytes: card.usedBytes } : null;
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
      const isSettled = !state.inTransition;
      this.#shares = sharesOf({
        usedBytes: sample.card.usedBytes,
        reservedBytes: state.reservedBytes,
        ownBytes: this.#ownBytes(sample.card),
        isSettled,
        isWorking: state.leases.size > 0,
        lastOthersBytes: this.#shares.othersBytes,
      });
      const working = new Set([...state.leases.values()].map(({ resident }) => resident.modelId));
      const [only] = working;
      // With several at work nobody can say whose it is.
      if (isSettled && working.size === 1 && only !== undefined)
        this.#options.book.workedBeyond(only, this.#shares.excessBytes);
    }
    scheduler.setBudget(
      budgetBeside(this.#totalBytes, this.#shares, state.reservedBytes, limits),
      capacityBytes(this.#totalBytes, limits),
      sample.readable,
    );
  }

  /** What our programs hold of a card; null where the driver does not say, or a model is in a program of somebody else. */
  #ownBytes({ processes }: SampledCard): number | null {
    const { book, scheduler } = this.#options;
    for (const modelId of scheduler.state.residents.keys()) {
      const model = book.get(modelId);
      if (!model || book.engineOf(model).describe().ownership === 'theirs') return null;
    }
    let own = 0;
    for (const { ours, usedBytes } of processes) {
      if (usedBytes === null) return null;
      if (ours) own += usedBytes;
    }
    return own;
  }
}

interface Held {
  /** By our programs, where the driver says so. */
  readonly ownBytes: number | null;
  readonly allBytes: number;
}

/** What a load took: by our own programs, where the driver shows them; a game that starts meanwhile is not in that. */
function grownBetween(before: Held, after: Held): number {
  const own = before.ownBytes === null || after.ownBytes === null ? 0 : after.ownBytes - before.ownBytes;
  return own > 0 ? own : after.allBytes - before.allBytes;
}
