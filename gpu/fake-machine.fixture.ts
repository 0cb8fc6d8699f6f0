import { EngineError } from './engines/engine-error.ts';
import type {
  Answer,
  Engine,
  EngineDescription,
  EngineModel,
  ImageEvent,
  LoadedModel,
  TextEvent,
} from './engines/engine.ts';
import { Gpu, type GpuOptions } from './gpu.ts';
import { KeptState } from './kept-state.ts';
import { Measurements } from './measurements.ts';
import type { CardProcess } from './probes/nvidia-parse.ts';
import type { LogLine } from './supervisor/log-ring.ts';
import { defaultQueueLimits } from './vram/bounds.ts';
import { defaultPolicy } from './vram/policy.ts';

export const gib = 1024 ** 3;

/** A card whose use is what its programs hold. */
export class FakeCard {
  readonly programs = new Map<number, { name: string; bytes: number }>();
  totalBytes = 8 * gib;
  /** False as on Windows, where the driver does not say which program holds what. */
  tellsPrograms = true;

  hold(pid: number, name: string, bytes: number): void {
    if (bytes === 0) this.programs.delete(pid);
    else this.programs.set(pid, { name, bytes });
  }

  get usedBytes(): number {
    return [...this.programs.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get processes(): CardProcess[] {
    return [...this.programs].map(([pid, { name, bytes }]) => ({
      pid,
      name,
      usedBytes: this.tellsPrograms ? bytes : null,
    }));
  }
}

/** An engine of one process that does what it is told at once, and fails as it is told. */
export class FakeEngine implements Engine {
  readonly id: string;
  readonly pid: number;
  readonly offered: EngineModel[];
  readonly held = new Set<string>();
  /** Bytes that a model takes, by its key. */
  readonly bytes: Record<string, number>;
  /** Set: it is down, and starting it fails of this. */
  failure: Error | null = null;
  starts = 0;
  stops = 0;
  loads = 0;
  isUp = false;
  /** What it holds without any model, and while it works on one. */
  idleBytes = 0;
  workingBytes = 0;
  /** Work hangs until it is let go. */
  hold: Promise<void> | null = null;
  onLoad: () => void = () => undefined;
  readonly #card: FakeCard;
  readonly #exclusive: boolean;
  #lost: (reason: string) => void = () => undefined;

  constructor(
    id: string,
    bytes: Record<string, number>,
    options: { card?: FakeCard; pid?: number; modality?: 'text' | 'image'; exclusive?: boolean } = {},
  ) {
    this.id = id;
    this.bytes = bytes;
    this.#card = options.card ?? new FakeCard();
    this.pid = options.pid ?? 1_000;
    this.#exclusive = options.exclusive ?? false;
    this.offered = Object.keys(bytes).map((key) => ({
      key,
      name: key,
      modality: options.modality ?? 'text',
      sizeBytes: null,
      contextLength: null,
      vision: false,
      tools: false,
      embeds: false,
    }));
  }

  describe(): EngineDescription {
    return {
      id: this.id,
      kind: 'fake',
      title: this.id,
      demo: true,
      ownership: 'ours',
      address: 'http://127.0.0.1:22087',
      version: null,
      profile: {
        name: 'fake',
        reason: '',
        args: [],
        slots: 2,
        contextLength: null,
        gpuRatio: null,
        savesMemory: false,
        workingBytes: 0,
      },
      exclusive: this.#exclusive,
    };
  }

  ensureReady(): Promise<void> {
    if (this.isUp) return Promise.resolve();
    this.starts += 1;
    if (this.failure) return Promise.reject(this.failure);
    this.isUp = true;
    this.show();
    return Promise.resolve();
  }

  /** It ends by itself, as a process that crashes. */
  crash(reason = 'it ended with exit code 139.'): void {
    this.#gone();
    this.#lost(reason);
  }

  /** It is gone and nobody noticed. */
  vanish(): void {
    this.#gone();
  }

  #gone(): void {
    this.isUp = false;
    this.held.clear();
    this.show();
  }

  /** Shows on the card what it holds. */
  show(working = 0): void {
    let bytes = this.isUp ? this.idleBytes + working : 0;
    for (const key of this.held) bytes += this.bytes[key] ?? 0;
    this.#card.hold(this.pid, this.id, bytes);
  }

  models(): Promise<EngineModel[]> {
    return this.#answers(this.offered);
  }

  loaded(): Promise<LoadedModel[]> {
    return this.#answers([...this.held].map((key) => ({ key, slots: 2 })));
  }

  async load(key: string): Promise<LoadedModel> {
    await this.#answers(null);
    this.loads += 1;
    if (this.#exclusive) this.held.clear();
    this.held.add(key);
    this.show();
    this.onLoad();
    return { key, slots: 2 };
  }

  async unload(key: string): Promise<void> {
    await this.#answers(null);
    this.held.delete(key);
    this.show();
  }

  /** Always half of what it really takes. */
  estimate({ key }: EngineModel): number {
    return (this.bytes[key] ?? 0) / 2;
  }

  // oxlint-disable-next-line require-yield -- nobody reads a text of it
  async *stream(): AsyncGenerator<TextEvent, void, void> {
    await this.#work();
  }

  async complete(): Promise<Answer> {
    await this.#work();
    return { body: '{}', usage: { promptTokens: 1, completionTokens: 1, counted: false } };
  }

  embed(): Promise<Answer> {
    return this.complete();
  }

  async *image(): AsyncGenerator<ImageEvent, void, void> {
    await this.#work();
    yield { type: 'image', png: new Uint8Array(), seed: 1 };
  }

  async #work(): Promise<void> {
    await this.#answers(null);
    this.show(this.workingBytes);
    try {
      await this.hold;
      await this.#answers(null);
    } finally {
      this.show();
    }
  }

  async health(): Promise<void> {
    await this.#answers(null);
  }

  stop(): Promise<void> {
    this.stops += 1;
    this.#gone();
    return Promise.resolve();
  }

  onLost(listener: (reason: string) => void): void {
    this.#lost = listener;
  }

  logs(): readonly LogLine[] {
    return [];
  }

  #answers<T>(answer: T): Promise<T> {
    return this.isUp
      ? Promise.resolve(answer)
      : Promise.reject(new EngineError('unreachable', 'connect ECONNREFUSED 127.0.0.1:22087'));
  }
}

/** A GPU over fake engines, as the composition root would make it. */
export function fakeGpu(
  engines: readonly FakeEngine[],
  options: Partial<GpuOptions> & { card?: FakeCard } = {},
): Gpu {
  const { card, ...more } = options;
  return new Gpu({
    engines,
    probe: {
      read: () =>
        Promise.resolve(
          card
            ? {
                kind: 'card',
                card: {
                  uuid: 'GPU-fake',
                  name: 'fake',
                  driver: null,
                  totalBytes: card.totalBytes,
                  usedBytes: card.usedBytes,
                  utilization: null,
                  temperatureC: null,
                  powerWatts: null,
                  powerLimitWatts: null,
                  processes: card.processes,
                },
              }
            : { kind: 'none', reason: 'there is none' },
        ),
      close: () => undefined,
    },
    ownPids: () => Promise.resolve(new Set(engines.map(({ pid }) => pid))),
    declaredBytes: 8 * gib,
    budget: () => ({ reserveBytes: 0, marginBytes: 0, capBytes: null }),
    defaults: () => ({ text: null, image: null }),
    policy: () => defaultPolicy,
    queue: () => defaultQueueLimits,
    measurements: new Measurements(null),
    kept: new KeptState(null, () => undefined),
    pinned: new Set(),
    log: () => undefined,
    ...more,
  });
}
