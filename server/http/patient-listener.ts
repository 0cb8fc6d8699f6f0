import type { AddressInfo } from 'node:net';
import type { BaseApp, Tls } from './base-app.ts';

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: Tls | null;
  /** How long after a failure it is tried again. */
  readonly againMs: number;
  /** The setting or variable that chooses the port, for the sentence about a port that is taken. */
  readonly chosenBy: string;
  readonly onChange: (problem: string | null) => void;
}

/**
 * A listener that goes on trying: its port may be taken for a while, and the address of a network that comes up later is
 * not there yet. What else the appliance does goes on meanwhile, and `problem` says what is wrong.
 */
export class PatientListener {
  readonly #app: BaseApp;
  readonly #options: ListenerOptions;
  #problem: string | null = null;
  #again: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(app: BaseApp, options: ListenerOptions) {
    this.#app = app;
    this.#options = options;
  }

  /** Resolves after the first try, whether or not it listens then. */
  async open(): Promise<void> {
    await this.#app.ready();
    await this.#try();
  }

  /** Why nobody is heard, and what to do; null while it listens. */
  get problem(): string | null {
    return this.#problem;
  }

  /** The port that is listened on, or will be. */
  get port(): number {
    return (this.#app.server.address() as AddressInfo | null)?.port ?? this.#options.port;
  }

  /** Where it is reached from this machine, or will be. */
  get url(): string {
    const { host, tls } = this.#options;
    const address = (this.#app.server.address() as AddressInfo | null)?.address ?? host;
    return `${tls ? 'https' : 'http'}://${address === '0.0.0.0' ? '127.0.0.1' : address}:${this.port}`;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#again) clearTimeout(this.#again);
    await this.#app.close();
  }

  async #try(): Promise<void> {
    const { host, port, againMs, onChange } = this.#options;
    const before = this.#problem;
    try {
      await this.#app.listen({ host, port });
      this.#problem = null;
    } catch (error) {
      this.#problem = this.#sentence(error as NodeJS.ErrnoException);
      if (!this.#isClosed) this.#again = setTimeout(() => void this.#try(), againMs).unref();
    }
    if (this.#problem !== before) onChange(this.#problem);
  }

  #sentence({ code, message }: NodeJS.ErrnoException): string {
    const { host, port, chosenBy } = this.#options;
    if (code === 'EADDRINUSE')
      return `Port ${port} is taken by another program. End that program, or choose another port with ${chosenBy}.`;
    if (code === 'EACCES')
      return `This user may not use port ${port}. Choose one above 1023 with ${chosenBy}.`;
    return `Nothing can listen on ${host}:${port} (${code ?? message}). Is that an address of this machine?`;
  }
}
