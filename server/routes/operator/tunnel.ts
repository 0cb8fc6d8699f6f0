import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { TunnelView } from '../../contract/console.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

/** The way from the internet to the tenant API. */
export const tunnelRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, { tunnel, audit }) => {
  app.get(
    '/api/tunnel',
    { schema: { summary: 'How the tunnel stands', response: { 200: TunnelView, default: ErrorBody } } },
    async () => ({ ...tunnel.status() }),
  );

  app.post(
    '/api/tunnel/start',
    {
      schema: {
        summary: 'Open it: the tenant API, and nothing else, can be reached from the internet',
        response: { 200: TunnelView, default: ErrorBody },
      },
    },
    async (request) => {
      try {
        return { ...(await tunnel.start()) };
      } finally {
        // One that could not be opened at once is tried again by itself.
        const { state, mode } = tunnel.status();
        if (state !== 'off') audit.add(operatorOf(request), { action: 'tunnel.start', after: { mode } });
      }
    },
  );

  app.post(
    '/api/tunnel/stop',
    { schema: { summary: 'Shut it', response: { 200: TunnelView, default: ErrorBody } } },
    async (request) => {
      await tunnel.stop();
      audit.add(operatorOf(request), { action: 'tunnel.stop' });
      return { ...tunnel.status() };
    },
  );

  app.get(
    '/api/tunnel/logs',
    {
      schema: {
        summary: 'What cloudflared said lately',
        response: {
          200: Type.Array(Type.Object({ at: Type.Number(), stream: Type.String(), text: Type.String() })),
          default: ErrorBody,
        },
      },
    },
    async () => tunnel.logs().map((line) => ({ ...line })),
  );
};
