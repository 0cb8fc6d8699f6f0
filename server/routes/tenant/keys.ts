import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import {
  IdParams,
  KeyBody,
  KeyView,
  MadeKeyView,
  Nothing,
  RevokeQuery,
  RotateBody,
} from '../../contract/accounts.ts';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { Envelope } from '../../contract/platform.ts';
import { ApiError } from '../../http/api-error.ts';
import type { KeyRecord } from '../../tenants/key-store.ts';
import { futureMoment } from '../../http/future-moment.ts';
import { keyView } from '../../http/views.ts';
import { success } from '../../http/envelope.ts';
import { actorOf, identityOf, personOf, type TenantDeps } from './tenant-context.ts';

const tags = ['Keys'];
const config = { only: 'person' } as const;

/** API keys: those one made, and for administrators those of the whole company. */
export const keyRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { keys, audit, ledger, directory, idempotency } = deps;

  app.get(
    '/api/v1/api-keys',
    {
      config,
      schema: {
        tags,
        summary: 'The keys',
        response: { 200: Envelope(Type.Array(KeyView)), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { tenant, user } = identityOf(request);
      return success(keys.list(tenant.id, user?.role === 'admin' ? undefined : user?.id).map(keyView));
    },
  );

  app.post(
    '/api/v1/api-keys',
    {
      config: { ...config, once: true },
      schema: {
        tags,
        summary: 'Make a key; it is shown only in this answer',
        body: KeyBody,
        response: { 201: Envelope(MadeKeyView), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { user } = personOf(deps, request);
      const { name, models = null, features = null, expiresAt = null } = request.body;
      const expiry = expiresAt === null ? null : futureMoment(expiresAt, 'expiresAt');
      const made = ledger.atomically(() => {
        const active = keys.list(user.tenant).filter(({ revokedAt }) => revokedAt === null);
        if (active.length >= limits.accounts.keys)
          throw new ApiError('conflict', `A company has at most ${limits.accounts.keys} keys. Revoke some.`);
        const one = keys.create({
          tenant: user.tenant,
          createdBy: user.id,
          name: name.trim(),
          models,
          features,
          expiresAt: expiry,
        });
        audit.add(actorOf(request), {
          action: 'key.create',
          target: one.record.id,
          tenant: user.tenant,
          after: { models, features, expiresAt },
        });
        // The answer holds the key, which is kept nowhere: it cannot be given a second time.
        if (request.keyed) idempotency.finish(request.keyed, null);
        return one;
      });
      reply.header('cache-control', 'no-store');
      return reply.status(201).send(success({ key: made.key, ...keyView(made.record) }));
    },
  );

  app.get(
    '/api/v1/api-keys/:id',
    {
      config,
      schema: {
        tags,
        summary: 'One key',
        params: IdParams,
        response: { 200: Envelope(KeyView), default: ErrorEnvelope },
      },
    },
    async (request) => success(keyView(own(request, request.params.id))),
  );

  app.post(
    '/api/v1/api-keys/:id/rotate',
    {
      config,
      schema: {
        tags,
        summary: 'A new key with the same rights; the old one works until the grace is over',
        params: IdParams,
        body: RotateBody,
        response: { 201: Envelope(MadeKeyView), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const old = own(request, request.params.id);
      if (old.revokedAt !== null || old.rotatedTo !== null)
        throw new ApiError('conflict', 'This key was revoked or rotated already.');
      const graceMs = (request.body.graceSeconds ?? limits.key.defaultGraceMs / 1000) * 1000;
      const made = ledger.atomically(() => {
        const next = keys.rotate(old, graceMs);
        audit.add(actorOf(request), {
          action: 'key.rotate',
          target: old.id,
          tenant: old.tenant,
          after: { rotatedTo: next.record.id, graceMs },
        });
        return next;
      });
      directory.changed();
      reply.header('cache-control', 'no-store');
      return reply.status(201).send(success({ key: made.key, ...keyView(made.record) }));
    },
  );

  app.delete(
    '/api/v1/api-keys/:id',
    {
      config,
      schema: {
        tags,
        summary: 'Revoke a key: it is refused from now on, and what runs on it ends, jobs too, uncharged',
        params: IdParams,
        querystring: RevokeQuery,
        response: { 200: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { id, tenant } = own(request, request.params.id);
      const { keepJobs = false } = request.query;
      ledger.atomically(() => {
        if (!keys.revoke(id)) return;
        if (keepJobs) deps.jobStore.outliveAsker(tenant, id);
        audit.add(actorOf(request), { action: 'key.revoke', target: id, tenant, after: { keepJobs } });
      });
      directory.changed();
      return success(null, 'The key is revoked.');
    },
  );

  function own(request: FastifyRequest, id: string): KeyRecord {
    const { tenant, user } = identityOf(request);
    const key = keys.find(id);
    const isVisible = user?.role === 'admin' || key?.createdBy === user?.id;
    if (!key || key.tenant !== tenant.id || !isVisible)
      throw new ApiError('not_found', 'There is no such key.');
    return key;
  }
};
