import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LanView } from '../../contract/console.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { lanAddresses } from '../../tls/lan-certificate.ts';
import type { OperatorDeps } from './operator-context.ts';

/** How the tenant API is reached in the house. */
export const lanRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, { lan }) => {
  app.get(
    '/api/lan',
    {
      schema: {
        summary: 'Addresses of the tenant API on the LAN, and its certificate',
        response: { 200: LanView, default: ErrorBody },
      },
    },
    async () => {
      const { host, port, certificate } = lan;
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
