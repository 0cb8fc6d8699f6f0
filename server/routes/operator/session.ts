import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { ApiError } from '../../http/api-error.ts';
import { moment } from '../../http/envelope.ts';
import type { OperatorDeps } from './operator-context.ts';

/** How the console comes in: by a link that works once, or with the token. */
export const sessionRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, { access }) => {
  app.post(
    '/api/session',
    {
      bodyLimit: limits.body.accountBytes,
      config: { open: true },
      schema: {
        summary: 'Open a session with the code of a link, or with the operator token',
        body: Type.Object(
          { proof: Type.String({ minLength: 1, maxLength: 200 }) },
          { additionalProperties: false },
        ),
        response: {
          201: Type.Object({ token: Type.String(), expiresAt: Type.String() }),
          default: ErrorBody,
        },
      },
    },
    async (request, reply) => {
      const session = access.open(request.body.proof.trim());
      if (!session)
        throw new ApiError(
          'invalid_api_key',
          'That link or token does not work. A link works once, for a quarter of an hour; npm run console makes a new one.',
        );
      return reply.status(201).send({ token: session.token, expiresAt: moment(session.expiresAt) });
    },
  );

  app.post(
    '/api/session/links',
    {
      schema: {
        summary: 'A link to the console that works once',
        response: { 201: Type.Object({ url: Type.String(), expiresAt: Type.String() }), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { code, expiresAt } = access.newCode();
      const url = consoleLink(`http://127.0.0.1:${request.socket.localPort}`, code);
      return reply.status(201).send({ url, expiresAt: moment(expiresAt) });
    },
  );
};

/** The code stands behind the #, so that it is in no log. */
export function consoleLink(operatorUrl: string, code: string): string {
  return `${operatorUrl}/#/enter/${code}`;
}
