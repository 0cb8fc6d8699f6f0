import { type ChildProcess, spawn } from 'node:child_process';
import { childEnv } from './child-env.ts';
import { nodePath, programBeside } from '../program.ts';

/** Our end of the keeper: it is started with the first child and told of every one. */
export class KeeperLink {
  readonly #owner: string;
  #keeper: ChildProcess | null = null;
  readonly #tracked = new Map<number, string>();

  constructor(owner: string) {
    this.#owner = owner;
  }

  track(pid: number, child: string): void {
    this.#tracked.set(pid, child);
    if (this.#keeper) this.#tell(`+${pid} ${child}`);
    else this.#start();
  }

  untrack(pid: number): void {
    this.#tracked.delete(pid);
    this.#tell(`-${pid}`);
  }

  /** Lets the keeper end what is left and go. Resolves when it is gone. */
  async close(): Promise<void> {
    const keeper = this.#keeper;
    this.#keeper = null;
    if (!keeper || keeper.exitCode !== null) return;
    const gone = new Promise((resolve) => keeper.once('exit', resolve));
    keeper.ref();
    keeper.stdin?.end();
    await gone;
  }

  #start(): void {
    const script = programBeside(import.meta.url, 'keeper');
    const keeper = spawn(nodePath, [script, this.#owner], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      windowsHide: true,
      // Its own mark would make it end itself.
      env: childEnv(process.env, { owner: 'keeper', child: 'keeper' }),
    });
    // A keeper that dies is replaced: its children are told to the next one.
    keeper.once('exit', () => {
      if (this.#keeper !== keeper) return;
      this.#keeper = null;
      if (this.#tracked.size > 0) this.#start();
    });
    keeper.on('error', () => undefined);
    keeper.stdin?.on('error', () => undefined);
    keeper.unref();
    this.#keeper = keeper;
    for (const [pid, child] of this.#tracked) this.#tell(`+${pid} ${child}`);
  }

  #tell(line: string): void {
    this.#keeper?.stdin?.write(`${line}\n`);
  }
}
