import { once } from 'node:events';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { limits } from '../contract/limits.ts';
import { asApiError } from './api-error.ts';
import { bodyOf, logError } from './base-app.ts';

const jsonHeaders = { 'content-type': 'application/json; charset=utf-8' } as const;
const eventHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

/** What a waiting client is told. */
export interface Waiting {
  readonly position: number;
  readonly etaMs: number | null;
  readonly reason: string;
}

/**
 * An answer that may be long in coming. While nothing has been sent, an error is a proper status; then heartbeats
 * keep the connection alive: comments in an event stream, spaces before JSON (both are allowed and ignored). An
 * error after that is told in the body, and the connection is broken off so that no client takes it for success.
 */
export class HeldReply {
  readonly #reply: FastifyReply;
  readonly #kind: 'events' | 'json';
  #waiting: () => Waiting | undefined = () => undefined;
  readonly #gone = new AbortController();
  #timer: NodeJS.Timeout | null = null;
  #started = false;
  #wroteAt = 0;

  constructor(request: FastifyRequest, reply: FastifyReply, kind: 'events' | 'json') {
    this.#reply = reply;
    this.#kind = kind;
    reply.hijack();
    const { raw } = reply;
    raw.once('close', () => {
      this.#stopHeartbeat();
      if (!raw.writableFinished) this.#gone.abort(new ClientGone());
    });
    if (request.socket.destroyed) this.#gone.abort(new ClientGone());
    this.#schedule(kind === 'events' ? limits.patienceMs : limits.jsonPatienceMs);
  }

  /** Who to ask for what heartbeats say. */
  tellWaiting(waiting: () => Waiting | undefined): void {
    this.#waiting = waiting;
  }

  /** Gives the work up for a reason other than the client's. */
  abort(reason: Error): void {
    this.#gone.abort(reason);
  }

  /** Aborted when the client hangs up before the answer is complete, or the work is given up. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  get started(): boolean {
    return this.#started;
  }

  /** Sends a piece, waiting while the client cannot take more (S2). */
  async write(piece: Uint8Array | string): Promise<void> {
    this.#start();
    this.#wroteAt = performance.now();
    const { raw } = this.#reply;
    if (raw.destroyed) throw this.#gone.signal.reason;
    if (raw.write(piece)) return;
    const stalled = AbortSignal.timeout(limits.stalledReaderMs);
    try {
      await once(raw, 'drain', { signal: AbortSignal.any([stalled, this.#gone.signal]) });
    } catch {
      if (!this.#gone.signal.aborted) this.#gone.abort(new ClientGone());
      raw.destroy();
      throw this.#gone.signal.reason;
    }
  }

  end(piece?: string): void {
    this.#stopHeartbeat();
    // An answer that is whole before anything was sent goes out in one write, with its length.
    if (!this.#started && piece !== undefined)
      this.#start({ 'content-length': String(Buffer.byteLength(piece)) });
    this.#start();
    this.#reply.raw.end(piece);
  }

  /** Ends the answer with an error, in whatever way is left; nobody is told when the client has gone. */
  fail(cause: unknown): void {
    this.#stopHeartbeat();
    const { raw } = this.#reply;
    if (cause instanceof ClientGone || raw.destroyed || raw.writableEnded) return;
    const error = asApiError(cause);
    logError(error, this.#reply.request);
    const body = JSON.stringify(bodyOf(error, this.#reply.request));
    if (!this.#started) {
      this.#started = true;
      this.#writeHead(error.status, {
        ...jsonHeaders,
        'content-length': String(Buffer.byteLength(body)),
        ...(error.retryAfterSeconds !== null && { 'retry-after': String(error.retryAfterSeconds) }),
      });
      raw.end(body);
    } else if (this.#kind === 'events') raw.end(`data: ${body}\n\n`);
    else raw.write(body, () => raw.destroy());
  }

  #start(more: Readonly<Record<string, string>> = {}): void {
    if (this.#started) return;
    this.#started = true;
    this.#writeHead(200, { ...(this.#kind === 'events' ? eventHeaders : jsonHeaders), ...more });
  }

  /** With the headers that were set on the reply before it was taken over (request id, limits). */
  #writeHead(status: number, headers: Readonly<Record<string, string>>): void {
    const { raw } = this.#reply;
    for (const [name, value] of Object.entries(this.#reply.getHeaders())) {
      if (value !== undefined) raw.setHeader(name, value);
    }
    raw.writeHead(status, headers);
  }

  #schedule(afterMs: number): void {
    this.#timer = setTimeout(() => {
      const { raw } = this.#reply;
      if (raw.destroyed || raw.writableEnded) return;
      // One timer for the whole answer: it only speaks when nothing else did for a while.
      const quietMs = performance.now() - this.#wroteAt;
      if (quietMs < limits.heartbeatMs && this.#wroteAt > 0)
        return this.#schedule(limits.heartbeatMs - quietMs);
      this.#start();
      this.#wroteAt = performance.now();
      raw.write(this.#kind === 'events' ? this.#comment() : ' ');
      this.#schedule(limits.heartbeatMs);
    }, afterMs);
  }

  #comment(): string {
    const waiting = this.#waiting();
    if (!waiting) return ': working\n\n';
    const eta = waiting.etaMs === null ? '' : ` eta_ms=${Math.round(waiting.etaMs)}`;
    return `: queued position=${waiting.position}${eta} reason=${waiting.reason}\n\n`;
  }

  #stopHeartbeat(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/** The client hung up: nobody is left to be told. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
  constructor() {
    super('The client has gone.');
  }
}
