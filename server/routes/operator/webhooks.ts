import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { WebhookStateView } from '../../contract/console.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { moment } from '../../http/envelope.ts';
import type { OperatorDeps } from './operator-context.ts';

/** Endpoints of all tenants, and whether they answer. */
export const operatorWebhookRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (
  app,
  { webhooks, tenants },
) => {
  const momentOf = (at: number | null): string | null => (at === null ? null : moment(at));
  app.get(
    '/api/webhooks',
    {
      schema: {
        summary: 'Endpoints that tenants have told of events',
        response: { 200: Type.Array(WebhookStateView), default: ErrorBody },
      },
    },
    async () =>
      webhooks.all().map(({ url, events, createdAt, disabledAt, failingSince, ...shown }) => ({
        ...shown,
        tenantName: tenants.nameOf(shown.tenant) ?? shown.tenant,
        host: new URL(url).host,
        events: [...events],
        createdAt: moment(createdAt),
        disabledAt: momentOf(disabledAt),
        failingSince: momentOf(failingSince),
      })),
  );
};
