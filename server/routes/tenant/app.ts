import { getHeapStatistics } from 'node:v8';
import cookie from '@fastify/cookie';
import cors, { type FastifyCorsOptions } from '@fastify/cors';
import multipart from '@fastify/multipart';
import websocket from '@fastify/websocket';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyBaseLogger } from 'fastify';
import { type BaseApp, baseApp, type Tls } from '../../http/base-app.ts';
import { dropIgnored } from '../../contract/given-fields.ts';
import { limits } from '../../contract/limits.ts';
import { tidyUrl } from '../../http/paths.ts';
import { addressKey } from '../../http/address.ts';
import { bodyBounds, takeBodies } from '../../http/body-intake.ts';
import { clientAddress } from '../../http/tunnel-listener.ts';
import { authRoutes } from './auth.ts';
import { authenticate, demandRights } from './authentication.ts';
import { companyRoutes } from './company.ts';
import { creditRoutes } from './credits.ts';
import { historyRoutes } from './history.ts';
import { imageRoutes } from './images.ts';
import { jobEventRoutes } from './job-events.ts';
import { jobFileRoutes } from './job-files.ts';
import { jobRoutes } from './jobs.ts';
import { keyRoutes } from './keys.ts';
import { modelRoutes } from './models.ts';
import { moderationRoutes } from './moderations.ts';
import { paymentRoutes } from './payments.ts';
import { platformRoutes } from './platform.ts';
import { simpleRoutes } from './simple.ts';
import type { Identity } from '../../tenants/tenant.ts';
import { takeKeys } from './once.ts';
import { countRequest, lookAgain, tellIgnored, type TenantDeps } from './tenant-context.ts';
import { textRoutes } from './text.ts';
import { uploadRoutes } from './uploads.ts';
import { userRoutes } from './users.ts';
import { webhookRoutes } from './webhooks.ts';

/** Stands in the corner of the documentation's page. */
const wordmark =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 150 40"><text x="0" y="28" font-family="sans-serif" font-size="26" fill="#fff">Kilnhouse</text></svg>';

/** The documentation's page runs its own scripts, sets styles from them, and tries routes of this address. */
const documentationPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The API that tenants use. Built here, listened to elsewhere. */
export async function tenantApp(
  deps: TenantDeps,
  logger: FastifyBaseLogger,
  tls: Tls | null,
): Promise<BaseApp> {
  const app = await baseApp(logger, { tls, rewriteUrl: tidyUrl });
  app.decorateRequest('identity', null);
  await app.register(cookie);
  if (deps.origins.length > 0) await app.register(cors, crossOrigin(deps.origins));
  // Before the body is read: who has no key does not get to send thirty megabytes.
  app.addHook('onRequest', (request, reply, done) => {
    const { open, only, counts } = request.routeOptions.config;
    if (request.is404 || open) return done();
    const letIn = (identity: Identity): void => {
      demandRights(identity, only);
      request.identity = identity;
      if (counts !== undefined) countRequest(deps, request, reply, counts);
    };
    const found = authenticate(deps, request);
    // Only a person's token is waited for; a key, which is nearly every request, costs no turn of the loop.
    if (found instanceof Promise) return found.then(letIn);
    letIn(found);
    done();
  });
  // The body may have taken a minute: a right that was lost meanwhile is lost (A1, A5).
  app.addHook('preHandler', (request, _reply, done) => {
    if (request.identity) demandRights(lookAgain(request), request.routeOptions.config.only);
    done();
  });
  takeKeys(app, deps);
  app.addHook('preValidation', (request, reply, done) => {
    const schema = request.routeOptions.schema?.body;
    if (schema) tellIgnored(reply, dropIgnored(schema, request.body));
    done();
  });
  takeBodies(app, bodyBounds(getHeapStatistics().heap_size_limit), (request) =>
    request.identity
      ? { kind: 'tenant', id: request.identity.tenant.id }
      : { kind: 'address', id: addressKey(clientAddress(request)) },
  );
  const { bytes, files, fields, fieldBytes } = limits.upload;
  app.addHook('onRoute', (route) => {
    // The documentation is for people who have no key yet.
    if (route.url.startsWith('/docs')) route.config = { ...route.config, open: true };
    else if (route.config?.open) route.schema = { ...route.schema, security: [] };
  });
  await app.register(multipart, {
    limits: { fileSize: bytes, files, fields, fieldSize: fieldBytes, parts: files + fields },
  });
  await app.register(websocket, { options: { maxPayload: limits.socketMessageBytes } });
  await app.register(swagger, {
    openapi: {
      info: {
        title: deps.demo ? 'Kilnhouse tenant API (demo)' : 'Kilnhouse tenant API',
        version: deps.version,
        description:
          'Text and images from one shared GPU. The /v1 routes work with the official OpenAI SDKs: set the base URL to this address and /v1.',
      },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
  });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: documentationPolicy,
    uiConfig: { docExpansion: 'list' },
    theme: { title: 'Kilnhouse' },
    logo: { type: 'image/svg+xml', content: Buffer.from(wordmark), href: '/docs' },
  });
  const families = [
    platformRoutes,
    modelRoutes,
    textRoutes,
    imageRoutes,
    moderationRoutes,
    simpleRoutes,
    authRoutes,
    userRoutes,
    companyRoutes,
    keyRoutes,
    creditRoutes,
    paymentRoutes,
    historyRoutes,
    jobRoutes,
    jobEventRoutes,
    jobFileRoutes,
    uploadRoutes,
    webhookRoutes,
  ];
  for (const routes of families) await app.register(routes, deps);
  return app;
}

/**
 * Pages of these origins may call the API with a key. Cookies are never allowed: without `credentials` a browser neither
 * shows an answer to a request that carried one nor keeps one that is set. A preflight carries no key, so it cannot be
 * told who asks; it opens nothing that a key does not. Without cookies, `*` shows all headers to the page.
 */
function crossOrigin(origins: readonly string[]): FastifyCorsOptions {
  return {
    origin: origins.includes('*') ? '*' : origins.map((one) => one.toLowerCase()),
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    exposedHeaders: '*',
    maxAge: limits.preflightSeconds,
    strictPreflight: false,
  };
}
