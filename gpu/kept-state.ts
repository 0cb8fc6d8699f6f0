import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { GpuLog } from './gpu-log.ts';

/** A pause as it is written down. Times are wall-clock milliseconds. */
export interface KeptPause {
  readonly unload: boolean;
  readonly since: number;
  readonly until: number | null;
  /** The program whose end is waited for, by its number and the name that no later program with that number shares. */
  readonly watched: { readonly pid: number; readonly startTime: string } | null;
}

/** What the operator decided about the GPU, and what holds until the operator decides otherwise. */
interface Decisions {
  readonly stoppedEngines: readonly string[];
  readonly pause: KeptPause | null;
}

const nothing: Decisions = { stoppedEngines: [], pause: null };

/**
 * Keeps the operator's decisions over restarts of the appliance, in one small file: stopped engines and a pause. A disk
 * that takes no writes does not undo a decision; it is then only forgotten at the next start, and the log says so.
 */
export class KeptState {
  readonly #file: string | null;
  readonly #log: GpuLog;
  #now: Decisions;

  /** Without a file nothing is kept. */
  constructor(file: string | null, log: GpuLog) {
    this.#file = file;
    this.#log = log;
    this.#now = file === null ? nothing : read(file, log);
  }

  get stoppedEngines(): readonly string[] {
    return this.#now.stoppedEngines;
  }

  get pause(): KeptPause | null {
    return this.#now.pause;
  }

  setStopped(engineId: string, isStopped: boolean): void {
    const others = this.#now.stoppedEngines.filter((id) => id !== engineId);
    if (!isStopped && others.length === this.#now.stoppedEngines.length) return;
    this.#set({ ...this.#now, stoppedEngines: isStopped ? [...others, engineId] : others });
  }

  setPause(pause: KeptPause | null): void {
    if (pause === null && this.#now.pause === null) return;
    this.#set({ ...this.#now, pause });
  }

  #set(decisions: Decisions): void {
    this.#now = decisions;
    if (this.#file === null) return;
    try {
      mkdirSync(dirname(this.#file), { recursive: true });
      const draft = `${this.#file}.new`;
      writeFileSync(draft, JSON.stringify(decisions, null, 2), { mode: 0o600 });
      renameSync(draft, this.#file);
    } catch (error) {
      this.#log('error', 'the operator’s decisions about the GPU could not be written down', {
        file: this.#file,
        error: error instanceof Error ? error.message : String(error),
      });
    }
  }
}

function read(file: string, log: GpuLog): Decisions {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // The first start.
    return nothing;
  }
  try {
    const parsed: unknown = JSON.parse(text);
    if (isDecisions(parsed)) return parsed;
    throw new Error('it holds something else');
  } catch (error) {
    log('error', 'the operator’s decisions about the GPU could not be read; nothing is stopped or paused', {
      file,
      error: error instanceof Error ? error.message : String(error),
    });
    return nothing;
  }
}

function isDecisions(value: unknown): value is Decisions {
  if (typeof value !== 'object' || value === null) return false;
  const { stoppedEngines, pause } = value as Record<string, unknown>;
  const areIds = Array.isArray(stoppedEngines) && stoppedEngines.every((id) => typeof id === 'string');
  return areIds && (pause === null || isPause(pause));
}

function isPause(value: unknown): value is KeptPause {
  if (typeof value !== 'object' || value === null) return false;
  const { unload, since, until, watched } = value as Record<string, unknown>;
  if (typeof unload !== 'boolean' || typeof since !== 'number') return false;
  if (until !== null && typeof until !== 'number') return false;
  if (watched === null) return true;
  if (typeof watched !== 'object') return false;
  const { pid, startTime } = watched as Record<string, unknown>;
  return typeof pid === 'number' && typeof startTime === 'string';
}
