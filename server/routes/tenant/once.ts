import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { limits } from '../../contract/limits.ts';
import { ApiError } from '../../http/api-error.ts';
import type { KeptAnswer, KeyedRun, Origin } from '../../idempotency/idempotency-store.ts';
import { demandCurrent } from '../../tenants/demand-current.ts';
import { mayUseFeature, mayUseModel } from '../../tenants/tenant.ts';
import { maySeeWorkOf } from '../../tenants/eyes.ts';
import { identityOf, isDryRun, type TenantDeps } from './tenant-context.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The Idempotency-Key of a request that does the work for it; null where there is none. */
    keyed: KeyedRun | null;
  }
  interface FastifyContextConfig {
    /**
     * An Idempotency-Key is taken as soon as the body is there, and a request that was answered before is answered again
     * before anything is looked up that may have changed since. Forms are read by their handlers, which call `once`.
     */
    once?: true;
  }
}

type Deps = Pick<TenantDeps, 'idempotency' | 'writes'>;

/** Has the routes that say `once` take Idempotency-Keys, and give up the keys of what was not done. */
export function takeKeys(app: FastifyInstance, deps: Deps): void {
  app.decorateRequest('keyed', null);
  app.addHook('preHandler', (request, reply, done) => {
    if (request.routeOptions.config.once !== true || !once(deps, request, reply, request.body)) done();
  });
  // What was done is kept by then, with what it made. What was not done may be tried again under the same key.
  app.addHook('onSend', (request, _reply, _payload, done) => {
    const { keyed } = request;
    if (keyed)
      void deps.writes.commit({
        what: 'the release of an Idempotency-Key',
        id: request.id,
        write: () => deps.idempotency.forget(keyed),
      });
    done();
  });
}

/**
 * Takes the Idempotency-Key of a request, if it has one. True when the request is answered already, with what was
 * answered to the first one. Throws an ApiError when the key cannot be used.
 */
export function once(deps: Deps, request: FastifyRequest, reply: FastifyReply, body: unknown): boolean {
  // Asking for a price does nothing that could be done twice.
  if (isDryRun(request)) return false;
  const taken = takeKey(deps, request, body);
  if (taken && 'body' in taken) {
    sendKept(reply, taken);
    return true;
  }
  request.keyed = taken;
  return false;
}

function takeKey(
  { idempotency }: Deps,
  request: FastifyRequest,
  body: unknown,
): KeyedRun | KeptAnswer | null {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return null;
  const { keyCharacters } = limits.idempotency;
  if (typeof key !== 'string' || !/^[\x21-\x7e]+$/.test(key) || key.length > keyCharacters) {
    throw new ApiError(
      'invalid_request',
      `An Idempotency-Key has 1 to ${keyCharacters} visible ASCII characters.`,
      { param: 'idempotency-key' },
    );
  }
  const identity = demandCurrent(identityOf(request));
  const { method, id } = request;
  const path = request.url.split('?')[0] ?? '';
  const { person } = identity;
  return idempotency.begin(identity.tenant.id, key, { method, path, body, id, person }, demandShare);

  /** Throws for somebody who may not have what was answered to another one. */
  function demandShare({ person: asker, needs }: Origin): void {
    if (!maySeeWorkOf(identity, asker))
      throw new ApiError(
        'idempotency_key_reused',
        'Somebody else of your company used this Idempotency-Key. Use a new key for each new request.',
        { param: 'idempotency-key' },
      );
    for (const { feature, model } of needs) {
      if (!mayUseFeature(identity, feature))
        throw new ApiError(
          'feature_not_in_plan',
          `The answer was made with the feature "${feature}", which your plan or this key does not include.`,
        );
      if (!mayUseModel(identity, model))
        throw new ApiError(
          'model_not_in_plan',
          `The answer was made with the model "${model}", which your plan or this key does not include.`,
          { param: 'model' },
        );
    }
  }
}

/** Answers what was answered before. */
function sendKept(reply: FastifyReply, { status, contentType, body }: KeptAnswer): void {
  void reply
    .status(status)
    .headers({ 'content-type': contentType, 'idempotent-replayed': 'true' })
    .serializer((payload: unknown) => payload as string)
    .send(body);
}
