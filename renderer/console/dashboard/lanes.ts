import type { LiveView } from '../../api/live.ts';

export type Item = LiveView['queue'][string];

/** A model with work: what waits for it, in the order it is likely to start. */
export interface Lane {
  readonly modelId: string;
  readonly phase: string;
  readonly running: number;
  readonly slots: number;
  readonly items: readonly Item[];
}

export type Row =
  | { readonly kind: 'lane'; readonly key: string; readonly lane: Lane }
  | { readonly kind: 'item'; readonly key: string; readonly item: Item; readonly position: number };

/** The queue as lanes by model, those with most to do first. Pure. */
export function lanesOf({ queue, models }: Pick<LiveView, 'queue' | 'models'>): Lane[] {
  const waiting = new Map<string, Item[]>();
  for (const item of Object.values(queue)) {
    const items = waiting.get(item.model);
    if (items) items.push(item);
    else waiting.set(item.model, [item]);
  }
  const names = new Set([
    ...waiting.keys(),
    ...Object.values(models).flatMap(({ id, running }) => (running > 0 ? [id] : [])),
  ]);
  return [...names]
    .map((modelId) => {
      const { phase = 'absent', running = 0, slots = 1 } = models[modelId] ?? {};
      return { modelId, phase, running, slots, items: (waiting.get(modelId) ?? []).toSorted(byStart) };
    })
    .toSorted(
      (a, b) => b.items.length + b.running - a.items.length - a.running || a.modelId.localeCompare(b.modelId),
    );
}

/** Those that are expected to start first; then those that have waited longest. */
function byStart(a: Item, b: Item): number {
  return (a.startsAt ?? Infinity) - (b.startsAt ?? Infinity) || a.since - b.since || (a.id < b.id ? -1 : 1);
}

/** Lanes and what is in them, under each other. */
export function rowsOf(lanes: readonly Lane[]): Row[] {
  return lanes.flatMap((lane): Row[] => [
    { kind: 'lane', key: `lane ${lane.modelId}`, lane },
    ...lane.items.map((item, index) => ({ kind: 'item' as const, key: item.id, item, position: index + 1 })),
  ]);
}
