import type { IncomingMessage } from 'node:http';
import { ApiError } from './api-error.ts';
import { answerRaw } from './raw-answer.ts';

export interface SlowBodyLimits {
  /** A body brings at least so many bytes */
  readonly bytes: number;
  /** in each stretch of so long. */
  readonly windowMs: number;
  readonly lookEveryMs: number;
}

interface Stretch {
  readonly beganAt: number;
  readonly bytesRead: number;
}

/**
 * Cuts bodies that trickle (F31): a request that is never complete would hold its memory for as long as its sender
 * likes. Where we are the ones who do not read, since a picture before it is being looked at, nobody is cut.
 */
export class SlowBodies {
  readonly #limits: SlowBodyLimits;
  readonly #now: () => number;
  readonly #arriving = new Map<IncomingMessage, Stretch>();
  readonly #timer: NodeJS.Timeout;

  /** `now` is monotonic, in milliseconds. */
  constructor(limits: SlowBodyLimits, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
    this.#timer = setInterval(() => this.look(), limits.lookEveryMs).unref();
  }

  /** Watches a request whose body is about to be read. */
  watch(request: IncomingMessage): void {
    this.#arriving.set(request, this.#stretch(request));
  }

  look(): void {
    const { bytes, windowMs } = this.#limits;
    for (const [request, { beganAt, bytesRead }] of this.#arriving) {
      const { socket } = request;
      if (request.complete || socket.destroyed) {
        this.#arriving.delete(request);
        continue;
      }
      const isOurs = request.readableLength > 0;
      if (isOurs || socket.bytesRead - bytesRead >= bytes) {
        this.#arriving.set(request, this.#stretch(request));
        continue;
      }
      if (this.#now() - beganAt < windowMs) continue;
      this.#arriving.delete(request);
      const rate = `${bytes} bytes in ${Math.round(windowMs / 1000)} s`;
      answerRaw(
        socket,
        new ApiError('request_timeout', `The body came too slowly: ${rate} is the least. Send it again.`),
      );
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #stretch({ socket }: IncomingMessage): Stretch {
    return { beganAt: this.#now(), bytesRead: socket.bytesRead };
  }
}
