import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Admission, Ticket, Wish } from '../../admission/admission.ts';
import type { GenerationDeps } from '../../generation/text.ts';
import type { ImageLinks } from '../../files/image-links.ts';
import { ApiError } from '../../http/api-error.ts';
import type { Identity } from '../../tenants/tenants.ts';
import type { UsageStore } from '../../usage/usage-store.ts';

/** What the tenant routes are given. */
export interface TenantDeps extends GenerationDeps {
  readonly usage: UsageStore;
  readonly links: ImageLinks;
  readonly version: string;
  readonly demo: boolean;
  /** The address in links; the request's own when null. */
  readonly publicUrl: string | null;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the key check; read it through `identityOf`. */
    identity: Identity | null;
  }
  interface FastifyContextConfig {
    /** True for the few routes that need no key. */
    open?: boolean;
  }
}

/** The key as `Authorization: Bearer <key>` or `x-api-key: <key>`; never from the query, which ends up in logs. */
export function keyOf({ headers }: FastifyRequest): string | null {
  const { authorization } = headers;
  if (authorization !== undefined) {
    const [scheme, key] = authorization.split(' ');
    return scheme?.toLowerCase() === 'bearer' && key ? key : null;
  }
  const own = headers['x-api-key'];
  return typeof own === 'string' && own !== '' ? own : null;
}

export function identityOf(request: FastifyRequest): Identity {
  if (!request.identity) throw new ApiError('missing_api_key', 'No API key was given.');
  return request.identity;
}

/** Lets work in, and tells the caller what is left of its limits after it. */
export function admit(deps: TenantDeps, request: FastifyRequest, reply: FastifyReply, wish: Wish): Ticket {
  const identity = identityOf(request);
  try {
    return deps.admission.admit(identity, wish);
  } finally {
    tellLimits(reply, deps.admission, identity);
  }
}

/** The limits as they stand, in OpenAI's headers. */
function tellLimits(reply: FastifyReply, admission: Admission, { tenant }: Identity): void {
  const rate = admission.rate(tenant);
  const most = tenant.limits.concurrent + tenant.limits.queued;
  reply.headers({
    'x-ratelimit-limit-requests': rate.limit,
    'x-ratelimit-remaining-requests': rate.remaining,
    'x-ratelimit-reset-requests': duration(rate.resetMs),
    'x-ratelimit-limit-concurrency': most,
    'x-ratelimit-remaining-concurrency': Math.max(0, most - admission.open(tenant.id)),
  });
}

/** OpenAI's form of a duration: 6m0s, 1.5s, 20ms. */
function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  const seconds = Math.round(ms / 100) / 10;
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${Math.round(seconds % 60)}s`;
}
