import type { EngineStatus } from '../../../gpu/engine-care.ts';
import type { Static } from 'typebox';
import type { ModelStatus } from '../../../gpu/model-book.ts';
import type { Sample } from '../../../gpu/telemetry/telemetry.ts';
import { reasons, type Standing } from '../../../gpu/vram/explain.ts';
import type { Alert, LiveItem, LiveState } from '../../contract/console.ts';
import { alertsOf } from './alerts.ts';
import type { OperatorDeps } from './operator-context.ts';

/** One waiting piece of work, as the operator sees it. */
export function queueItem({ work, position, etaMs, reason }: Standing) {
  return {
    id: work.id,
    tenant: work.tenant,
    model: work.modelId,
    lane: work.lane,
    position,
    etaMs: etaMs === null ? null : Math.round(etaMs),
    waitedMs: Math.round(performance.now() - work.since),
    reason,
    explanation: reasons[reason],
    feature: work.feature ?? '',
  };
}

export function engineView({ profile, exclusive: _, ...engine }: EngineStatus) {
  const { workingBytes: __, ...shown } = profile;
  return { ...engine, profile: { ...shown, args: [...shown.args] } };
}

export function modelView(model: ModelStatus) {
  const { name: _, vision: __, tools: ___, embeds: ____, ...shown } = model;
  return { ...shown, blockedByPins: [...model.blockedByPins] };
}

export function machineView(sample: Sample | undefined) {
  if (!sample) return null;
  const { card } = sample;
  return {
    ...sample,
    card: card && { ...card, processes: card.processes.map((process) => ({ ...process })) },
  };
}

/** In steps of some seconds, coarser further away: what is not said anew is not sent. */
function startsAt({ etaMs }: Standing, now: number): number | null {
  if (etaMs === null) return null;
  const stepMs = etaMs < 15_000 ? 1_000 : etaMs < 120_000 ? 10_000 : 60_000;
  return Math.round((now + etaMs) / stepMs) * stepMs;
}

function liveItem(
  standing: Standing,
  now: number,
  nameOf: (tenant: string) => string,
): Static<typeof LiveItem> {
  const { work, reason } = standing;
  return {
    id: work.id,
    tenant: work.tenant,
    tenantName: nameOf(work.tenant),
    model: work.modelId,
    feature: work.feature ?? '',
    lane: work.lane,
    reason,
    since: Math.round(performance.timeOrigin + work.since),
    startsAt: startsAt(standing, now),
  };
}

type Sources = Pick<
  OperatorDeps,
  | 'configuration'
  | 'gpu'
  | 'pause'
  | 'tunnel'
  | 'tenants'
  | 'tenantsFile'
  | 'admission'
  | 'writes'
  | 'version'
  | 'demo'
  | 'lan'
>;

/** What the operator should know of now. */
export function currentAlerts({
  configuration,
  gpu,
  tunnel,
  tenantsFile,
  writes,
  lan,
}: Pick<Sources, 'configuration' | 'gpu' | 'tunnel' | 'tenantsFile' | 'writes' | 'lan'>): Static<
  typeof Alert
>[] {
  const { state, problem } = tunnel.status();
  return alertsOf({
    gpu: gpu.status(),
    engines: gpu.engines(),
    models: gpu.models(),
    writes: writes.status(),
    now: Date.now(),
    tenantsProblem: tenantsFile.problem(),
    tunnelFailure:
      state === 'failed' || state === 'reconnecting' ? (problem ?? 'It lost its connection.') : null,
    settingsFault: configuration.fault,
    listenerProblem: lan.problem,
  });
}

/** Everything the console shows live, by id, so that a change can be sent as a merge patch. */
export function snapshot(sources: Sources): LiveState {
  const { gpu, pause, tunnel, tenants, admission, version, demo, lan } = sources;
  // Of hundreds of waiting items, most are of a few tenants.
  const names = new Map<string, string>();
  const nameOf = (id: string): string => {
    const name = names.get(id) ?? tenants.nameOf(id) ?? id;
    names.set(id, name);
    return name;
  };
  const now = Date.now();
  const [status, engines, models, tunnelStatus] = [
    gpu.status(),
    gpu.engines(),
    gpu.models(),
    tunnel.status(),
  ];
  const { state, address } = tunnelStatus;
  return {
    version,
    demo,
    tenantUrl: lan.url,
    gpu: status,
    pause: { ...pause.status() },
    machine: machineView(gpu.telemetry.latest()),
    engines: byId(engines.map(engineView)),
    models: byId(models.map(modelView)),
    queue: byId(gpu.scheduler.standings().map((standing) => liveItem(standing, now, nameOf))),
    reasons,
    // The last of them: the whole record has a route of its own.
    decisions: Object.fromEntries(
      gpu.scheduler
        .decisions()
        .slice(-50)
        .map((decision) => [decision.sequence, decision]),
    ),
    alerts: byId(currentAlerts(sources)),
    tunnel: { state, address },
    running: Object.fromEntries(admission.openByTenant()),
  };
}

function byId<Item extends { id: string }>(items: readonly Item[]): Record<string, Item> {
  return Object.fromEntries(items.map((item) => [item.id, item]));
}
