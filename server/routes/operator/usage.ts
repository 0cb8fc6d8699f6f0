import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { OperatorUsageReport, UsageQuery } from '../../contract/platform.ts';
import { usageReport } from '../../usage/usage-report.ts';
import type { OperatorDeps } from './operator-context.ts';

const dayMs = 24 * 3_600_000;

/** What was used, by all tenants or one. */
export const usageRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, { db, usage, tenants }) => {
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
      const { days = 30, tenant = null } = request.query;
      const from = new Date(Date.now() - (days - 1) * dayMs).toISOString().slice(0, 10);
      usage.flush();
      const { totals, byDay, byModel, byFeature, byTenant } = usageReport(db, tenant, from);
      return {
        from,
        totals,
        byDay: [...byDay],
        byModel: [...byModel],
        byFeature: [...byFeature],
        byTenant: byTenant.map((line) => ({ ...line, title: tenants.nameOf(line.name) ?? line.name })),
      };
    },
  );
};
