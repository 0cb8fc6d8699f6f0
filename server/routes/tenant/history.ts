import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { Counted, HistoryView, IdParams } from '../../contract/accounts.ts';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { Envelope, PageOf } from '../../contract/platform.ts';
import { ApiError } from '../../http/api-error.ts';
import { moment, success } from '../../http/envelope.ts';
import type { Whose } from '../../history/history-store.ts';
import type { Identity } from '../../tenants/tenant.ts';
import { identityOf, type TenantDeps } from './tenant-context.ts';

const tags = ['History'];

const HistoryQuery = Type.Object(
  {
    after: Type.Optional(Type.Integer({ minimum: 1 })),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: limits.page.max, default: limits.page.default }),
    ),
  },
  { additionalProperties: false },
);

/** What was asked, for tenants who want it kept. */
export const historyRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, { history }) => {
  app.get(
    '/api/v1/history',
    {
      schema: {
        tags,
        summary:
          'Requests with their prompts, newest first, where the company has them kept; one’s own, and for administrators all',
        querystring: HistoryQuery,
        response: { 200: Envelope(PageOf(HistoryView)), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { after, limit = limits.page.default } = request.query;
      const found = history.page(whose(identityOf(request)), after, limit + 1);
      const items = found.slice(0, limit);
      const last = items.at(-1);
      return success({
        items: items.map(({ sequence: _, ...item }) => ({ ...item, at: moment(item.at) })),
        next: found.length > limit && last ? String(last.sequence) : null,
      });
    },
  );

  app.delete(
    '/api/v1/history',
    {
      schema: {
        tags,
        summary: 'Forget all of it',
        response: { 200: Envelope(Counted), default: ErrorEnvelope },
      },
    },
    async (request) => success({ removed: history.remove(whose(identityOf(request)), null) }),
  );

  app.delete(
    '/api/v1/history/:id',
    {
      schema: {
        tags,
        summary: 'Forget one',
        params: IdParams,
        response: { 200: Envelope(Counted), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const removed = history.remove(whose(identityOf(request)), request.params.id);
      if (removed === 0) throw new ApiError('not_found', 'There is no such request in the history.');
      return success({ removed });
    },
  );
};

/** Administrators see what their company asked; everybody else, and every key, what the same person did. */
function whose({ tenant, user, person }: Identity): Whose {
  return user?.role === 'admin' ? { tenant: tenant.id } : { tenant: tenant.id, user: person };
}
