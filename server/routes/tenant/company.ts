import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { UserRecord } from '../../accounts/user-store.ts';
import {
  CompanyBody,
  CompanyView,
  EraseBody,
  IdParams,
  InvitationBody,
  InvitationView,
  Nothing,
  PersonBody,
  UserView,
} from '../../contract/accounts.ts';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { Envelope } from '../../contract/platform.ts';
import { inTurns } from '../../db/in-turns.ts';
import { ApiError } from '../../http/api-error.ts';
import { eraseCompany, erasePerson } from '../../privacy/erase.ts';
import { exportOfCompany } from '../../privacy/export.ts';
import type { TenantRecord } from '../../tenants/tenant-store.ts';
import { invitationView, userView } from '../../http/views.ts';
import { clearCookies } from './authentication.ts';
import { sendLines } from '../../http/download.ts';
import { moment, success } from '../../http/envelope.ts';
import { ofAccountSize } from '../../http/body-intake.ts';
import { actorOf, identityOf, personOf, type TenantDeps } from './tenant-context.ts';

const tags = ['Company'];
const config = { only: 'admin' } as const;

/** The company, for those who administer it. */
export const companyRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { tenants, users, invitations, company, audit, ledger, recovery, jobStore } = deps;
  app.addHook('onRoute', ofAccountSize);

  app.get(
    '/api/v1/company',
    {
      config: { only: 'person' },
      schema: {
        tags,
        summary: 'My company',
        response: { 200: Envelope(CompanyView), default: ErrorEnvelope },
      },
    },
    async (request) => success(companyView(own(request))),
  );

  app.patch(
    '/api/v1/company',
    {
      config,
      schema: {
        tags,
        summary: 'Change its name, whether prompts are kept, or whether everybody sees everybody’s work',
        body: CompanyBody,
        response: { 200: Envelope(CompanyView), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const before = own(request);
      const { name = before.name, history = before.history, sharesWork = before.sharesWork } = request.body;
      const changed = ledger.atomically(() => {
        audit.add(actorOf(request), {
          action: 'tenant.change',
          target: before.id,
          tenant: before.id,
          before: { history: before.history, sharesWork: before.sharesWork },
          after: { history, sharesWork, renamed: name !== before.name },
        });
        return tenants.change(before.id, { name: name.trim(), history, sharesWork });
      });
      // What is not to be kept any more is not kept from before either.
      if (history === 'none')
        await inTurns((most) => deps.history.removeBefore(before.id, Number.MAX_SAFE_INTEGER, most));
      return success(companyView(changed));
    },
  );

  app.get(
    '/api/v1/company/users',
    {
      config,
      schema: {
        tags,
        summary: 'The people of my company',
        response: { 200: Envelope(Type.Array(UserView)), default: ErrorEnvelope },
      },
    },
    async (request) => success(users.ofTenant(own(request).id).map(userView)),
  );

  app.patch(
    '/api/v1/company/users/:id',
    {
      config,
      schema: {
        tags,
        summary: 'Change what somebody may do',
        params: IdParams,
        body: PersonBody,
        response: { 200: Envelope(UserView), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const user = colleague(request, request.params.id);
      const { keepJobs = false, ...change } = request.body;
      const keep = (): void => jobStore.outliveAsker(user.tenant, user.id);
      return success(userView(company.change(user, change, actorOf(request), keepJobs ? keep : undefined)));
    },
  );

  app.delete(
    '/api/v1/company/users/:id',
    {
      config,
      schema: {
        tags,
        summary: 'Remove somebody, with the keys that person made',
        params: IdParams,
        response: { 200: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const user = colleague(request, request.params.id);
      company.demandRemovable(user);
      await erasePerson(deps, user, actorOf(request));
      return success(null, 'Removed. The keys this person made no longer work.');
    },
  );

  app.get(
    '/api/v1/company/invitations',
    {
      config,
      schema: {
        tags,
        summary: 'Open invitations',
        response: { 200: Envelope(Type.Array(InvitationView)), default: ErrorEnvelope },
      },
    },
    async (request) => success(invitations.list(own(request).id).map(invitationView)),
  );

  app.post(
    '/api/v1/company/invitations',
    {
      config,
      schema: {
        tags,
        summary: 'Invite somebody by e-mail',
        body: InvitationBody,
        response: { 201: Envelope(InvitationView), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { email, role = 'member' } = request.body;
      const { invitation } = company.invite({ tenant: own(request).id, email, role }, actorOf(request));
      return reply.status(201).send(success(invitationView(invitation), 'The invitation is on its way.'));
    },
  );

  app.delete(
    '/api/v1/company/invitations/:id',
    {
      config,
      schema: {
        tags,
        summary: 'Withdraw an invitation',
        params: IdParams,
        response: { 200: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const invitation = invitations.find(request.params.id);
      if (!invitation || invitation.tenant !== own(request).id)
        throw new ApiError('not_found', 'There is no such invitation.');
      company.withdraw(invitation, actorOf(request));
      return success(null, 'Withdrawn.');
    },
  );

  app.get(
    '/api/v1/company/export',
    {
      config,
      schema: {
        tags,
        summary: 'Everything we hold about my company, as JSON lines',
        produces: ['application/x-ndjson'],
        response: { 200: Type.Unknown(), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { id } = own(request);
      audit.add(actorOf(request), { action: 'tenant.export', target: id, tenant: id });
      return sendLines(reply, `${id}.jsonl`, exportOfCompany(deps, id));
    },
  );

  app.delete(
    '/api/v1/company',
    {
      config,
      schema: {
        tags,
        summary:
          'Delete my company with all its people, keys and kept prompts; credits that are left are lost',
        body: EraseBody,
        response: { 200: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { user, session } = personOf(deps, request);
      await recovery.demandPassword(user, session, request.body.password, actorOf(request));
      await eraseCompany(deps, user.tenant, actorOf(request));
      clearCookies(deps, reply);
      return success(null, 'The company is deleted.');
    },
  );

  function own(request: FastifyRequest): TenantRecord {
    const found = tenants.find(identityOf(request).tenant.id);
    if (!found) throw new ApiError('not_found', 'There is no such company.');
    return found;
  }

  function colleague(request: FastifyRequest, id: string): UserRecord {
    const user = users.find(id);
    if (!user || user.tenant !== identityOf(request).tenant.id)
      throw new ApiError('not_found', 'There is no such person.');
    return user;
  }
};

function companyView(tenant: TenantRecord) {
  const { id, name, plan, history, allowNSFW, sharesWork, suspendedAt, createdAt } = tenant;
  const suspended = suspendedAt !== null;
  return { id, name, plan, history, allowNSFW, sharesWork, suspended, createdAt: moment(createdAt) };
}
