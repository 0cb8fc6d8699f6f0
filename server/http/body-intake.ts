import { Transform } from 'node:stream';
import type { FastifyReply, FastifyRequest, RequestPayload, RouteOptions } from 'fastify';
import { limits } from '../contract/limits.ts';
import { ApiError, tooLarge } from './api-error.ts';
import type { BaseApp } from './base-app.ts';
import { BodyBudget, type BodyBounds, type BodyOwner, type HeldBody } from './body-budget.ts';
import { SlowBodies } from './slow-bodies.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Of a form that is read piece by piece: the most of it that lies in memory at one time. */
    heldBytes?: number;
  }
  interface FastifyRequest {
    /** What the body of this request holds of the budget; null where there is no body. */
    heldBody: HeldBody | null;
  }
}

/**
 * What happens before a body is read: one that is compressed, longer than its route takes, or too much beside what is
 * in flight is refused, and one that trickles is cut. The check of who asks must come before.
 */
export function takeBodies(
  app: BaseApp,
  bounds: BodyBounds,
  ownerOf: (request: FastifyRequest) => BodyOwner,
): void {
  const budget = new BodyBudget(bounds);
  const slow = new SlowBodies(limits.body.slow);
  app.addHook('onClose', async () => slow.close());
  app.decorateRequest('heldBody', null);
  app.addHook('preParsing', (request, reply, payload, done) => {
    const { headers } = request;
    const isChunked = headers['transfer-encoding'] !== undefined;
    const length = Number(headers['content-length'] ?? 0);
    if (!isChunked && length === 0) return done();
    demandPlain(request, reply);
    const { bodyLimit, config } = request.routeOptions;
    const most = bodyLimit ?? limits.body.usualBytes;
    if (length > most) throw tooLarge(most);
    const held = budget.hold(ownerOf(request));
    request.heldBody = held;
    reply.raw.once('close', () => held.release());
    const { heldBytes } = config;
    // A form is read past what we could count, so that it is counted as a whole.
    const isCounted = !isChunked || heldBytes !== undefined;
    if (isCounted) held.add(Math.min(isChunked ? most : length, heldBytes ?? most));
    slow.watch(request.raw);
    done(null, isCounted ? payload : counted(payload, held, most));
  });
}

/** The bounds of a process with such a heap. */
export function bodyBounds(heapBytes: number): BodyBounds {
  const { heapShare, leastBytes, mostBytes, tenantShare, addressBytes, retryAfterMs } = limits.body.inFlight;
  const totalBytes = Math.min(mostBytes, Math.max(leastBytes, Math.floor(heapBytes * heapShare)));
  return { totalBytes, tenantBytes: Math.floor(totalBytes * tenantShare), addressBytes, retryAfterMs };
}

/** For `onRoute` of a family of routes that take a few short texts. */
export function ofAccountSize(route: RouteOptions): void {
  route.bodyLimit ??= limits.body.accountBytes;
}

/** Nothing is unpacked here: a body of a few kilobytes could become gigabytes. */
function demandPlain({ headers }: FastifyRequest, reply: FastifyReply): void {
  const encoding = headers['content-encoding']?.trim().toLowerCase();
  if (encoding === undefined || encoding === '' || encoding === 'identity') return;
  reply.header('accept-encoding', 'identity');
  throw new ApiError(
    'unsupported_media_type',
    'Compressed bodies are not taken. Send the body without Content-Encoding.',
  );
}

/** A body of unknown length, counted as it comes. */
function counted(payload: RequestPayload, held: HeldBody, most: number): Transform {
  let bytes = 0;
  const counter = new Transform({
    transform(piece: Buffer, _encoding, next) {
      bytes += piece.length;
      try {
        if (bytes > most) throw tooLarge(most);
        held.add(piece.length);
        next(null, piece);
      } catch (error) {
        // What is still sent is thrown away, so that its sender reads the answer.
        payload.unpipe(counter).resume();
        next(error as Error);
      }
    },
  });
  // The request itself is not destroyed with it: its sender is told first.
  payload.once('error', (error: Error) => counter.destroy(error));
  return payload.pipe(counter);
}
