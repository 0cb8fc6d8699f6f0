import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { execa } from 'execa';
import { Backoff, type RestartPolicy } from './backoff.ts';
import { childEnv } from './child-env.ts';
import { ChildError, endingOf } from './child-error.ts';
import { endProcess } from './end-process.ts';
import { KeeperLink } from './keeper-link.ts';
import { type LogLine, LogRing } from './log-ring.ts';
import type { Processes } from './processes.ts';
import { Roster } from './roster.ts';
import { type ChildEvent, type ChildState, nextState } from './states.ts';

export interface ChildSpec {
  readonly id: string;
  /** An executable, never a shell script or .bat: those respawn and leave us holding an empty shell. */
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The port it will listen on, to be sure that who answers there is our child. */
  readonly port: number | null;
  /** Resolves when the program serves; is asked again until then. Rejects while it does not. */
  readonly probe: (signal: AbortSignal) => Promise<void>;
  /** Whether an error of the probe is one that no further try can mend. Missing: none is. */
  readonly isFinal?: (error: unknown) => boolean;
  readonly readyTimeoutMs: number;
  readonly graceMs?: number;
  readonly restart: RestartPolicy;
}

const limits = {
  graceMs: 5_000,
  probeEveryMs: 150,
  stopDeadlineMs: 9_000,
  outputBytesPerTurn: 1024 * 1024,
  outputTurnMs: 100,
} as const;

/** Starts and ends the programs of the appliance, and sees to it that none outlives it. */
export class Supervisor {
  readonly #owner: string;
  readonly #processes: Processes;
  readonly #keeper: KeeperLink;
  readonly #roster: Roster;
  readonly #children = new Set<SupervisedChild>();
  readonly #guarded = new Set<number>();

  /** `owner` names this installation; it must stay the same over restarts. */
  constructor(options: { owner: string; rosterFile: string; processes: Processes }) {
    this.#owner = options.owner;
    this.#processes = options.processes;
    this.#keeper = new KeeperLink(options.owner);
    this.#roster = new Roster(options.rosterFile);
  }

  /** Ends what an earlier run left behind; returns how many processes that were. */
  async reap(): Promise<number> {
    return (await this.#roster.reap(this.#processes, this.#owner)).length;
  }

  child(spec: ChildSpec): SupervisedChild {
    const child = new SupervisedChild(spec, {
      owner: this.#owner,
      processes: this.#processes,
      keeper: this.#keeper,
      roster: this.#roster,
    });
    this.#children.add(child);
    return child;
  }

  /** Environment and marks for a short command whose processes may stay (a daemon's launcher). */
  envFor(child: string, extra: Readonly<Record<string, string>> = {}): Record<string, string> {
    return childEnv(process.env, { owner: this.#owner, child }, extra);
  }

  /**
   * The appliance's own processes: itself, its children, and what those started as far as the system tells (on Windows
   * only what was started or guarded here).
   */
  async pids(): Promise<ReadonlySet<number>> {
    const children = [...this.#children].flatMap(({ pid }) => pid ?? []);
    const marked = await this.#processes.marked({ owner: this.#owner });
    return new Set([process.pid, ...children, ...this.#guarded, ...marked]);
  }

  /** Makes the keeper end a process that is not our direct child but was started for us. */
  guard(pid: number, child: string): void {
    this.#guarded.add(pid);
    this.#keeper.track(pid, child);
  }

  /** Stops all children at once and lets the keeper go. */
  async close(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.stop()));
    await this.#keeper.close();
  }
}

interface World {
  readonly owner: string;
  readonly processes: Processes;
  readonly keeper: KeeperLink;
  readonly roster: Roster;
}

/** One program and its state machine. Callers ask for the state they need; they never act on one they read. */
export class SupervisedChild {
  readonly spec: ChildSpec;
  readonly #world: World;
  readonly #logs = new LogRing();
  readonly #backoff: Backoff;
  readonly #exitListeners: ((reason: string) => void)[] = [];
  #state: ChildState = 'stopped';
  #pid: number | null = null;
  #mark = '';
  /** True while we end it: its death is then no failure. */
  #ending = false;
  #startedAt = 0;
  #restartAt = 0;
  #failure: string | null = null;
  #starting: Promise<void> | null = null;
  #stopping: Promise<void> | null = null;
  #abortStart: AbortController | null = null;
  #restartTimer: NodeJS.Timeout | null = null;

  constructor(spec: ChildSpec, world: World) {
    this.spec = spec;
    this.#world = world;
    this.#backoff = new Backoff(spec.restart);
  }

  /** For display. */
  get state(): ChildState {
    return this.#state;
  }

  get pid(): number | null {
    return this.#pid;
  }

  /** Why it last went down, in words. */
  get failure(): string | null {
    return this.#failure;
  }

  /** When it is started again by itself or may be asked for again, wall-clock milliseconds; null while it is well. */
  get retryAt(): number | null {
    const isDown = this.#state === 'backoff' || this.#state === 'failed';
    return isDown ? Date.now() + Math.max(0, this.#restartAt - performance.now()) : null;
  }

  logs(): LogLine[] {
    return this.#logs.lines();
  }

  onExit(listener: (reason: string) => void): void {
    this.#exitListeners.push(listener);
  }

  /** Resolves once the program serves, starting it if need be. Rejects with a ChildError. */
  async ensureReady(signal: AbortSignal): Promise<void> {
    if (this.#stopping) await this.#stopping;
    if (this.#state === 'ready') return;
    if (this.#state === 'failed' && performance.now() < this.#restartAt) {
      throw new ChildError('given_up', this.#failure ?? `${this.spec.id} was given up.`);
    }
    this.#starting ??= this.#start().finally(() => (this.#starting = null));
    await abortable(this.#starting, signal);
  }

  /** Resolves once nothing of it is left (P6); the next start is a fresh one. Concurrent calls join. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop().finally(() => (this.#stopping = null));
    return this.#stopping;
  }

  async #start(): Promise<void> {
    const wait = this.#restartAt - performance.now();
    const abort = new AbortController();
    this.#abortStart = abort;
    if (this.#state === 'backoff' && wait > 0) await pause(wait, abort.signal);
    if (this.#restartTimer) clearTimeout(this.#restartTimer);
    abort.signal.throwIfAborted();
    this.#move('start');
    try {
      await this.#refuseForeignPort();
      await this.#launch(abort);
      await this.#untilServing(abort.signal);
      this.#move('ready');
      this.#logs.note(`ready after ${Math.round(performance.now() - this.#startedAt)} ms`, Date.now());
    } catch (error) {
      if (this.#state !== 'starting') throw error;
      this.#failure = error instanceof Error ? error.message : String(error);
      const refused =
        error instanceof ChildError && (error.kind === 'port_taken' || error.kind === 'refused');
      await this.#end();
      // A death during the start was already counted by the exit handler.
      if (refused) this.#refused();
      else if (this.#state === 'starting') this.#died(this.#failure);
      throw error;
    } finally {
      this.#abortStart = null;
    }
  }

  /** P3: a stranger on our port is reported, not spoken to. */
  async #refuseForeignPort(): Promise<void> {
    const { port } = this.spec;
    if (port === null) return;
    const listeners = await this.#world.processes.listeners(port);
    if (listeners && listeners.length > 0) {
      throw new ChildError(
        'port_taken',
        `Port ${port} of ${this.spec.id} is held by process ${listeners.join(', ')}. End that program, or set another port.`,
      );
    }
  }

  async #launch(abort: AbortController): Promise<void> {
    this.#mark = `${this.spec.id}:${randomUUID()}`;
    this.#startedAt = performance.now();
    const child = execa(this.spec.command, [...this.spec.args], {
      ...(this.spec.cwd !== undefined && { cwd: this.spec.cwd }),
      env: childEnv(process.env, this.#marks, this.spec.env),
      extendEnv: false,
      stdin: 'ignore',
      // Unread output would be kept in memory; it is read here, into the ring.
      buffer: false,
      // A group of its own, so that the whole tree can be signalled; ended by us, never by execa.
      detached: process.platform !== 'win32',
      cleanup: false,
      reject: false,
      windowsHide: true,
    });
    const { pid } = child;
    readSteadily(child.stdout, (piece) => this.#output('out', piece));
    readSteadily(child.stderr, (piece) => this.#output('err', piece));
    void child.then((result) => {
      const reason = pid === undefined ? `could not be started (${spawnFailure(result)})` : endingOf(result);
      abort.abort(new ChildError('ended', `${this.spec.id} ${reason}.${this.#lastWords()}`));
      if (this.#pid === pid || pid === undefined) this.#exited(reason);
    });
    if (pid === undefined) return;
    this.#pid = pid;
    this.#world.keeper.track(pid, this.#mark);
    // Without its name it is not written down; the marks find it all the same where the system tells them.
    const identity = await this.#world.processes.identity(pid).catch(() => null);
    if (identity) this.#world.roster.add({ pid, child: this.#mark, ...identity });
    this.#logs.note(`started as process ${pid}`, Date.now());
  }

  async #untilServing(aborted: AbortSignal): Promise<void> {
    const deadline = AbortSignal.timeout(this.spec.readyTimeoutMs);
    const signal = AbortSignal.any([aborted, deadline]);
    for (;;) {
      try {
        await this.spec.probe(signal);
        break;
      } catch (error) {
        if (aborted.aborted) throw aborted.reason;
        if (deadline.aborted) {
          const { id, readyTimeoutMs } = this.spec;
          throw new ChildError(
            'not_ready',
            `${id} was not ready within ${readyTimeoutMs / 1000} s.${this.#lastWords()}`,
          );
        }
        if (this.spec.isFinal?.(error)) {
          throw new ChildError('refused', error instanceof Error ? error.message : String(error), {
            cause: error,
          });
        }
      }
      await pause(limits.probeEveryMs, signal).catch(() => undefined);
    }
    await this.#proveOwnPort();
    aborted.throwIfAborted();
  }

  get #marks(): { owner: string; child: string } {
    return { owner: this.#world.owner, child: this.#mark };
  }

  /** What answered must be ours: our process, or one that carries our mark. */
  async #proveOwnPort(): Promise<void> {
    const { port } = this.spec;
    if (port === null) return;
    const listeners = await this.#world.processes.listeners(port);
    if (!listeners || listeners.length === 0) return;
    const ours = new Set([this.#pid, ...(await this.#world.processes.marked(this.#marks))]);
    if (!listeners.some((pid) => ours.has(pid))) {
      throw new ChildError(
        'port_taken',
        `Port ${port} of ${this.spec.id} is answered by process ${listeners.join(', ')}. End that program, or set another port.`,
      );
    }
  }

  #output(stream: 'out' | 'err', piece: string): void {
    this.#logs.write(stream, piece, Date.now());
  }

  #exited(reason: string): void {
    const pid = this.#pid;
    this.#pid = null;
    this.#logs.note(reason, Date.now());
    if (pid !== null) {
      this.#world.keeper.untrack(pid);
      this.#world.roster.remove(pid);
    }
    if (!this.#ending && (this.#state === 'starting' || this.#state === 'ready')) {
      const wasReady = this.#state === 'ready';
      this.#failure = `${this.spec.id} ${reason}.${this.#lastWords()}`;
      // What it started may live on and hold its memory and port.
      void endProcess(
        this.#world.processes,
        { pid: null, mark: this.#marks },
        { graceMs: 0, deadlineMs: 3_000 },
      );
      this.#died(this.#failure, wasReady);
      if (wasReady) for (const listener of this.#exitListeners) listener(this.#failure);
    }
  }

  #lastWords(): string {
    const line = this.#logs.lines().findLast(({ stream, text }) => stream === 'err' && text.trim() !== '');
    return line ? ` It said last: ${line.text.slice(0, 300)}` : '';
  }

  /** Counts a death: wait and start again, or give it up (P4). */
  #died(reason: string, comeBack = false): void {
    const now = performance.now();
    this.#move('died');
    const { waitMs, isGivenUp } = this.#backoff.died(now, now - this.#startedAt);
    this.#restartAt = now + waitMs;
    if (isGivenUp) {
      this.#failure = `${reason} It was given up after repeated failures, and is tried again in ${inWords(waitMs)} or when somebody starts it.`;
      this.#move('exhausted');
      return;
    }
    // What was serving comes back by itself; what never came up waits to be asked for.
    if (comeBack) {
      this.#restartTimer = setTimeout(() => {
        this.#restartTimer = null;
        if (this.#state === 'backoff') this.ensureReady(new AbortController().signal).catch(() => undefined);
      }, waitMs);
      this.#restartTimer.unref();
    }
  }

  /** It cannot start as things are: asked for before the next try, it rejects at once. */
  #refused(): void {
    this.#move('refuse');
    this.#restartAt = performance.now() + this.#backoff.refused().waitMs;
  }

  async #stop(): Promise<void> {
    if (this.#restartTimer) clearTimeout(this.#restartTimer);
    this.#restartTimer = null;
    const starting = this.#starting;
    if (this.#state === 'starting' || this.#state === 'ready') this.#move('stop');
    this.#abortStart?.abort(new ChildError('stopped', `${this.spec.id} is being stopped.`));
    await starting?.catch(() => undefined);
    await this.#end();
    this.#backoff.reset();
    if (this.#state === 'stopping') this.#move('gone');
    else if (this.#state === 'backoff' || this.#state === 'failed') this.#move('stop');
  }

  async #end(): Promise<void> {
    if (this.#mark === '') return;
    const pid = this.#pid;
    this.#ending = true;
    const left = await endProcess(
      this.#world.processes,
      { pid, mark: this.#marks },
      { graceMs: this.spec.graceMs ?? limits.graceMs, deadlineMs: limits.stopDeadlineMs },
    );
    if (left.length > 0) this.#logs.note(`process ${left.join(', ')} could not be ended`, Date.now());
    if (pid !== null && this.#pid === pid) this.#exited('was stopped');
    this.#ending = false;
  }

  #move(event: ChildEvent): void {
    this.#state = nextState(this.#state, event);
  }
}

/**
 * Reads output no faster than it is worth: a program that floods its log waits for its own pipe, and costs us
 * neither memory nor the processor (P8).
 */
function readSteadily(stream: Readable, take: (piece: string) => void): void {
  let allowance: number = limits.outputBytesPerTurn;
  stream.setEncoding('utf8').on('data', (piece: string) => {
    take(piece);
    allowance -= piece.length;
    if (allowance > 0) return;
    stream.pause();
    setTimeout(() => {
      allowance = limits.outputBytesPerTurn;
      stream.resume();
    }, limits.outputTurnMs).unref();
  });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', stop, { once: true });
    function done(): void {
      signal.removeEventListener('abort', stop);
      resolve();
    }
    function stop(): void {
      clearTimeout(timer);
      reject(signal.reason);
    }
    if (signal.aborted) stop();
  });
}

function spawnFailure(result: { code?: string | undefined; shortMessage?: string | undefined }): string {
  return result.code === 'ENOENT'
    ? 'there is no such program'
    : (result.shortMessage ?? 'no reason was given');
}

function inWords(ms: number): string {
  return ms < 90_000 ? `${Math.ceil(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

/** Waits for what others also wait for, but no longer than this caller wants. */
function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const givenUp = (): ChildError => new ChildError('stopped', 'Nobody waits for it any more.');
  if (signal.aborted) return Promise.reject(givenUp());
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(givenUp());
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
