import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { IdParams } from '../../contract/accounts.ts';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { CheckoutBody, CheckoutView, OrderView, PackagesView } from '../../contract/money.ts';
import { Envelope, PageOf, PageQuery } from '../../contract/platform.ts';
import { ApiError } from '../../http/api-error.ts';
import type { Payments } from '../../payments/payments.ts';
import { orderView, pageOf } from '../../http/views.ts';
import { success } from '../../http/envelope.ts';
import { actorOf, addressOf, identityOf, personOf, type TenantDeps } from './tenant-context.ts';

const tags = ['Payments'];
const config = { only: 'admin' } as const;

/** Buying credits and plans. */
export const paymentRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { offers, orders, idempotency } = deps;

  app.get(
    '/api/v1/payments/packages',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'What can be bought',
        response: { 200: Envelope(PackagesView), default: ErrorEnvelope },
      },
    },
    async () =>
      success({
        enabled: deps.payments !== null,
        packages: Object.entries(offers.packages).map(([id, one]) => ({ id, ...one })),
      }),
  );

  app.post(
    '/api/v1/payments/create-checkout',
    {
      config: { ...config, once: true },
      schema: {
        tags,
        summary: 'Order a package or a plan; answers with the address to pay at',
        body: CheckoutBody,
        response: { 201: Envelope(CheckoutView), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const payments = demand(deps.payments);
      const { user } = personOf(deps, request);
      const buyer = { tenant: user.tenant, user: user.id, email: user.email };
      const { order, url } = await payments.checkout(
        buyer,
        request.body,
        addressOf(deps, request),
        actorOf(request),
      );
      const answer = success({ order: order.id, url });
      const body = JSON.stringify(answer);
      if (request.keyed)
        idempotency.finish(request.keyed, {
          status: 201,
          contentType: 'application/json; charset=utf-8',
          body,
        });
      return reply.status(201).send(answer);
    },
  );

  app.get(
    '/api/v1/payments/orders',
    {
      config,
      schema: {
        tags,
        summary: 'Orders and receipts, newest first',
        querystring: PageQuery,
        response: { 200: Envelope(PageOf(OrderView)), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { after, limit = limits.page.default } = request.query;
      const found = orders.page({ tenant: identityOf(request).tenant.id, after, limit: limit + 1 });
      return success(pageOf(found, limit, orderView));
    },
  );

  app.get(
    '/api/v1/payments/orders/:id',
    {
      config,
      schema: {
        tags,
        summary: 'One order',
        params: IdParams,
        response: { 200: Envelope(OrderView), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const order = orders.find(request.params.id);
      if (!order || order.tenant !== identityOf(request).tenant.id)
        throw new ApiError('not_found', 'There is no such order.');
      return success(orderView(order));
    },
  );

  app.delete(
    '/api/v1/payments/subscription',
    {
      config,
      schema: {
        tags,
        summary: 'Let the subscription end with the month that is paid',
        response: { 200: Envelope(OrderView), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const order = await demand(deps.payments).cancelSubscription(
        identityOf(request).tenant.id,
        actorOf(request),
      );
      return success(orderView(order), 'The subscription ends with the month that is paid.');
    },
  );

  for (const [path, text] of [
    ['done', 'Thank you. Your payment is being confirmed; the credits are there in a moment.'],
    ['cancelled', 'Nothing was charged.'],
  ] as const) {
    app.get(
      `/payments/${path}`,
      {
        config: { open: true },
        schema: { tags, summary: 'Where the payment page leads back to', response: { 200: Type.String() } },
      },
      async (_request, reply) =>
        reply
          .headers({ 'content-type': 'text/html; charset=utf-8', 'content-security-policy': pagePolicy })
          .send(pageFor(text)),
    );
  }

  // The signature is over the bytes as they came, so here nothing may parse them first.
  await app.register(async (raw) => {
    raw.removeContentTypeParser('application/json');
    raw.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) =>
      done(null, body),
    );
    raw.post(
      '/api/v1/payments/webhook',
      {
        config: { open: true },
        bodyLimit: limits.webhookBytes,
        schema: {
          tags,
          summary: 'Where Stripe tells us of payments',
          response: { 200: Type.Object({ received: Type.Boolean() }), default: ErrorEnvelope },
        },
      },
      async (request) => {
        const payments = demand(deps.payments);
        const signature = request.headers['stripe-signature'];
        const { body } = request;
        if (typeof signature !== 'string' || !Buffer.isBuffer(body))
          throw new ApiError('invalid_request', 'The event has no signature.');
        const outcome = await payments.receive(body, signature);
        request.log.info({ requestId: request.id, outcome }, 'payment event');
        return { received: true };
      },
    );
  });
};

function demand(payments: Payments | null): Payments {
  if (payments) return payments;
  throw new ApiError(
    'payments_off',
    'Payments are not set up here. The operator can grant credits, or set the keys of Stripe.',
  );
}

const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'";

function pageFor(text: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Kilnhouse</title><style>:root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui;display:grid;place-items:center;min-height:90vh;margin:0 1rem}</style></head>
<body><main><h1>Kilnhouse</h1><p>${text}</p><p>You can close this page.</p></main></body></html>`;
}
