import si from 'systeminformation';
import type { GpuProbe } from '../probes/gpu-probe.ts';
import type { CardProcess, CardSample } from '../probes/nvidia-parse.ts';

/** The card, with whose programs are on it. */
export interface SampledCard extends CardSample {
  readonly processes: readonly (CardProcess & {
    /** Whether it is an engine or another program of the appliance. */
    readonly ours: boolean;
  })[];
}

export interface Sample {
  /** Wall-clock milliseconds. */
  readonly at: number;
  /** The card as last read; null on a machine without one. */
  readonly card: SampledCard | null;
  /** False while there is a card that cannot be read. */
  readonly readable: boolean;
  readonly note: string | null;
  readonly cpu: number | null;
  readonly ramUsedBytes: number | null;
  readonly ramTotalBytes: number | null;
}

const timing = { watchedMs: 1_000, idleMs: 10_000, history: 600 } as const;

/** Samples the machine: once a second while somebody looks or a swap is under way, slower otherwise. */
export class Telemetry {
  readonly #probe: GpuProbe;
  readonly #history: Sample[] = [];
  readonly #listeners = new Set<(sample: Sample) => void>();
  readonly #ownPids: () => Promise<ReadonlySet<number>>;
  #card: SampledCard | null = null;
  #classified: { readonly pids: string; readonly own: ReadonlySet<number> } = { pids: '', own: new Set() };
  #watchers = 0;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  /** `ownPids` tells the processes of the appliance. */
  constructor(probe: GpuProbe, ownPids: () => Promise<ReadonlySet<number>>) {
    this.#probe = probe;
    this.#ownPids = ownPids;
  }

  start(): void {
    this.#schedule();
  }

  /** Reads the card now. */
  async sample(): Promise<Sample> {
    const reading = await this.#probe.read();
    if (reading.kind === 'card') this.#card = await this.#classify(reading.card);
    const sample: Sample = {
      at: Date.now(),
      card: this.#card,
      readable: reading.kind !== 'lost',
      note: reading.kind === 'card' ? null : reading.reason,
      ...(await this.#machine()),
    };
    this.#history.push(sample);
    if (this.#history.length > timing.history) this.#history.shift();
    for (const listener of this.#listeners) listener(sample);
    return sample;
  }

  latest(): Sample | undefined {
    return this.#history.at(-1);
  }

  history(): readonly Sample[] {
    return this.#history;
  }

  onSample(listener: (sample: Sample) => void): void {
    this.#listeners.add(listener);
  }

  /** Raises the rate while somebody watches; call the result to stop watching. */
  watch(): () => void {
    this.#watchers += 1;
    this.#schedule();
    let watching = true;
    return () => {
      if (watching) this.#watchers -= 1;
      watching = false;
    };
  }

  close(): void {
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#probe.close();
  }

  /** Asks whose the programs are only when others are on the card than before: that is a look at every process. */
  async #classify(card: CardSample): Promise<SampledCard> {
    const pids = card.processes.map(({ pid }) => pid).join(' ');
    if (pids !== this.#classified.pids) {
      const own = await this.#ownPids().catch(() => null);
      if (own) this.#classified = { pids, own };
    }
    const { own } = this.#classified;
    return {
      ...card,
      processes: card.processes.map((one) => ({ ...one, ours: own.has(one.pid) })),
    };
  }

  #schedule(): void {
    if (this.#closed) return;
    if (this.#timer) clearTimeout(this.#timer);
    const everyMs = this.#watchers > 0 ? timing.watchedMs : timing.idleMs;
    this.#timer = setTimeout(() => {
      this.sample()
        .catch(() => undefined)
        .finally(() => this.#schedule());
    }, everyMs);
    this.#timer.unref();
  }

  /** Processor and memory are only read for somebody who looks: reading them costs more than the card. */
  async #machine(): Promise<Pick<Sample, 'cpu' | 'ramUsedBytes' | 'ramTotalBytes'>> {
    if (this.#watchers === 0) return { cpu: null, ramUsedBytes: null, ramTotalBytes: null };
    const [load, memory] = await Promise.all([si.currentLoad(), si.mem()]);
    return { cpu: load.currentLoad / 100, ramUsedBytes: memory.active, ramTotalBytes: memory.total };
  }
}
