import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { OperatorUsageReport, UsageQuery } from '../../contract/platform.ts';
import { usageReport } from '../../usage/usage-report.ts';
import type { OperatorDeps } from './operator-context.ts';

/** What was used, by all tenants or one. */
export const usageRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (
  app,
  { db, usage, days, tenants },
) => {
  app.get(
    '/api/usage',
    {
      schema: {
        summary: 'What was used, in all and by day, model, feature and tenant',
        querystring: Type.Object(
          { ...UsageQuery.properties, tenant: Type.Optional(Type.String({ maxLength: 120 })) },
          { additionalProperties: false },
        ),
        response: { 200: OperatorUsageReport, default: ErrorBody },
      },
    },
    async (request) => {
      const { days: count = 30, tenant = null } = request.query;
      const { from, until } = days.last(count);
      usage.flush();
      const { totals, byDay, byModel, byFeature, byTenant } = usageReport(db, tenant, from);
      return {
        from,
        until,
        timeZone: days.timeZone,
        totals,
        byDay: [...byDay],
        byModel: [...byModel],
        byFeature: [...byFeature],
        byTenant: byTenant.map((line) => ({ ...line, title: tenants.nameOf(line.name) ?? line.name })),
      };
    },
  );
};
