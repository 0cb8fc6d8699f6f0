import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { type Static, Type } from 'typebox';
import { checked, InvalidValue } from '../../config/checked.ts';
import { IdParams, KeyBody, MadeKeyView, RevokeQuery } from '../../contract/accounts.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { Done } from '../../contract/operator.ts';
import {
  NewTenantBody,
  TenantChangeBody,
  TenantDetail,
  TenantsQuery,
  TenantsView,
  TenantView,
} from '../../contract/operator-accounts.ts';
import { ApiError } from '../../http/api-error.ts';
import { sendLines } from '../../http/download.ts';
import { moment } from '../../http/envelope.ts';
import { futureMoment } from '../../http/future-moment.ts';
import { balanceView, invitationView, keyView, pageOf, userView } from '../../http/views.ts';
import { PlanOverrides } from '../../offers/plans.ts';
import { eraseCompany } from '../../privacy/erase.ts';
import { exportOfCompany } from '../../privacy/export.ts';
import { folded, type TenantRecord } from '../../tenants/tenant-store.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

/** The tenants: companies with accounts, and those of tenants.json, which are changed there. */
export const tenantRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { tenants, keys, users, invitations, ledger, audit, offers, admission, directory } = deps;

  app.get(
    '/api/tenants',
    {
      schema: {
        summary: 'The tenants, newest first; those of tenants.json on the first page',
        querystring: TenantsQuery,
        response: { 200: TenantsView, default: ErrorBody },
      },
    },
    async (request) => {
      const { after, limit = limits.page.default, search = '' } = request.query;
      const page = pageOf(tenants.page(after, limit + 1, search), limit, tenantView);
      const ofFile = after === undefined ? fileTenants(search) : [];
      return {
        items: [...ofFile, ...page.items],
        next: page.next,
        file: { path: deps.tenantsFile.path, problem: deps.tenantsFile.problem() },
      };
    },
  );

  app.post(
    '/api/tenants',
    {
      schema: {
        summary: 'Make a company; then invite somebody to it, or make it a key',
        body: NewTenantBody,
        response: { 201: TenantView, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { name, plan = deps.settings.plan } = request.body;
      demandPlan(plan);
      const made = ledger.atomically(() => {
        const tenant = tenants.create({ name: name.trim(), plan });
        audit.add(operatorOf(request), {
          action: 'tenant.create',
          target: tenant.id,
          tenant: tenant.id,
          after: { plan },
        });
        return tenant;
      });
      return reply.status(201).send(tenantView(made));
    },
  );

  app.get(
    '/api/tenants/:id',
    {
      schema: {
        summary: 'One company, with its people, keys and invitations',
        params: IdParams,
        response: { 200: TenantDetail, default: ErrorBody },
      },
    },
    async (request) => {
      const tenant = find(request.params.id);
      return {
        ...tenantView(tenant),
        overrides: { ...tenant.overrides },
        blockedPhrases: [...tenant.blockedPhrases],
        createdAt: moment(tenant.createdAt),
        balance: balanceView(ledger, tenant.id),
        users: users.ofTenant(tenant.id).map(userView),
        apiKeys: keys.list(tenant.id).map(keyView),
        invitations: invitations.list(tenant.id).map(invitationView),
      };
    },
  );

  app.patch(
    '/api/tenants/:id',
    {
      schema: {
        summary: 'Change its plan, limits, policy, or suspend it',
        params: IdParams,
        body: TenantChangeBody,
        response: { 200: TenantView, default: ErrorBody },
      },
    },
    async (request) => {
      const before = find(request.params.id);
      const { suspended, reason = null, overrides, ...rest } = request.body;
      if (rest.plan !== undefined) demandPlan(rest.plan);
      const suspendedAt =
        suspended === undefined ? before.suspendedAt : suspended ? (before.suspendedAt ?? Date.now()) : null;
      const change = { ...rest, ...(overrides && { overrides: checkedOverrides(overrides) }), suspendedAt };
      const changed = ledger.atomically(() => {
        const after = tenants.change(before.id, change);
        audit.add(operatorOf(request), {
          action: 'tenant.change',
          target: before.id,
          tenant: before.id,
          before: termsOf(before),
          after: termsOf(after),
          reason,
        });
        return after;
      });
      directory.changed();
      return tenantView(changed);
    },
  );

  app.delete(
    '/api/tenants/:id',
    {
      schema: {
        summary: 'Delete a company with its people and keys; the ledger keeps its sums',
        params: IdParams,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      const { id } = find(request.params.id);
      await eraseCompany(deps, id, operatorOf(request));
      return { done: true, message: 'The company is deleted.' };
    },
  );

  app.get(
    '/api/tenants/:id/export',
    {
      schema: {
        summary: 'Everything we hold about a company, as JSON lines',
        params: IdParams,
        response: { 200: Type.Unknown(), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { id } = find(request.params.id);
      audit.add(operatorOf(request), { action: 'tenant.export', target: id, tenant: id });
      return sendLines(reply, `${id}.jsonl`, exportOfCompany(deps, id));
    },
  );

  app.post(
    '/api/tenants/:id/keys',
    {
      schema: {
        summary: 'Make a key for a company; it is shown only in this answer',
        params: IdParams,
        body: KeyBody,
        response: { 201: MadeKeyView, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { id: tenant } = find(request.params.id);
      const { name, models = null, features = null, expiresAt = null } = request.body;
      const expiry = expiresAt === null ? null : futureMoment(expiresAt, 'expiresAt');
      const made = ledger.atomically(() => {
        const one = keys.create({ tenant, createdBy: null, name, models, features, expiresAt: expiry });
        const after = { models, features, expiresAt };
        audit.add(operatorOf(request), { action: 'key.create', target: one.record.id, tenant, after });
        return one;
      });
      return reply.status(201).send({ key: made.key, ...keyView(made.record) });
    },
  );

  app.delete(
    '/api/keys/:id',
    {
      schema: {
        summary: 'Revoke a key: it is refused from now on, and what runs on it ends, jobs too, uncharged',
        params: IdParams,
        querystring: RevokeQuery,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      const key = keys.find(request.params.id);
      if (!key) throw new ApiError('not_found', 'There is no such key.');
      const { keepJobs = false } = request.query;
      ledger.atomically(() => {
        if (!keys.revoke(key.id)) return;
        if (keepJobs) deps.jobStore.outliveAsker(key.tenant, key.id);
        audit.add(operatorOf(request), {
          action: 'key.revoke',
          target: key.id,
          tenant: key.tenant,
          after: { keepJobs },
        });
      });
      directory.changed();
      return { done: true, message: 'The key is revoked.' };
    },
  );

  function find(id: string): TenantRecord {
    const tenant = tenants.find(id);
    if (!tenant)
      throw new ApiError('not_found', 'There is no such company. Those of tenants.json are changed there.');
    return tenant;
  }

  function demandPlan(plan: string): void {
    if (Object.hasOwn(offers.plans, plan)) return;
    const names = Object.keys(offers.plans).join(', ');
    throw new ApiError('invalid_request', `There is no plan "${plan}"; there are ${names}.`, {
      param: 'plan',
    });
  }

  function tenantView(tenant: TenantRecord): Static<typeof TenantView> {
    const { id, name, plan, allowNSFW, history, suspendedAt } = tenant;
    return {
      id,
      kind: 'account',
      name,
      plan,
      disabled: suspendedAt !== null,
      allowNSFW,
      history,
      keys: keys.list(id).filter(({ revokedAt }) => revokedAt === null).length,
      open: admission.open(id),
      available: ledger.balance(id).available,
    };
  }

  function fileTenants(search: string) {
    const views = new Map<string, Static<typeof TenantView>>();
    for (const { tenant } of deps.files.all()) {
      const { id, plan, disabled, allowNSFW, history, account } = tenant;
      if (!folded(id).includes(folded(search))) continue;
      views.set(id, {
        id: account ?? id,
        kind: 'file',
        name: id,
        plan,
        disabled,
        allowNSFW,
        history,
        keys: (views.get(id)?.keys ?? 0) + 1,
        open: admission.open(id),
        available: account === null ? null : ledger.balance(account).available,
      });
    }
    return [...views.values()];
  }
};

function checkedOverrides(overrides: object): PlanOverrides {
  try {
    return checked(PlanOverrides, overrides, 'overrides');
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new ApiError('invalid_request', error.message, { param: `overrides.${error.place}` });
  }
}

/** The terms of a tenant, without its name. */
function termsOf({ plan, overrides, allowNSFW, blockedPhrases, history, suspendedAt }: TenantRecord): object {
  const suspended = suspendedAt !== null;
  return { plan, overrides, allowNSFW, blockedPhrases: blockedPhrases.length, history, suspended };
}
