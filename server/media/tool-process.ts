import { type ChildProcess, fork } from 'node:child_process';
import { nodePath } from '../../gpu/program.ts';
import { limits } from '../contract/limits.ts';
import { FairTurns } from './fair-turns.ts';

interface ToolOptions {
  /** The program: it answers what arrives with `serveTool`. */
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  /** When one takes longer than this, the program is ended over it. */
  readonly requestMs: number;
  /** It ends when nobody asked for so long, and is started again when somebody does. */
  readonly idleMs: number;
}

/** The program ended, or took too long, over what it was asked. */
export class ToolDied extends Error {
  override readonly name = 'ToolDied';
}

/** What the program says of something that it will not do. */
export class ToolRefusal extends Error {
  override readonly name = 'ToolRefusal';
}

/** What it is asked at the moment. */
interface Pending {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

export type ToolReply = { answer: unknown } | { refusal: string } | { failure: string };

/**
 * A program of ours for work that may kill who does it: files that strangers made. It does one thing at a time, so that
 * nobody else’s dies with it; whoever asked is told, and the next one gets a new process. It ends with us: its channel
 * closes when we are gone, however we went (P1).
 */
export class ToolProcess {
  readonly #options: ToolOptions;
  readonly #turns = new FairTurns(limits.toolWaitingOfEach);
  #pending: Pending | null = null;
  #child: ChildProcess | null = null;
  #idle: NodeJS.Timeout | null = null;

  constructor(options: ToolOptions) {
    this.#options = options;
  }

  /**
   * What the program makes of a request, when the turn of whoever asks (a tenant) has come. Rejects with ToolRefusal,
   * ToolDied, an ApiError where too much of the same tenant waits already, or an Error for the program's own faults.
   */
  ask(request: unknown, tenant: string): Promise<unknown> {
    return this.#turns.run(tenant, () => this.#send(request));
  }

  close(): void {
    if (this.#idle) clearTimeout(this.#idle);
    this.#end();
  }

  async #send(request: unknown): Promise<unknown> {
    if (this.#idle) clearTimeout(this.#idle);
    const child = (this.#child ??= this.#start());
    const slow = setTimeout(() => this.#end(), this.#options.requestMs);
    try {
      return await new Promise((resolve, reject) => {
        this.#pending = { resolve, reject };
        child.send(request as object, (error) => error && this.#lose(child));
      });
    } finally {
      clearTimeout(slow);
      this.#pending = null;
      this.#idle = setTimeout(() => this.#end(), this.#options.idleMs).unref();
    }
  }

  #start(): ChildProcess {
    const { program, env } = this.#options;
    const child = fork(program, {
      execPath: nodePath,
      env,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child.on('message', (reply) => this.#child === child && this.#settle(reply as ToolReply));
    child.on('error', () => this.#lose(child));
    child.on('exit', () => this.#lose(child));
    // It must not keep us from ending; a request that waits for it does.
    child.unref();
    child.channel?.unref();
    return child;
  }

  #settle(reply: ToolReply): void {
    if ('answer' in reply) this.#pending?.resolve(reply.answer);
    else if ('refusal' in reply) this.#pending?.reject(new ToolRefusal(reply.refusal));
    else this.#pending?.reject(new Error(reply.failure));
  }

  /** Ends the program. Whoever asks next gets a new one, though this one may take a moment to be gone. */
  #end(): void {
    const child = this.#child;
    if (!child) return;
    this.#lose(child);
    child.kill('SIGKILL');
  }

  #lose(child: ChildProcess): void {
    if (this.#child !== child) return;
    this.#child = null;
    this.#pending?.reject(new ToolDied('The program ended over it.'));
  }
}
