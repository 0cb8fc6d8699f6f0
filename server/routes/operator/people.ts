import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { IdParams, InvitationView, PersonBody, UserView } from '../../contract/accounts.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { Done } from '../../contract/operator.ts';
import { MadeInvitationView, OperatorInvitationBody, OutboxView } from '../../contract/operator-accounts.ts';
import { PageOf, PageQuery } from '../../contract/platform.ts';
import { ApiError } from '../../http/api-error.ts';
import { moment, momentOrNull } from '../../http/envelope.ts';
import { invitationView, pageOf, userView } from '../../http/views.ts';
import { erasePerson } from '../../privacy/erase.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

/** People, invitations, and the messages that no mail server takes. */
export const peopleRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { users, invitations, company, outbox, tenants } = deps;

  app.get(
    '/api/users',
    {
      schema: {
        summary: 'The people of all companies, newest first',
        querystring: PageQuery,
        response: { 200: PageOf(UserView), default: ErrorBody },
      },
    },
    async (request) => {
      const { after, limit = limits.page.default } = request.query;
      return pageOf(users.page(after, limit + 1), limit, userView);
    },
  );

  app.patch(
    '/api/users/:id',
    {
      schema: {
        summary: 'Change what somebody may do, or disable the account',
        params: IdParams,
        body: PersonBody,
        response: { 200: UserView, default: ErrorBody },
      },
    },
    async (request) => {
      const user = find(request.params.id);
      const { keepJobs = false, ...change } = request.body;
      const keep = (): void => deps.jobStore.outliveAsker(user.tenant, user.id);
      return userView(company.change(user, change, operatorOf(request), keepJobs ? keep : undefined));
    },
  );

  app.delete(
    '/api/users/:id',
    {
      schema: {
        summary: 'Delete somebody’s account, with its keys and kept prompts',
        params: IdParams,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      await erasePerson(deps, find(request.params.id), operatorOf(request));
      return { done: true, message: 'The account is deleted.' };
    },
  );

  app.get(
    '/api/invitations',
    {
      schema: {
        summary: 'Open invitations to found a company',
        response: { 200: Type.Array(InvitationView), default: ErrorBody },
      },
    },
    async () => invitations.list(null).map(invitationView),
  );

  app.post(
    '/api/invitations',
    {
      schema: {
        summary: 'Invite somebody to found a company, or to one that is there',
        body: OperatorInvitationBody,
        response: { 201: MadeInvitationView, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const {
        email,
        tenant = null,
        role = tenant === null ? 'admin' : 'member',
        plan,
        credits,
      } = request.body;
      if (tenant !== null && !tenants.find(tenant))
        throw new ApiError('not_found', 'There is no such company.');
      const made = company.invite({ tenant, email, role, plan, credits }, operatorOf(request));
      return reply.status(201).send({ ...invitationView(made.invitation), token: made.token });
    },
  );

  app.delete(
    '/api/invitations/:id',
    {
      schema: {
        summary: 'Withdraw an invitation',
        params: IdParams,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      const invitation = invitations.find(request.params.id);
      if (!invitation) throw new ApiError('not_found', 'There is no such invitation.');
      company.withdraw(invitation, operatorOf(request));
      return { done: true, message: 'Withdrawn.' };
    },
  );

  app.get(
    '/api/outbox',
    {
      schema: {
        summary: 'Messages to people, newest first; without a mail server, pass them on by hand',
        querystring: PageQuery,
        response: { 200: OutboxView, default: ErrorBody },
      },
    },
    async (request) => {
      const { after, limit = limits.page.default } = request.query;
      const page = pageOf(outbox.page(after, limit + 1), limit, ({ createdAt, sentAt, ...message }) => ({
        ...message,
        createdAt: moment(createdAt),
        sentAt: momentOrNull(sentAt),
      }));
      return { delivered: outbox.isDelivered, ...page };
    },
  );

  function find(id: string) {
    const user = users.find(id);
    if (!user) throw new ApiError('not_found', 'There is no such person.');
    return user;
  }
};
