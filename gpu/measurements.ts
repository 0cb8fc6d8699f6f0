import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { learn, smooth } from './vram/estimate.ts';

/** What was measured of a model under one engine and launch profile; null where it never was. */
export interface Measurement {
  readonly vramBytes: number | null;
  readonly loadMs: number | null;
  readonly unloadMs: number | null;
  /** Milliseconds of one unit of work: a request of text, or 20 steps of a 512x512 picture. */
  readonly unitMs: number | null;
}

const nothing: Measurement = { vramBytes: null, loadMs: null, unloadMs: null, unitMs: null };
const saveDelayMs = 2_000;

/** Remembers measurements over restarts, in one small file. Losing it only means estimating again. */
export class Measurements {
  readonly #file: string | null;
  readonly #known = new Map<string, Measurement>();
  #timer: NodeJS.Timeout | null = null;

  /** Without a file nothing is kept. */
  constructor(file: string | null) {
    this.#file = file;
    for (const [key, value] of Object.entries(read(file))) {
      // Checkpoints were kept under their titles once, with the hash in them.
      const current = key.replace(/ \[[0-9a-f]{6,64}\](?=@[^@]*$)/i, '');
      this.#known.set(current, { ...nothing, ...value });
    }
  }

  of(key: string): Measurement {
    return this.#known.get(key) ?? nothing;
  }

  footprint(key: string, vramBytes: number): number {
    const learned = learn(this.of(key).vramBytes, vramBytes);
    this.#set(key, { vramBytes: learned });
    return learned;
  }

  duration(key: string, what: 'loadMs' | 'unloadMs' | 'unitMs', ms: number): void {
    this.#set(key, { [what]: smooth(this.of(key)[what], ms) });
  }

  flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#file === null) return;
    mkdirSync(dirname(this.#file), { recursive: true });
    const draft = `${this.#file}.new`;
    writeFileSync(draft, JSON.stringify(Object.fromEntries(this.#known), null, 2));
    renameSync(draft, this.#file);
  }

  #set(key: string, change: Partial<Measurement>): void {
    this.#known.set(key, { ...this.of(key), ...change });
    this.#timer ??= setTimeout(() => this.flush(), saveDelayMs).unref();
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
