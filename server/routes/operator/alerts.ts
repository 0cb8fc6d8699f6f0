import type { Static } from 'typebox';
import type { EngineStatus } from '../../../gpu/engine-care.ts';
import type { GpuStatus } from '../../../gpu/gpu.ts';
import type { ModelStatus } from '../../../gpu/model-book.ts';
import type { WritesStatus } from '../../db/durable-writes.ts';
import type { Alert } from '../../contract/console.ts';

/** A write that waits longer than this is no hiccup. */
const patienceMs = 5_000;

interface Condition {
  readonly gpu: Pick<GpuStatus, 'readable' | 'declared' | 'dirty'>;
  readonly engines: readonly Pick<EngineStatus, 'id' | 'title' | 'health' | 'failure'>[];
  readonly models: readonly Pick<ModelStatus, 'id' | 'engineId' | 'spilled' | 'waiting'>[];
  readonly writes: WritesStatus;
  /** Wall-clock milliseconds. */
  readonly now: number;
  readonly tenantsProblem: string | null;
  readonly tunnelFailure: string | null;
  /** Why the settings in config.json are not in effect. */
  readonly settingsFault: string | null;
  /** Why the tenant API is not open. */
  readonly listenerProblem: string | null;
}

/** What the operator should know of, and what to do about it: the same for console, tray and notifications. Pure. */
export function alertsOf(now: Condition): Static<typeof Alert>[] {
  const alerts: Static<typeof Alert>[] = [];
  if (now.settingsFault !== null)
    alerts.push({
      id: 'settings:file',
      level: 'error',
      title: 'The last settings that worked are in use',
      advice: `The start with those in config.json failed: ${now.settingsFault} Change them, then restart.`,
      page: '/settings',
    });
  if (now.listenerProblem !== null)
    alerts.push({
      id: 'tenant:listener',
      level: 'error',
      title: 'The tenant API is not open',
      advice: `${now.listenerProblem} It opens by itself as soon as that is possible.`,
      page: '/settings',
    });
  for (const engine of now.engines) {
    const alert = engineAlert(engine, waitingFor(now.models, engine.id));
    if (alert) alerts.push(alert);
  }
  if (!now.gpu.readable && !now.gpu.declared)
    alerts.push({
      id: 'gpu:unreadable',
      level: 'error',
      title: 'The card cannot be read',
      advice: 'Nothing new is loaded until it can. Look whether nvidia-smi answers in a terminal.',
      page: '/',
    });
  if (now.gpu.dirty)
    alerts.push({
      id: 'gpu:dirty',
      level: 'warning',
      title: 'Video memory did not come back',
      advice: 'An unload did not free what it should have. If it stays so, restart the engine that held it.',
      page: '/engines',
    });
  for (const { id, spilled } of now.models) {
    if (!spilled) continue;
    alerts.push({
      id: `model:${id}`,
      level: 'warning',
      title: `${id} has spilled into system memory`,
      advice:
        'It became several times slower. In the NVIDIA Control Panel set "CUDA - Sysmem Fallback Policy" to "Prefer No Sysmem Fallback", or use a smaller model.',
      page: '/models',
    });
  }
  const { waiting, waitingSince, lost } = now.writes;
  if (waitingSince !== null && now.now - waitingSince > patienceMs)
    alerts.push({
      id: 'storage:waiting',
      level: 'error',
      title: 'The disk does not take what has to be recorded',
      advice: `${waiting} ends of requests, jobs and messages wait for it, and are written as soon as it does. Look whether the disk is full.`,
      page: '/about',
    });
  const lostOnes = Object.entries(lost);
  if (lostOnes.length > 0)
    alerts.push({
      id: 'storage:lost',
      level: 'error',
      title: 'Some things could not be recorded',
      advice: `Since the start: ${lostOnes.map(([what, count]) => `${what} (${count})`).join(', ')}. The log has the reason for each; please report it. Credits that were held were given back.`,
      page: '/about',
    });
  if (now.tenantsProblem !== null)
    alerts.push({
      id: 'tenants:file',
      level: 'error',
      title: 'tenants.json has a mistake',
      advice: `${now.tenantsProblem} What was in force before it stays so.`,
      page: '/tenants',
    });
  if (now.tunnelFailure !== null)
    alerts.push({
      id: 'tunnel',
      level: 'error',
      title: 'The tunnel is not open',
      advice: now.tunnelFailure,
      page: '/network',
    });
  return alerts;
}

function engineAlert(
  { id, title, health, failure }: Condition['engines'][number],
  waiting: number,
): Static<typeof Alert> | null {
  const place = { id: `engine:${id}`, page: '/engines' };
  const waits = waiting === 1 ? '1 request waits' : `${waiting} requests wait`;
  const after = waiting === 0 ? '' : `: ${waits}`;
  switch (health) {
    case 'stopped':
      return {
        ...place,
        level: 'warning',
        title: `${title} is stopped${after}`,
        advice: 'You stopped it, and nothing else starts it. Start it on the page Engines.',
      };
    case 'failing':
      return {
        ...place,
        level: 'error',
        title: `${title} is down${after}`,
        advice: `${failure ?? 'It does not answer.'} It is started again by itself; its log says more.`,
      };
    case 'failed':
      return {
        ...place,
        level: 'error',
        title: `${title} keeps failing${after}`,
        advice: `${failure ?? 'It does not answer.'} It is now tried only once in a while. Mend the cause, then start it on the page Engines.`,
      };
    case 'ready':
    case 'starting':
    case 'unknown':
      return null;
  }
}

function waitingFor(models: Condition['models'], engineId: string): number {
  return models.reduce((sum, model) => sum + (model.engineId === engineId ? model.waiting : 0), 0);
}
