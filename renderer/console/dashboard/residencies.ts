/** A decision of the scheduler, as far as the timeline goes. */
export interface Step {
  readonly sequence: number;
  readonly at: number;
  readonly type: string;
  readonly modelId?: string | null | undefined;
  readonly tookMs?: number | null | undefined;
}

/** A stretch of time that a model spent in one state on the card. */
export interface Span {
  readonly modelId: string;
  readonly kind: 'loading' | 'resident' | 'leaving';
  readonly from: number;
  /** Null while it lasts. */
  readonly to: number | null;
  /** How long a load or a release took. */
  readonly tookMs: number | null;
}

/** What each step of a model makes of its state; null is not on the card. */
const next: Readonly<Record<string, Span['kind'] | null>> = {
  load: 'loading',
  loaded: 'resident',
  load_failed: null,
  drain: 'leaving',
  reopen: 'resident',
  unload: 'leaving',
  released: null,
  lost: 'leaving',
};

/** Which models were on the card when, from the scheduler's decisions in their order. Pure. */
export function residenciesOf(steps: readonly Step[]): Span[] {
  const spans: Span[] = [];
  const open = new Map<string, Omit<Span, 'to' | 'tookMs'>>();
  for (const { at, type, modelId, tookMs } of steps) {
    if (!modelId || !(type in next)) continue;
    const kind = next[type] ?? null;
    const current = open.get(modelId);
    if (current?.kind === kind) continue;
    if (current) spans.push({ ...current, to: at, tookMs: tookMs ?? null });
    if (kind === null) open.delete(modelId);
    else open.set(modelId, { modelId, kind, from: at });
  }
  return [...spans, ...[...open.values()].map((span) => ({ ...span, to: null, tookMs: null }))];
}
