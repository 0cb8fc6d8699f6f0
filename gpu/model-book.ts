import { Catalog, type CatalogModel } from './catalog.ts';
import { EngineError } from './engines/engine-error.ts';
import type { Engine } from './engines/engine.ts';
import type { Measurements } from './measurements.ts';
import { isBelievable } from './vram/estimate.ts';
import { blockedByPins } from './vram/pins.ts';
import { SpillWatch } from './vram/spill.ts';
import type { Outage, Phase, SchedulerState } from './vram/state.ts';

export interface ModelStatus extends CatalogModel {
  readonly phase: Phase | 'absent';
  readonly vramBytes: number;
  readonly measured: boolean;
  readonly running: number;
  readonly waiting: number;
  readonly slots: number;
  readonly loadMs: number;
  readonly pinned: boolean;
  /** The pins that leave no room for it: requests for it are refused. Empty where there is room. */
  readonly blockedByPins: readonly string[];
  readonly spilled: boolean;
  /** Why it can never be served as things are; null when it can. */
  readonly obstacle: string | null;
}

/** First guesses, until something was measured. */
const guesses = { loadMs: 8_000, unloadMs: 1_500, textUnitMs: 6_000, imageUnitMs: 8_000 } as const;
const measureEveryMs = 100;

/** What is known of every model: what engines offer, what was measured, what the operator wants. Feeds the scheduler. */
export class ModelBook {
  readonly #engines: ReadonlyMap<string, Engine>;
  readonly #state: SchedulerState;
  readonly #measurements: Measurements;
  readonly #catalog = new Catalog();
  readonly #outageOf: (engineId: string) => Outage | null;
  #pinned: ReadonlySet<string>;
  readonly #defaults: () => { readonly text: string | null; readonly image: string | null };
  readonly #slots = new Map<string, number>();
  readonly #spills = new Map<string, SpillWatch>();
  readonly #spilled = new Set<string>();
  readonly #measuredAt = new Map<string, number>();

  constructor(options: {
    engines: ReadonlyMap<string, Engine>;
    state: SchedulerState;
    measurements: Measurements;
    pinned: ReadonlySet<string>;
    defaults: () => { readonly text: string | null; readonly image: string | null };
    /** Why an engine can load nothing now; null where it can. */
    outageOf: (engineId: string) => Outage | null;
  }) {
    this.#engines = options.engines;
    this.#state = options.state;
    this.#measurements = options.measurements;
    this.#pinned = options.pinned;
    this.#defaults = options.defaults;
    this.#outageOf = options.outageOf;
  }

  get(id: string): CatalogModel | undefined {
    return this.#catalog.get(id);
  }

  /** The model of an engine's own name. */
  find(engineId: string, key: string): CatalogModel | undefined {
    return this.#catalog.find(engineId, key);
  }

  engineOf({ engineId }: CatalogModel): Engine {
    const engine = this.#engines.get(engineId);
    if (!engine) throw new EngineError('unreachable', `There is no engine "${engineId}".`);
    return engine;
  }

  /** What is asked for when nothing is named: the operator's choice, one that is loaded, or the first. */
  defaultOf(kind: 'text' | 'image' | 'embedding'): CatalogModel | undefined {
    const fits = this.#catalog
      .all()
      .filter((model) => (kind === 'embedding' ? model.embeds : model.modality === kind))
      .filter((model) => this.obstacle(model.id) === null && !this.#isOut(model));
    const chosen = kind === 'embedding' ? null : this.#defaults()[kind];
    const wished = chosen === null ? undefined : fits.find(({ id }) => id === chosen);
    if (wished) return wished;
    const loaded = fits.find((model) => this.#state.residents.has(model.id));
    // An embedding model proper goes before a text model that also embeds.
    return loaded ?? fits.find((model) => model.modality === kind) ?? fits[0];
  }

  /** Replaces what an engine offers; what no engine has any more is forgotten once nobody uses it. */
  offered(engine: Engine, models: Parameters<Catalog['update']>[1]): void {
    this.#catalog.update(engine, models);
    this.#updateAll();
  }

  /** An engine came up or went down. */
  engineChanged(engineId: string): void {
    const outage = this.#outageOf(engineId);
    // Also those that no engine offers any more, while somebody waits for them.
    for (const [id, facts] of this.#state.models) {
      if (facts.engineId === engineId) this.#state.models.set(id, { ...facts, outage });
    }
  }

  /** Whether work of a kind can be done at this moment, by any model. */
  canServe(kind: 'text' | 'image'): boolean {
    return this.#catalog
      .all()
      .some(
        (model) =>
          model.modality === kind && this.obstacle(model.id) === null && !this.#outageOf(model.engineId),
      );
  }

  setPinned(modelIds: readonly string[]): void {
    this.#pinned = new Set(modelIds);
    this.#updateAll();
  }

  /** The engine said how many requests it takes for this model at once. */
  setSlots(model: CatalogModel, slots: number | null): void {
    if (slots !== null) this.#slots.set(model.id, slots);
    this.update(model);
  }

  /** A load was measured; returns the footprint to reserve from now on, null where nothing believable was seen. */
  loaded(
    model: CatalogModel,
    tookMs: number,
    grownBytes: number | null,
    /** What could be had of the card when the load began. */
    roomBytes: number,
  ): number | null {
    const engine = this.engineOf(model);
    const key = this.#keyOf(model);
    this.#measurements.duration(key, 'loadMs', tookMs);
    const estimate = engine.estimate(model);
    if (grownBytes === null || !isBelievable(grownBytes, estimate, model.sizeBytes !== null)) {
      this.update(model);
      return null;
    }
    const { workingBytes } = engine.describe().profile;
    // It was loaded here, so it fits here: what is above that was another program's, and must not shut it out.
    const mostBytes = Math.max(estimate, roomBytes);
    this.#measurements.footprint(key, Math.min(grownBytes + workingBytes, mostBytes));
    this.update(model);
    return this.#state.model(model.id).vramBytes;
  }

  /** While only this model worked, our programs held so much more than was reserved. */
  workedBeyond(modelId: string, excessBytes: number): void {
    const model = this.#catalog.get(modelId);
    const resident = this.#state.residents.get(modelId);
    if (!model || !resident || resident.phase !== 'ready' || excessBytes <= 0) return;
    const peakBytes = resident.bytes + excessBytes;
    const mostBytes = Math.max(this.engineOf(model).estimate(model), this.#state.budgetBytes);
    this.#measurements.peak(this.#keyOf(model), Math.min(peakBytes, mostBytes));
    this.update(model);
    // What it works with is reserved as far as there is room; it takes no room from the others that are loaded.
    resident.bytes += Math.max(0, Math.min(excessBytes, this.#state.freeBytes));
  }

  /** Forgets how much memory a model takes, because the operator says that it is wrong. */
  measureAgain(model: CatalogModel): void {
    this.#measurements.forgetFootprint(this.#keyOf(model));
    this.update(model);
  }

  /** What to reserve for a model: what was measured, where that can be true. */
  #vramBytesOf(model: CatalogModel): number {
    const estimate = this.engineOf(model).estimate(model);
    const { vramBytes, peakBytes } = this.#measurements.of(this.#keyOf(model));
    const measured = vramBytes === null ? null : Math.max(vramBytes, peakBytes ?? 0);
    const isSizeKnown = model.sizeBytes !== null;
    return measured !== null && isBelievable(measured, estimate, isSizeKnown) ? measured : estimate;
  }

  unloaded(model: CatalogModel, tookMs: number): void {
    this.#measurements.duration(this.#keyOf(model), 'unloadMs', tookMs);
  }

  /** A unit of work was done; true when the model is now judged to have spilled into system memory. */
  worked(model: CatalogModel, unitMs: number, cardShare: number | null): boolean {
    const now = performance.now();
    // One measurement in a while is enough: under load there are thousands a second.
    if (now - (this.#measuredAt.get(model.id) ?? Number.NEGATIVE_INFINITY) < measureEveryMs) return false;
    this.#measuredAt.set(model.id, now);
    this.#measurements.duration(this.#keyOf(model), 'unitMs', unitMs);
    let watch = this.#spills.get(model.id);
    if (!watch) this.#spills.set(model.id, (watch = new SpillWatch()));
    const spills = cardShare !== null && watch.observe(unitMs, cardShare) && !this.#spilled.has(model.id);
    if (spills) this.#spilled.add(model.id);
    this.update(model);
    return spills;
  }

  /** Milliseconds that a unit of work takes on this model, as far as is known. */
  unitMs(model: CatalogModel): number {
    const { unitMs } = this.#measurements.of(this.#keyOf(model));
    return unitMs ?? (model.modality === 'image' ? guesses.imageUnitMs : guesses.textUnitMs);
  }

  /** Which models have no room beside pins (those that are set, if none are given), and the pins in the way of each. */
  blockedBy(pinned: ReadonlySet<string> = this.#pinned): ReadonlyMap<string, readonly string[]> {
    const models = this.#catalog.all().map(({ id }) => this.#state.model(id));
    return blockedByPins(models, pinned, this.#state.capacityBytes);
  }

  /** Why a model can never be served as things are; null when it can. */
  obstacle(modelId: string): string | null {
    return this.#state.residents.has(modelId) ? null : this.misfit(modelId, this.#pinned);
  }

  /** Why a model could never be loaded with these pins; null when it could. */
  misfit(modelId: string, pinned: ReadonlySet<string>): string | null {
    const { vramBytes } = this.#state.model(modelId);
    if (vramBytes > this.#state.capacityBytes) {
      return `"${modelId}" is too large for this card (${gb(vramBytes)} of ${gb(this.#state.capacityBytes)} GB).`;
    }
    if (this.blockedBy(pinned).has(modelId)) {
      return `"${modelId}" does not fit beside the models the operator has pinned.`;
    }
    return null;
  }

  /** One that is only being started is waited for. */
  #isOut({ engineId }: CatalogModel): boolean {
    const outage = this.#outageOf(engineId);
    return outage === 'engine_stopped' || outage === 'engine_failed';
  }

  statuses(): ModelStatus[] {
    const blocked = this.blockedBy();
    return this.#catalog.all().map((model) => this.#status(model, blocked.get(model.id) ?? []));
  }

  #status(model: CatalogModel, inTheWay: readonly string[]): ModelStatus {
    const facts = this.#state.model(model.id);
    const resident = this.#state.residents.get(model.id);
    return {
      ...model,
      phase: resident?.phase ?? 'absent',
      vramBytes: resident?.bytes ?? facts.vramBytes,
      measured: this.#measurements.of(this.#keyOf(model)).vramBytes !== null,
      running: resident?.running ?? 0,
      waiting: this.#state.queue.count(model.id),
      slots: facts.slots,
      loadMs: facts.loadMs,
      pinned: facts.pinned,
      blockedByPins: inTheWay,
      spilled: this.#spilled.has(model.id),
      obstacle: this.obstacle(model.id),
    };
  }

  /** Brings what the scheduler knows of a model up to date. */
  update(model: CatalogModel): void {
    const engine = this.engineOf(model);
    const { profile, exclusive } = engine.describe();
    const measured = this.#measurements.of(this.#keyOf(model));
    const slots = this.#slots.get(model.id) ?? profile.slots;
    this.#state.models.set(model.id, {
      id: model.id,
      engineId: model.engineId,
      vramBytes: Math.round(this.#vramBytesOf(model)),
      slots: this.#spilled.has(model.id) ? Math.max(1, Math.floor(slots / 2)) : slots,
      loadMs: measured.loadMs ?? guesses.loadMs,
      unloadMs: measured.unloadMs ?? guesses.unloadMs,
      runMs: this.unitMs(model),
      pinned: this.#pinned.has(model.id),
      exclusive,
      outage: this.#outageOf(model.engineId),
    });
  }

  #updateAll(): void {
    for (const model of this.#catalog.all()) this.update(model);
    for (const id of this.#state.models.keys()) {
      const used = this.#state.residents.has(id) || this.#state.queue.count(id) > 0;
      if (!this.#catalog.get(id) && !used) this.#state.models.delete(id);
    }
  }

  /** Measurements hold for one way of starting the engine. */
  #keyOf(model: CatalogModel): string {
    return `${model.engineId}/${model.key}@${this.engineOf(model).describe().profile.name}`;
  }
}

/** As the console shows sizes: in units of 1024 to the third. */
function gb(bytes: number): string {
  return (bytes / 1024 ** 3).toFixed(1);
}
