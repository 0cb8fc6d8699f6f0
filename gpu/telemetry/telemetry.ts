import si from 'systeminformation';
import type { GpuProbe, Reading } from '../probes/gpu-probe.ts';
import type { CardSample } from '../probes/nvidia-parse.ts';

export interface Sample {
  /** Wall-clock milliseconds. */
  readonly at: number;
  /** The card as last read; null on a machine without one. */
  readonly card: CardSample | null;
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
  #card: CardSample | null = null;
  #watchers = 0;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(probe: GpuProbe) {
    this.#probe = probe;
  }

  start(): void {
    this.#schedule();
  }

  /** Reads the card now. */
  async sample(): Promise<Sample> {
    const reading = await this.#probe.read();
    if (reading.kind === 'card') this.#card = reading.card;
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

  /** The card alone, for measuring before and after a load. */
  read(): Promise<Reading> {
    return this.#probe.read();
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
