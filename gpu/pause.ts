import type { Mode } from './vram/state.ts';

/** How long the GPU is somebody else's. */
export type PauseEnd =
  | { readonly kind: 'resumed' }
  | { readonly kind: 'time'; readonly ms: number }
  /** Until a program of the operator's has ended: a game. */
  | { readonly kind: 'process'; readonly pid: number };

export interface PauseStatus {
  readonly mode: Mode;
  /** Wall-clock milliseconds; null while it runs. */
  readonly since: number | null;
  readonly until: number | null;
  readonly pid: number | null;
}

interface PauseParts {
  readonly mode: () => Mode;
  readonly setMode: (mode: Mode) => void;
  /** A name for a living process that no later one with its pid shares; null when it is gone. */
  readonly identity: (pid: number) => Promise<{ startTime: string } | null>;
  readonly lookEveryMs?: number;
}

/** There is no such program: nothing was paused. */
export class NoSuchProcess extends Error {
  override readonly name = 'NoSuchProcess';
}

/** Takes the GPU back from everybody, and gives it to them again by itself when that was said. */
export class Pause {
  readonly #parts: PauseParts;
  readonly #lookEveryMs: number;
  #timer: NodeJS.Timeout | null = null;
  #since: number | null = null;
  #until: number | null = null;
  #pid: number | null = null;

  constructor(parts: PauseParts) {
    this.#parts = parts;
    this.#lookEveryMs = parts.lookEveryMs ?? 2_000;
  }

  status(): PauseStatus {
    return { mode: this.#parts.mode(), since: this.#since, until: this.#until, pid: this.#pid };
  }

  /** Nothing new starts and what runs ends; with `unload`, models leave. Rejects with NoSuchProcess. */
  async begin(unload: boolean, end: PauseEnd): Promise<void> {
    const watched = end.kind === 'process' ? await this.#parts.identity(end.pid) : null;
    if (end.kind === 'process' && !watched) throw new NoSuchProcess(`There is no process ${end.pid}.`);
    this.#forget();
    this.#since = Date.now();
    this.#parts.setMode(unload ? 'paused' : 'holding');
    if (end.kind === 'time') {
      this.#until = this.#since + end.ms;
      this.#timer = setTimeout(() => this.end(), end.ms).unref();
    }
    if (end.kind === 'process' && watched) {
      this.#pid = end.pid;
      this.#timer = setInterval(() => void this.#look(end.pid, watched.startTime), this.#lookEveryMs).unref();
    }
  }

  /** Serves again. */
  end(): void {
    this.#forget();
    this.#parts.setMode('running');
  }

  close(): void {
    this.#forget();
  }

  async #look(pid: number, startTime: string): Promise<void> {
    const now = await this.#parts.identity(pid);
    // Another program may have its number by now.
    if (now?.startTime !== startTime && this.#pid === pid) this.end();
  }

  #forget(): void {
    // A timer and an interval are cleared alike.
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#since = null;
    this.#until = null;
    this.#pid = null;
  }
}
