import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import {
  EraseBody,
  IdParams,
  Nothing,
  PasswordBody,
  ProfileBody,
  SessionView,
  UserView,
} from '../../contract/accounts.ts';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { Envelope } from '../../contract/platform.ts';
import { ApiError } from '../../http/api-error.ts';
import { erasePerson } from '../../privacy/erase.ts';
import { exportOfPerson } from '../../privacy/export.ts';
import { userView } from '../../http/views.ts';
import { clearCookies } from './authentication.ts';
import { Type } from 'typebox';
import { sendLines } from '../../http/download.ts';
import { moment, success } from '../../http/envelope.ts';
import { ofAccountSize } from '../../http/body-intake.ts';
import { actorOf, personOf, type TenantDeps } from './tenant-context.ts';

const tags = ['Accounts'];
const config = { only: 'person' } as const;

/** A person's own account. */
export const userRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { users, sessions, audit, ledger, directory, recovery, company } = deps;
  app.addHook('onRoute', ofAccountSize);

  app.get(
    '/api/v1/users/profile',
    {
      config,
      schema: { tags, summary: 'Who I am', response: { 200: Envelope(UserView), default: ErrorEnvelope } },
    },
    async (request) => success(userView(personOf(deps, request).user)),
  );

  app.patch(
    '/api/v1/users/profile',
    {
      config,
      schema: {
        tags,
        summary: 'Change my name',
        body: ProfileBody,
        response: { 200: Envelope(UserView), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { user } = personOf(deps, request);
      const changed = ledger.atomically(() => {
        audit.add(actorOf(request), { action: 'user.rename', target: user.id, tenant: user.tenant });
        return users.change(user.id, { name: request.body.name.trim() });
      });
      return success(userView(changed));
    },
  );

  app.post(
    '/api/v1/users/password',
    {
      config,
      schema: {
        tags,
        summary: 'Set another password; every other session ends',
        body: PasswordBody,
        response: { 200: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { user, session } = personOf(deps, request);
      const { current, password } = request.body;
      await recovery.change(user, session, { current, next: password }, actorOf(request));
      return success(null, 'The password is set. Every other session has ended.');
    },
  );

  app.get(
    '/api/v1/users/sessions',
    {
      config,
      schema: {
        tags,
        summary: 'Where I am signed in',
        response: { 200: Envelope(Type.Array(SessionView)), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { user, session } = personOf(deps, request);
      return success(
        sessions.list(user.id).map((one) => ({
          ...one,
          current: one.id === session,
          createdAt: moment(one.createdAt),
          expiresAt: moment(one.expiresAt),
        })),
      );
    },
  );

  app.delete(
    '/api/v1/users/sessions/:id',
    {
      config,
      schema: {
        tags,
        summary: 'End one of my sessions',
        params: IdParams,
        response: { 200: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { user } = personOf(deps, request);
      const { id } = request.params;
      if (!sessions.list(user.id).some((one) => one.id === id))
        throw new ApiError('not_found', 'There is no such session.');
      ledger.atomically(() => {
        sessions.end(id);
        audit.add(actorOf(request), { action: 'session.end', target: id, tenant: user.tenant });
      });
      directory.changed();
      return success(null, 'The session has ended.');
    },
  );

  app.get(
    '/api/v1/account/export',
    {
      config,
      schema: {
        tags,
        summary: 'Everything we hold about me, as JSON lines',
        produces: ['application/x-ndjson'],
        response: { 200: Type.Unknown(), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { user } = personOf(deps, request);
      audit.add(actorOf(request), { action: 'user.export', target: user.id, tenant: user.tenant });
      return sendLines(reply, `${user.id}.jsonl`, exportOfPerson(deps, user));
    },
  );

  app.delete(
    '/api/v1/account',
    {
      config,
      schema: {
        tags,
        summary: 'Delete my account, with its keys and kept prompts',
        body: EraseBody,
        response: { 200: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { user, session } = personOf(deps, request);
      await recovery.demandPassword(user, session, request.body.password, actorOf(request));
      company.demandRemovable(user);
      await erasePerson(deps, user, actorOf(request));
      clearCookies(deps, reply);
      return success(null, 'The account is deleted.');
    },
  );
};
