import type { EngineStatus } from '../../../gpu/engine-care.ts';
import type { Gpu } from '../../../gpu/gpu.ts';
import type { ModelStatus } from '../../../gpu/model-book.ts';
import type { Sample } from '../../../gpu/telemetry/telemetry.ts';
import { reasons, type Standing } from '../../../gpu/vram/explain.ts';

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
  };
}

export function engineView({ profile, exclusive: _, ...engine }: EngineStatus) {
  const { workingBytes: __, ...shown } = profile;
  return { ...engine, profile: { ...shown, args: [...shown.args] } };
}

export function modelView(model: ModelStatus) {
  const { name: _, vision: __, tools: ___, embeds: ____, ...shown } = model;
  return shown;
}

export function machineView(sample: Sample | undefined) {
  if (!sample) return null;
  const { card } = sample;
  return {
    ...sample,
    card: card && { ...card, processes: card.processes.map((process) => ({ ...process })) },
  };
}

/** Everything the console shows live, by id, so that a change can be sent as a merge patch. */
export function snapshot(gpu: Gpu) {
  const decisions = gpu.scheduler.decisions();
  return {
    gpu: gpu.status(),
    machine: machineView(gpu.telemetry.latest()),
    engines: byId(gpu.engines().map(engineView)),
    models: byId(gpu.models().map(modelView)),
    queue: byId(gpu.scheduler.standings().map(queueItem)),
    // The last of them: the whole record has a route of its own.
    decisions: Object.fromEntries(decisions.slice(-50).map((decision) => [decision.sequence, decision])),
  };
}
export type Snapshot = ReturnType<typeof snapshot>;

function byId<Item extends { id: string }>(items: readonly Item[]): Record<string, Item> {
  return Object.fromEntries(items.map((item) => [item.id, item]));
}
