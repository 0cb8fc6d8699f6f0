import { type ChildProcess, fork } from 'node:child_process';
import pLimit, { type LimitFunction } from 'p-limit';

interface ToolOptions {
  /** The program: it answers what arrives with `serveTool`. */
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  /** One that takes longer than this is ended, with whatever else it works on. */
  readonly requestMs: number;
  readonly atOnce: number;
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

interface Pending {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

export type ToolReply = { id: number } & ({ answer: unknown } | { refusal: string } | { failure: string });

/**
 * A program of ours for work that may kill who does it: files that strangers made. It dies alone, whoever asked is
 * told, and the next one gets a new process. It ends with us: its channel closes when we are gone, however we went (P1).
 */
export class ToolProcess {
  readonly #options: ToolOptions;
  readonly #turns: LimitFunction;
  readonly #pending = new Map<number, Pending>();
  #child: ChildProcess | null = null;
  #idle: NodeJS.Timeout | null = null;
  #last = 0;

  constructor(options: ToolOptions) {
    this.#options = options;
    this.#turns = pLimit(options.atOnce);
  }

  /** What the program makes of a request. Rejects with ToolRefusal, ToolDied, or an Error for its own faults. */
  ask(request: unknown): Promise<unknown> {
    return this.#turns(() => this.#send(request));
  }

  close(): void {
    if (this.#idle) clearTimeout(this.#idle);
    this.#child?.kill('SIGKILL');
  }

  async #send(request: unknown): Promise<unknown> {
    if (this.#idle) clearTimeout(this.#idle);
    const child = (this.#child ??= this.#start());
    const id = (this.#last += 1);
    const slow = setTimeout(() => child.kill('SIGKILL'), this.#options.requestMs);
    try {
      return await new Promise((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        child.send({ id, request }, (error) => error && this.#lose(child));
      });
    } finally {
      clearTimeout(slow);
      this.#pending.delete(id);
      if (this.#pending.size === 0) {
        this.#idle = setTimeout(() => this.#child?.kill('SIGKILL'), this.#options.idleMs).unref();
      }
    }
  }

  #start(): ChildProcess {
    const { program, env } = this.#options;
    const child = fork(program, {
      env,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child.on('message', (reply) => this.#settle(reply as ToolReply));
    child.on('error', () => this.#lose(child));
    child.on('exit', () => this.#lose(child));
    // It must not keep us from ending; a request that waits for it does.
    child.unref();
    child.channel?.unref();
    return child;
  }

  #settle(reply: ToolReply): void {
    const pending = this.#pending.get(reply.id);
    if ('answer' in reply) pending?.resolve(reply.answer);
    else if ('refusal' in reply) pending?.reject(new ToolRefusal(reply.refusal));
    else pending?.reject(new Error(reply.failure));
  }

  #lose(child: ChildProcess): void {
    if (this.#child !== child) return;
    this.#child = null;
    for (const { reject } of this.#pending.values()) reject(new ToolDied('The program ended over it.'));
  }
}
