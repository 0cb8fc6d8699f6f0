import type { Serving } from '../server/shell-link.ts';

/** The part of Electron's utility process that is used. */
export interface HostedProcess {
  postMessage(message: unknown): void;
  kill(): boolean;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  once(event: 'exit', listener: (code: number) => void): unknown;
}

export interface ServerHostOptions {
  readonly fork: () => HostedProcess;
  readonly onServing: (serving: Serving) => void;
  readonly onState: (state: 'starting' | 'serving' | 'restarting' | 'failed' | 'ended') => void;
}

/** What a server that wants to be started again ends with. */
const restartCode = 75;
/** And one that another start would not help. */
const cannotStartCode = 78;
const timing = { firstMs: 500, longestMs: 30_000, endMs: 12_000, crashes: 5, withinMs: 5 * 60_000 } as const;

/** Runs the server in a process of its own, and starts it anew when it dies, unless it does nothing else. */
export class ServerHost {
  readonly #options: ServerHostOptions;
  #process: HostedProcess | null = null;
  #crashes: number[] = [];
  #timer: NodeJS.Timeout | null = null;
  #isEnding = false;

  constructor(options: ServerHostOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#process || this.#isEnding) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    const { fork, onServing, onState } = this.#options;
    onState(this.#crashes.length === 0 ? 'starting' : 'restarting');
    const child = fork();
    this.#process = child;
    child.on('message', (message) => {
      if (!isServing(message)) return;
      onState('serving');
      onServing(message);
    });
    child.once('exit', (code) => {
      this.#process = null;
      if (this.#isEnding) onState('ended');
      else this.#again(code);
    });
  }

  /** Starts it once more after it was given up. */
  retry(): void {
    this.#crashes = [];
    this.start();
  }

  /** Asks it to end, and ends it when it takes too long. Resolves when it is gone. */
  async end(): Promise<void> {
    this.#isEnding = true;
    if (this.#timer) clearTimeout(this.#timer);
    const child = this.#process;
    if (!child) return;
    const gone = new Promise<void>((resolve) => void child.once('exit', () => resolve()));
    child.postMessage('end');
    const tooLong = setTimeout(() => child.kill(), timing.endMs);
    await gone;
    clearTimeout(tooLong);
  }

  #again(code: number): void {
    const now = performance.now();
    if (code === restartCode) {
      this.start();
      return;
    }
    if (code === cannotStartCode) {
      this.#options.onState('failed');
      return;
    }
    this.#crashes = [...this.#crashes.filter((at) => now - at < timing.withinMs), now];
    if (this.#crashes.length >= timing.crashes) {
      this.#options.onState('failed');
      return;
    }
    this.#options.onState('restarting');
    const waitMs = Math.min(timing.longestMs, timing.firstMs * 2 ** (this.#crashes.length - 1));
    this.#timer = setTimeout(() => this.start(), waitMs);
  }
}

function isServing(message: unknown): message is Serving {
  return typeof message === 'object' && message !== null && 'type' in message && message.type === 'serving';
}
