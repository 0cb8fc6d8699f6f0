import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { RestartPolicy } from '../../gpu/supervisor/backoff.ts';
import type { LogLine } from '../../gpu/supervisor/log-ring.ts';
import type { SupervisedChild, Supervisor } from '../../gpu/supervisor/supervisor.ts';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';
import { findCloudflared, tunnelArgs, type TunnelMode } from './cloudflared.ts';

interface TunnelSettings {
  /** cloudflared's place; looked for when null. */
  readonly cloudflared: string | null;
  /** Of a named tunnel; a quick one is made when null. */
  readonly token: string | null;
  /** A named tunnel's address, which only its owner's dashboard knows. */
  readonly address: string | null;
}

export interface TunnelStatus {
  readonly state: 'off' | 'starting' | 'up' | 'reconnecting' | 'failed';
  readonly mode: TunnelMode;
  /** Where the world reaches the tenant API; null while that is not known. */
  readonly address: string | null;
  /** Connections to Cloudflare's edge. */
  readonly connections: number;
  /** Why it is not up, and what to do. */
  readonly problem: string | null;
  /** When it is tried again by itself, wall-clock milliseconds; null while it is up, off or being tried. */
  readonly nextTryAt: number | null;
}

interface TunnelParts {
  readonly supervisor: Supervisor;
  readonly settings: TunnelSettings;
  readonly restart: RestartPolicy;
  readonly tokenFile: string;
  /** The tunnel's own listener. */
  readonly localPort: number;
  readonly metricsPort: () => Promise<number>;
  /** Whether anybody could come in: without a key the way out stays shut. */
  readonly hasKeys: () => boolean;
  readonly log: (message: string, about: object) => void;
}

/** cloudflared, supervised as the engines are: the way from the internet to the tenant API, and to nothing else. */
export class Tunnel {
  readonly #parts: TunnelParts;
  #child: SupervisedChild | null = null;
  #metrics = '';
  #status: TunnelStatus;
  #timer: NodeJS.Timeout | null = null;
  #attempt: Promise<void> | null = null;
  /** Aborted when it is shut; null while nobody wants it open. */
  #wanted: AbortController | null = null;

  constructor(parts: TunnelParts) {
    this.#parts = parts;
    const { token, address } = parts.settings;
    this.#status = {
      state: 'off',
      mode: token === null ? 'quick' : 'named',
      address,
      connections: 0,
      problem: null,
      nextTryAt: null,
    };
  }

  status(): TunnelStatus {
    return this.#status;
  }

  logs(): readonly LogLine[] {
    return this.#child?.logs() ?? [];
  }

  /**
   * Resolves once it is connected. Rejects with an ApiError that says what is missing; where that may pass (no internet),
   * it is tried again for as long as the tunnel is wanted.
   */
  async start(): Promise<TunnelStatus> {
    const { settings, hasKeys } = this.#parts;
    if (!hasKeys())
      throw new ApiError(
        'conflict',
        'There is no key yet: whoever came in could do nothing. Make one first.',
      );
    const command = await findCloudflared(settings.cloudflared);
    if (command === null) {
      throw new ApiError(
        'conflict',
        'cloudflared was not found. Install it from https://developers.cloudflare.com/cloudflare-one/, or set tunnel.cloudflared to its place.',
      );
    }
    this.#wanted ??= new AbortController();
    this.#child ??= await this.#make(command);
    // Whoever asks is not kept waiting for the next try.
    if (this.#attempt === null && this.#child.state !== 'ready') await this.#child.stop();
    await this.#bringUp();
    return this.#status;
  }

  async stop(): Promise<void> {
    this.#wanted?.abort();
    this.#wanted = null;
    if (this.#timer) clearTimeout(this.#timer);
    await this.#child?.stop();
    this.#set({ state: 'off', connections: 0, problem: null, nextTryAt: null });
  }

  async #make(command: string): Promise<SupervisedChild> {
    const { supervisor, settings, tokenFile, localPort, metricsPort } = this.#parts;
    const port = await metricsPort();
    this.#metrics = `http://127.0.0.1:${port}`;
    const mode = this.#status.mode;
    if (settings.token !== null) {
      mkdirSync(dirname(tokenFile), { recursive: true, mode: 0o700 });
      writeFileSync(tokenFile, settings.token, { mode: 0o600 });
    }
    const child = supervisor.child({
      id: 'cloudflared',
      command,
      args: tunnelArgs({ mode, metricsPort: port, localPort, tokenFile }),
      port,
      probe: (signal) => this.#connected(signal),
      readyTimeoutMs: limits.tunnel.readyMs,
      restart: this.#parts.restart,
    });
    child.onExit((reason) => {
      if (!this.#wanted) return;
      this.#set({ state: 'reconnecting', connections: 0, problem: reason, nextTryAt: child.retryAt });
      this.#later(this.#untilRetryMs());
    });
    return child;
  }

  /** Brings it up, or says why not; tried again while it is wanted. Concurrent calls join. */
  #bringUp(): Promise<void> {
    this.#attempt ??= this.#try().finally(() => (this.#attempt = null));
    return this.#attempt;
  }

  async #try(): Promise<void> {
    const { state } = this.#status;
    if (!this.#child || !this.#wanted) return;
    this.#set({ state: state === 'off' ? 'starting' : state, nextTryAt: null });
    try {
      await this.#child.ensureReady(this.#wanted.signal);
      await this.#look();
      this.#later(limits.tunnel.lookEveryMs);
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      const wasUp = state === 'up' || state === 'reconnecting';
      // Shut in the meantime.
      if (this.#wanted) {
        const nextTryAt = Date.now() + this.#untilRetryMs();
        this.#set({ state: wasUp ? 'reconnecting' : 'failed', connections: 0, problem, nextTryAt });
        this.#parts.log('the tunnel is down', { problem });
        this.#later(this.#untilRetryMs());
      }
      throw new ApiError('tunnel_unavailable', `The tunnel is not open. ${problem}`, { cause: error });
    }
  }

  #untilRetryMs(): number {
    return Math.max(0, (this.#child?.retryAt ?? Date.now() + limits.tunnel.lookEveryMs) - Date.now());
  }

  /** Looks again whether it still is connected. */
  #later(afterMs: number): void {
    if (this.#timer) clearTimeout(this.#timer);
    if (!this.#wanted) return;
    this.#timer = setTimeout(() => {
      const isUp = this.#child?.state === 'ready';
      const looked = isUp
        ? this.#look().finally(() => this.#later(limits.tunnel.lookEveryMs))
        : this.#bringUp();
      // Said in the status.
      looked.catch(() => undefined);
    }, afterMs).unref();
  }

  async #look(): Promise<void> {
    const { readyConnections: connections } = await this.#ask<{ readyConnections: number }>('/ready').catch(
      () => ({
        readyConnections: 0,
      }),
    );
    const address =
      this.#status.mode === 'quick'
        ? await this.#ask<{ hostname: string }>('/quicktunnel').then(({ hostname }) => `https://${hostname}`)
        : this.#parts.settings.address;
    const isUp = connections > 0;
    const problem = isUp ? null : 'Cloudflare’s edge cannot be reached at the moment.';
    if (isUp && this.#status.state !== 'up') this.#parts.log('the tunnel is up', { address });
    this.#set({ state: isUp ? 'up' : 'reconnecting', connections, address, problem, nextTryAt: null });
  }

  async #connected(signal: AbortSignal): Promise<void> {
    const { readyConnections } = await this.#ask<{ readyConnections: number }>('/ready', signal);
    if (readyConnections < 1) throw new Error('It is not connected yet.');
  }

  async #ask<Answer>(path: string, signal?: AbortSignal): Promise<Answer> {
    const within = AbortSignal.timeout(limits.tunnel.askMs);
    const response = await fetch(this.#metrics + path, {
      signal: signal ? AbortSignal.any([signal, within]) : within,
    });
    return (await response.json()) as Answer;
  }

  #set(change: Partial<TunnelStatus>): void {
    this.#status = { ...this.#status, ...change };
  }
}
