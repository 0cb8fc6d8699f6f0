import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { TenantsView } from '../../contract/operator.ts';
import type { Tenant } from '../../tenants/tenants.ts';
import type { OperatorDeps } from './operator-context.ts';

/** The tenants, to look at; they are changed in tenants.json. */
export const tenantRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  app.get(
    '/api/tenants',
    { schema: { summary: 'The tenants', response: { 200: TenantsView, default: ErrorBody } } },
    async () => {
      const tenants = new Map<string, { tenant: Tenant; keys: number }>();
      for (const { tenant } of deps.tenants.all()) {
        const known = tenants.get(tenant.id);
        tenants.set(tenant.id, { tenant, keys: (known?.keys ?? 0) + 1 });
      }
      return {
        tenants: [...tenants.values()].map(({ tenant, keys }) => ({
          id: tenant.id,
          plan: tenant.plan,
          disabled: tenant.disabled,
          allowNSFW: tenant.allowNSFW,
          keys,
          open: deps.admission.open(tenant.id),
        })),
        file: { path: deps.tenantsFile.path, problem: deps.tenantsFile.problem() },
      };
    },
  );
};
