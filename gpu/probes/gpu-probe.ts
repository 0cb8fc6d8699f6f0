import { type ChildProcess, fork } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { processes } from '../supervisor/processes.ts';
import { type CardSample, parseSmi } from './nvidia-parse.ts';
import { nodePath, programBeside } from '../program.ts';

export type Reading =
  | { readonly kind: 'card'; readonly card: CardSample }
  /** There is no NVIDIA card or no driver: run with a declared budget. */
  | { readonly kind: 'none'; readonly reason: string }
  /** There is a card, and it cannot be read just now: keep the last value, load nothing (V5). */
  | { readonly kind: 'lost'; readonly reason: string };

/** Reads the card. Every call returns within the time limit, whatever nvidia-smi does. */
export interface GpuProbe {
  read(): Promise<Reading>;
  close(): void;
}

export interface NvidiaProbeOptions {
  /** Folders to look for nvidia-smi in, before the path. */
  readonly folders?: readonly string[];
  /** The process's own PATH when missing. */
  readonly path?: string;
  /** The card to use where there are several; the first one otherwise. */
  readonly uuid?: string | null;
  readonly timeoutMs?: number;
}

const defaults = { timeoutMs: 8_000, restMs: 5_000 } as const;

export class NvidiaProbe implements GpuProbe {
  readonly #path: string;
  readonly #uuid: string | null;
  readonly #timeoutMs: number;
  readonly #found: boolean;
  #reader: ChildProcess | null = null;
  #pending: Promise<Reading> | null = null;
  #restUntil = 0;
  #everRead = false;

  constructor(options: NvidiaProbeOptions = {}) {
    this.#path = [...(options.folders ?? []), options.path ?? process.env['PATH'] ?? ''].join(delimiter);
    this.#uuid = options.uuid ?? null;
    this.#timeoutMs = options.timeoutMs ?? defaults.timeoutMs;
    this.#found = this.#path.split(delimiter).some(hasSmi);
  }

  /** Concurrent calls share one reading. */
  read(): Promise<Reading> {
    if (!this.#found) return Promise.resolve({ kind: 'none', reason: 'nvidia-smi was not found.' });
    if (performance.now() < this.#restUntil) {
      return Promise.resolve({
        kind: 'lost',
        reason: 'nvidia-smi hung; it is asked again in a few seconds.',
      });
    }
    this.#pending ??= this.#ask().finally(() => (this.#pending = null));
    return this.#pending;
  }

  close(): void {
    this.#drop();
  }

  async #ask(): Promise<Reading> {
    const reader = (this.#reader ??= this.#start());
    const answer = await new Promise<{ data?: unknown; error?: string }>((resolve) => {
      const settle = (message: { data?: unknown; error?: string }): void => {
        clearTimeout(timer);
        reader.off('message', settle).off('exit', died);
        resolve(message);
      };
      const died = (): void => settle({ error: 'the reader ended' });
      const timer = setTimeout(() => {
        this.#drop();
        this.#restUntil = performance.now() + defaults.restMs;
        settle({ error: `nvidia-smi gave no answer in ${this.#timeoutMs / 1000} s` });
      }, this.#timeoutMs);
      reader.on('message', settle).on('exit', died);
      reader.send({}, (error) => error && settle({ error: error.message }));
    });
    if (answer.error !== undefined) return this.#failed(answer.error);
    const cards = parseSmi(answer.data);
    const card = this.#uuid === null ? cards[0] : cards.find(({ uuid }) => uuid === this.#uuid);
    if (!card) return this.#failed('its answer names no card with a known amount of memory');
    this.#everRead = true;
    return { kind: 'card', card };
  }

  /** A card that was read before is lost; one that never was is taken as not there. */
  #failed(reason: string): Reading {
    return this.#everRead
      ? { kind: 'lost', reason: `nvidia-smi: ${reason}.` }
      : { kind: 'none', reason: `nvidia-smi: ${reason}.` };
  }

  #start(): ChildProcess {
    const reader = fork(programBeside(import.meta.url, 'nvidia-smi-reader'), {
      execPath: nodePath,
      env: { ...process.env, PATH: this.#path },
      detached: process.platform !== 'win32',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    reader.on('error', () => undefined);
    reader.once('exit', () => {
      if (this.#reader === reader) this.#reader = null;
    });
    reader.unref();
    reader.channel?.unref();
    return reader;
  }

  /** Ends the reader and the nvidia-smi it waits for: they share a process group. */
  #drop(): void {
    const reader = this.#reader;
    this.#reader = null;
    if (reader?.pid !== undefined) void processes.kill(reader.pid, true);
  }
}

function hasSmi(folder: string): boolean {
  return ['nvidia-smi', 'nvidia-smi.exe'].some((name) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
