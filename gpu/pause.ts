import type { KeptPause, KeptState } from './kept-state.ts';
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
  /** Keeps the pause over a restart of the appliance. */
  readonly kept: Pick<KeptState, 'pause' | 'setPause'>;
  readonly onError: (error: unknown) => void;
  readonly lookEveryMs?: number;
}

const longestTimerMs = 24 * 3_600_000;

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
    const since = Date.now();
    this.#hold({
      unload,
      since,
      until: end.kind === 'time' ? since + end.ms : null,
      watched: end.kind === 'process' && watched ? { pid: end.pid, startTime: watched.startTime } : null,
    });
  }

  /** Goes on with the pause that was in force when the appliance ended, unless its end has passed since (bug 24). */
  restore(): void {
    const { pause } = this.#parts.kept;
    if (pause === null) return;
    if (pause.until !== null && pause.until <= Date.now()) this.#parts.kept.setPause(null);
    else this.#hold(pause);
  }

  #hold(pause: KeptPause): void {
    const { unload, since, until, watched } = pause;
    this.#forget();
    this.#since = since;
    this.#until = until;
    this.#parts.setMode(unload ? 'paused' : 'holding');
    this.#parts.kept.setPause(pause);
    if (until !== null) this.#wakeAt(until);
    if (watched) {
      this.#pid = watched.pid;
      this.#timer = setInterval(() => {
        // A look that fails says nothing of the program: it is looked again.
        this.#look(watched.pid, watched.startTime).catch((error: unknown) => this.#parts.onError(error));
      }, this.#lookEveryMs).unref();
    }
  }

  /** Timers take no more than 24 days, and a machine may sleep: the clock decides. */
  #wakeAt(until: number): void {
    const waitMs = Math.min(Math.max(0, until - Date.now()), longestTimerMs);
    this.#timer = setTimeout(() => (Date.now() >= until ? this.end() : this.#wakeAt(until)), waitMs).unref();
  }

  /** Serves again. */
  end(): void {
    this.#forget();
    this.#parts.kept.setPause(null);
    this.#parts.setMode('running');
  }

  /** Stops watching; the pause itself is kept for the next start. */
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
