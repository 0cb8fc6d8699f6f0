import { getHeapStatistics } from 'node:v8';
import websocket from '@fastify/websocket';
import type { FastifyBaseLogger } from 'fastify';
import { type BaseApp, baseApp } from '../../http/base-app.ts';
import { bodyBounds, takeBodies } from '../../http/body-intake.ts';
import { auditRoutes } from './audit.ts';
import { backupRoutes } from './backups.ts';
import { diagnosticRoutes } from './diagnostics.ts';
import { downloadRoutes } from './downloads.ts';
import { gpuRoutes } from './gpu.ts';
import { operatorJobRoutes } from './jobs.ts';
import { lanRoutes } from './lan.ts';
import { ledgerRoutes } from './ledger.ts';
import { liveRoutes } from './live.ts';
import { machineRoutes } from './machine.ts';
import { metricsRoutes } from './metrics.ts';
import { offerRoutes } from './offers.ts';
import { checkOperator, type OperatorDeps } from './operator-context.ts';
import { pageRoutes } from './pages.ts';
import { peopleRoutes } from './people.ts';
import { settingsRoutes } from './settings.ts';
import { tenantRoutes } from './tenants.ts';
import { sessionRoutes } from './session.ts';
import { tunnelRoutes } from './tunnel.ts';
import { usageRoutes } from './usage.ts';
import { operatorWebhookRoutes } from './webhooks.ts';

/** The API that the operator's console uses. Built here, listened to elsewhere, on loopback only. */
export async function operatorApp(deps: OperatorDeps, logger: FastifyBaseLogger): Promise<BaseApp> {
  const app = await baseApp(logger);
  // Every path, known or not, and WebSockets too: an outsider learns nothing here.
  app.addHook('onRequest', async (request) => checkOperator(request, deps.access));
  // Whoever comes this far holds the token, or has a small form.
  takeBodies(app, bodyBounds(getHeapStatistics().heap_size_limit), () => ({
    kind: 'tenant',
    id: 'operator',
  }));
  await app.register(websocket, {
    options: {
      maxPayload: 64 * 1024,
      // The same ids come again and again; what was sent before shortens what follows.
      perMessageDeflate: { threshold: 1_024, serverNoContextTakeover: false },
      // The other one offered is the token.
      handleProtocols: (offered) => (offered.has('kilnhouse') ? 'kilnhouse' : ([...offered][0] ?? false)),
    },
  });
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
    sessionRoutes,
    pageRoutes,
    machineRoutes,
    downloadRoutes,
    usageRoutes,
    operatorWebhookRoutes,
  ];
  for (const routes of families) await app.register(routes, deps);
  return app;
}
