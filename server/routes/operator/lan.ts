import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { Nullable } from '../../contract/platform.ts';
import { lanAddresses } from '../../tls/lan-certificate.ts';
import type { OperatorDeps } from './operator-context.ts';

const View = Type.Object({
  open: Type.Boolean({ description: 'Whether others than this machine get an answer.' }),
  addresses: Type.Array(Type.String(), { description: 'Where the LAN reaches the tenant API.' }),
  certificate: Nullable(
    Type.Object({
      ours: Type.Boolean({ description: 'Made by us: programs have to be told to trust it.' }),
      fingerprint: Type.String({ description: 'SHA-256, to compare with what a browser shows.' }),
      pem: Type.String(),
    }),
  ),
});

/** How the tenant API is reached in the house. */
export const lanRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, { lan }) => {
  app.get(
    '/api/lan',
    {
      schema: {
        summary: 'Addresses of the tenant API on the LAN, and its certificate',
        response: { 200: View, default: ErrorBody },
      },
    },
    async () => {
      const { host, certificate } = lan;
      const { port } = lan.address();
      const open = host !== '127.0.0.1';
      const hosts = !open ? [] : host === '0.0.0.0' ? lanAddresses() : [host];
      return {
        open,
        addresses: hosts.map((name) => `${certificate ? 'https' : 'http'}://${name}:${port}`),
        certificate: certificate && {
          ours: certificate.isOurs,
          fingerprint: certificate.fingerprint,
          pem: certificate.cert,
        },
      };
    },
  );
};
