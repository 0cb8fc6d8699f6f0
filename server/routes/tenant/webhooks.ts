import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { IdParams, Nothing } from '../../contract/accounts.ts';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { Envelope } from '../../contract/platform.ts';
import {
  DeliveryParams,
  DeliveryView,
  MadeWebhookView,
  WebhookBody,
  WebhookView,
} from '../../contract/webhooks.ts';
import { newId } from '../../db/ids.ts';
import { inTurns } from '../../db/in-turns.ts';
import { ApiError } from '../../http/api-error.ts';
import { moment, momentOrNull, success } from '../../http/envelope.ts';
import { AddressRefused, demandCallable } from '../../webhooks/public-address.ts';
import type { Delivery, Webhook } from '../../webhooks/webhook-store.ts';
import { actorOf, identityOf, type TenantDeps } from './tenant-context.ts';

const tags = ['Webhooks'];
const config = { only: 'admin' } as const;

/** Endpoints of the tenant's own that are told of events. */
export const webhookRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { webhooks, audit, idempotency, ledger, webhookAllowed } = deps;

  app.get(
    '/api/v1/webhooks',
    {
      config,
      schema: {
        tags,
        summary: 'The endpoints',
        response: { 200: Envelope(Type.Array(WebhookView)), default: ErrorEnvelope },
      },
    },
    async (request) => success(webhooks.list(identityOf(request).tenant.id).map(view)),
  );

  app.post(
    '/api/v1/webhooks',
    {
      config: { ...config, once: true },
      schema: {
        tags,
        summary: 'Have an endpoint told of events, signed as the Standard Webhooks specification says',
        body: WebhookBody,
        response: { 201: Envelope(MadeWebhookView), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { tenant } = identityOf(request);
      const { url, events = [] } = request.body;
      demand(url);
      if (webhooks.list(tenant.id).length >= limits.webhooks.perTenant)
        throw new ApiError('conflict', `A company has at most ${limits.webhooks.perTenant} webhooks.`);
      const made = ledger.atomically(() => {
        const one = webhooks.create({ tenant: tenant.id, url, events });
        audit.add(actorOf(request), { action: 'webhook.create', target: one.webhook.id, tenant: tenant.id });
        // The answer holds the secret, which is shown once.
        if (request.keyed) idempotency.finish(request.keyed, null);
        return one;
      });
      reply.header('cache-control', 'no-store');
      return reply.status(201).send(success({ secret: made.secret, ...view(made.webhook) }));
    },
  );

  app.delete(
    '/api/v1/webhooks/:id',
    {
      config,
      schema: {
        tags,
        summary: 'Tell an endpoint nothing more',
        params: IdParams,
        response: { 200: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { id, tenant } = own(request, request.params.id);
      // Two weeks of deliveries may be very many: nothing new comes while they go, a few at a time.
      webhooks.disable(id);
      await inTurns((most) => webhooks.removeDeliveries(id, most));
      ledger.atomically(() => {
        webhooks.remove(id);
        audit.add(actorOf(request), { action: 'webhook.remove', target: id, tenant });
      });
      return success(null, 'Removed.');
    },
  );

  app.post(
    '/api/v1/webhooks/:id/test',
    {
      config: { ...config, counts: 'webhook' },
      schema: {
        tags,
        summary: 'Send an event to try it out',
        params: IdParams,
        response: { 202: Envelope(Type.Object({ delivery: Type.String() })), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { id } = own(request, request.params.id);
      const delivery = webhooks.enqueue(id, newId('event'), 'test', { message: 'This is a test.' });
      return reply.status(202).send(success({ delivery }));
    },
  );

  app.get(
    '/api/v1/webhooks/:id/deliveries',
    {
      config,
      schema: {
        tags,
        summary: 'What was sent lately, and how that went',
        params: IdParams,
        response: { 200: Envelope(Type.Array(DeliveryView)), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { id } = own(request, request.params.id);
      return success(webhooks.deliveries(id, limits.page.max).map(deliveryView));
    },
  );

  app.post(
    '/api/v1/webhooks/:id/deliveries/:delivery/replay',
    {
      config: { ...config, counts: 'webhook' },
      schema: {
        tags,
        summary: 'Send something once more; an endpoint that was given up is told again',
        params: DeliveryParams,
        response: { 202: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { id } = own(request, request.params.id);
      const found = webhooks.deliveries(id, 1_000).find((one) => one.id === request.params.delivery);
      if (!found) throw new ApiError('not_found', 'There is no such delivery.');
      webhooks.replay(found);
      return reply.status(202).send(success(null, 'It is sent again.'));
    },
  );

  function own(request: FastifyRequest, id: string): Webhook {
    const webhook = webhooks.find(id);
    if (!webhook || webhook.tenant !== identityOf(request).tenant.id)
      throw new ApiError('not_found', 'There is no such webhook.');
    return webhook;
  }

  function demand(url: string): void {
    try {
      demandCallable(url, webhookAllowed);
    } catch (error) {
      if (!(error instanceof AddressRefused)) throw error;
      throw new ApiError('invalid_request', error.message, { param: 'url' });
    }
  }
};

function view({ tenant: _, events, createdAt, disabledAt, failingSince, ...webhook }: Webhook) {
  return {
    ...webhook,
    events: [...events],
    createdAt: moment(createdAt),
    disabledAt: momentOrNull(disabledAt),
    failingSince: momentOrNull(failingSince),
  };
}

function deliveryView({ webhook: _, payload: __, createdAt, nextAt, deliveredAt, ...delivery }: Delivery) {
  return {
    ...delivery,
    createdAt: moment(createdAt),
    nextAt: momentOrNull(nextAt),
    deliveredAt: momentOrNull(deliveredAt),
  };
}
