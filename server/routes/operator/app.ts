import websocket from '@fastify/websocket';
import type { FastifyBaseLogger } from 'fastify';
import { type BaseApp, baseApp } from '../../http/base-app.ts';
import { auditRoutes } from './audit.ts';
import { backupRoutes } from './backups.ts';
import { diagnosticRoutes } from './diagnostics.ts';
import { gpuRoutes } from './gpu.ts';
import { operatorJobRoutes } from './jobs.ts';
import { lanRoutes } from './lan.ts';
import { ledgerRoutes } from './ledger.ts';
import { liveRoutes } from './live.ts';
import { metricsRoutes } from './metrics.ts';
import { offerRoutes } from './offers.ts';
import { checkOperator, type OperatorDeps } from './operator-context.ts';
import { peopleRoutes } from './people.ts';
import { settingsRoutes } from './settings.ts';
import { tenantRoutes } from './tenants.ts';
import { tunnelRoutes } from './tunnel.ts';

/** The API that the operator's console uses. Built here, listened to elsewhere, on loopback only. */
export async function operatorApp(deps: OperatorDeps, logger: FastifyBaseLogger): Promise<BaseApp> {
  const app = baseApp(logger);
  // Every path, known or not, and WebSockets too: an outsider learns nothing here.
  app.addHook('onRequest', async (request) => checkOperator(request, deps.token));
  await app.register(websocket, { options: { maxPayload: 64 * 1024 } });
  const families = [
    gpuRoutes,
    tenantRoutes,
    peopleRoutes,
    ledgerRoutes,
    operatorJobRoutes,
    offerRoutes,
    auditRoutes,
    backupRoutes,
    liveRoutes,
    metricsRoutes,
    tunnelRoutes,
    settingsRoutes,
    diagnosticRoutes,
    lanRoutes,
  ];
  for (const routes of families) await app.register(routes, deps);
  return app;
}
