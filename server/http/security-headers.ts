import helmet from '@fastify/helmet';
import { isTunnelled } from './tunnel-listener.ts';
import type { BaseApp } from './base-app.ts';

/** Half a year. Nothing is said of other names below the same one: they may be other machines. */
const strictTransport = 'max-age=15552000';

/** What an answer that is no page may do in a browser: nothing. Pages have policies of their own. */
const policy = {
  'default-src': ["'none'"],
  'base-uri': ["'none'"],
  'form-action': ["'none'"],
  'frame-ancestors': ["'none'"],
} as const;

/**
 * Security headers on every answer. `upgrade-insecure-requests` is not among them: on a LAN without TLS it would make
 * a page ask for its own scripts by https, where nobody listens.
 */
export async function secureHeaders(app: BaseApp): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: policy },
    crossOriginResourcePolicy: { policy: 'same-origin' },
    referrerPolicy: { policy: 'no-referrer' },
    frameguard: { action: 'deny' },
    // Said below, where they are heard: browsers pass over both without TLS, and complain about the second.
    strictTransportSecurity: false,
    crossOriginOpenerPolicy: false,
  });
  app.addHook('onRequest', (request, reply, done) => {
    if (request.protocol === 'https' || isTunnelled(request)) {
      reply.headers({
        'strict-transport-security': strictTransport,
        'cross-origin-opener-policy': 'same-origin',
      });
    }
    done();
  });
}
