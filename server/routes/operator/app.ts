import websocket from '@fastify/websocket';
import type { FastifyBaseLogger } from 'fastify';
import { type BaseApp, baseApp } from '../../http/base-app.ts';
import { gpuRoutes } from './gpu.ts';
import { liveRoutes } from './live.ts';
import { metricsRoutes } from './metrics.ts';
import { checkOperator, type OperatorDeps } from './operator-context.ts';
import { tenantRoutes } from './tenants.ts';

/** The API that the operator's console uses. Built here, listened to elsewhere, on loopback only. */
export async function operatorApp(deps: OperatorDeps, logger: FastifyBaseLogger): Promise<BaseApp> {
  const app = baseApp(logger);
  // Every path, known or not, and WebSockets too: an outsider learns nothing here.
  app.addHook('onRequest', async (request) => checkOperator(request, deps.token));
  await app.register(websocket, { options: { maxPayload: 64 * 1024 } });
  for (const routes of [gpuRoutes, tenantRoutes, liveRoutes, metricsRoutes]) await app.register(routes, deps);
  return app;
}
