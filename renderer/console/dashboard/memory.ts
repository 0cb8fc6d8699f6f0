import type { LiveView } from '../../api/live.ts';

export interface Segment {
  readonly key: string;
  readonly kind: 'model' | 'engines' | 'others' | 'reserve' | 'free';
  readonly label: string;
  readonly bytes: number;
  readonly color: string | null;
  /** ready, loading, draining, unloading; only for models. */
  readonly phase: string | null;
}

type Memory = Pick<LiveView, 'gpu' | 'models' | 'machine'>;

/** What the card's memory is taken by, from left to right; the parts add up to the card. Pure. */
export function segmentsOf({ gpu, models, machine }: Memory, colorOf: (id: string) => string): Segment[] {
  const { totalBytes, budgetBytes, othersBytes, excessBytes } = gpu;
  const loaded = Object.values(models)
    .filter(({ phase }) => phase !== 'absent')
    .toSorted((a, b) => a.id.localeCompare(b.id))
    .map(({ id, vramBytes, phase }) => ({
      key: id,
      kind: 'model' as const,
      label: id,
      bytes: vramBytes,
      color: colorOf(id),
      phase,
    }));
  const ours = loaded.reduce((sum, { bytes }) => sum + bytes, 0);
  // The desktop has no process of its own in the driver's list.
  const names = (machine?.card?.processes ?? [])
    .filter((process) => !process.ours)
    .map(({ name }) => name.split(/[/\\]/).at(-1) ?? name)
    .filter((name, index, all) => all.indexOf(name) === index);
  const others = Math.min(othersBytes, Math.max(0, totalBytes - ours));
  const engines = Math.min(excessBytes, Math.max(0, totalBytes - ours - others));
  const left = Math.max(0, totalBytes - ours - others - engines);
  const free = Math.min(left, Math.max(0, budgetBytes - ours));
  const parts: Segment[] = [
    {
      key: 'others',
      kind: 'others',
      label: names.length > 0 && names.length <= 3 ? names.join(', ') : 'Desktop and other programs',
      bytes: others,
      color: null,
      phase: null,
    },
    ...loaded,
    {
      key: 'engines',
      kind: 'engines',
      label: 'Engines, beside their models',
      bytes: engines,
      color: null,
      phase: null,
    },
    { key: 'free', kind: 'free', label: 'Free for models', bytes: free, color: null, phase: null },
    { key: 'reserve', kind: 'reserve', label: 'Kept free', bytes: left - free, color: null, phase: null },
  ];
  return parts.filter(({ kind, bytes }) => kind === 'free' || bytes > 0);
}
