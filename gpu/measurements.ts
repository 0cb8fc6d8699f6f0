import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { GpuLog } from './gpu-log.ts';
import { footprintOf, smooth, withReading } from './vram/estimate.ts';

/** What was measured of a model under one engine and launch profile; null where it never was. */
export interface Measurement {
  readonly vramBytes: number | null;
  /** The last readings behind it, oldest first, and the highest use while it worked. */
  readonly readings: readonly number[];
  readonly peakBytes: number | null;
  /** When the memory was last measured, wall-clock milliseconds. */
  readonly measuredAt: number | null;
  readonly loadMs: number | null;
  readonly unloadMs: number | null;
  /** Milliseconds of one unit of work: a request of text, or 20 steps of a 512x512 picture. */
  readonly unitMs: number | null;
}

const nothing: Measurement = {
  vramBytes: null,
  readings: [],
  peakBytes: null,
  measuredAt: null,
  loadMs: null,
  unloadMs: null,
  unitMs: null,
};
const saveDelayMs = 2_000;
/**
 * How long a measured footprint is believed. Drivers, engines and their settings change; after this long a model is
 * estimated again, and its next load measures it. What took how long is smoothed with every load anyway.
 */
const footprintDays = 30;
const dayMs = 24 * 3_600_000;

/** Remembers measurements over restarts, in one small file. Losing it only means estimating again. */
export class Measurements {
  readonly #file: string | null;
  readonly #log: GpuLog;
  readonly #now: () => number;
  readonly #known = new Map<string, Measurement>();
  #timer: NodeJS.Timeout | null = null;

  /** Without a file nothing is kept. */
  constructor(file: string | null, log: GpuLog = () => undefined, now: () => number = Date.now) {
    this.#file = file;
    this.#log = log;
    this.#now = now;
    for (const [key, value] of Object.entries(read(file))) {
      // Checkpoints were kept under their titles once, with the hash in them.
      const current = key.replace(/ \[[0-9a-f]{6,64}\](?=@[^@]*$)/i, '');
      const known = { ...nothing, ...value };
      // Written by an earlier version: what it had learned is one reading.
      const readings =
        known.readings.length > 0 || known.vramBytes === null ? known.readings : [known.vramBytes];
      // When an earlier version measured it was not written down: it counts from now on.
      const measuredAt = known.measuredAt ?? (known.vramBytes === null ? null : now());
      this.#known.set(current, { ...known, readings, measuredAt });
    }
  }

  of(key: string): Measurement {
    const known = this.#known.get(key) ?? nothing;
    const isOld = known.measuredAt !== null && this.#now() - known.measuredAt > footprintDays * dayMs;
    return isOld ? { ...known, vramBytes: null, readings: [], peakBytes: null, measuredAt: null } : known;
  }

  /** Another reading of a load; returns what to reserve from now on. */
  footprint(key: string, bytes: number): number {
    const readings = withReading(this.of(key).readings, bytes);
    const vramBytes = footprintOf(readings) ?? bytes;
    this.#set(key, { readings, vramBytes, measuredAt: this.#now() });
    return vramBytes;
  }

  /** Use while it worked: rises at once, and falls slowly, as not every piece of work takes the most. */
  peak(key: string, bytes: number): void {
    const { peakBytes } = this.of(key);
    this.#set(key, {
      peakBytes: peakBytes === null || bytes >= peakBytes ? bytes : smooth(peakBytes, bytes),
    });
  }

  /** Forgets how much memory a model takes: it is estimated until its next load. */
  forgetFootprint(key: string): void {
    this.#set(key, { vramBytes: null, readings: [], peakBytes: null, measuredAt: null });
  }

  duration(key: string, what: 'loadMs' | 'unloadMs' | 'unitMs', ms: number): void {
    this.#set(key, { [what]: smooth(this.of(key)[what], ms) });
  }

  /** Writes what is not written yet. */
  close(): void {
    if (this.#timer) this.#save();
  }

  #write(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#file === null) return;
    mkdirSync(dirname(this.#file), { recursive: true });
    const draft = `${this.#file}.new`;
    writeFileSync(draft, JSON.stringify(Object.fromEntries(this.#known), null, 2));
    renameSync(draft, this.#file);
  }

  /** A full disk costs the measurements since, and nothing else. */
  #save(): void {
    try {
      this.#write();
    } catch (error) {
      this.#log('warn', 'measurements of models could not be written down', {
        error: error instanceof Error ? error.message : String(error),
      });
    }
  }

  #set(key: string, change: Partial<Measurement>): void {
    this.#known.set(key, { ...this.of(key), ...change });
    this.#timer ??= setTimeout(() => this.#save(), saveDelayMs).unref();
  }
}

function read(file: string | null): Record<string, Partial<Measurement>> {
  if (file === null) return {};
  try {
    const parsed: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return typeof parsed === 'object' && parsed !== null
      ? (parsed as Record<string, Partial<Measurement>>)
      : {};
  } catch {
    return {};
  }
}
