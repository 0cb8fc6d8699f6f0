interface Decision {
  readonly type: string;
  readonly modelId: string | null;
  readonly tenant: string | null;
  readonly cause: string | null;
  readonly drainFor: string | null;
  readonly waiting: number;
  readonly note: string | null;
}

const causes: Readonly<Record<string, string>> = {
  work_waiting: 'because work waits',
  swap_pays: 'because the swap was worth it by then',
  max_wait: 'because somebody had waited the longest allowed',
  idle_victim: 'because nobody used it',
  over_budget: 'because other programs wanted the memory',
  paused: 'because the GPU was taken back',
  idle_timeout: 'because nobody used it for long',
  operator: 'because the operator said so',
};

/** A decision of the scheduler, as a sentence; `names` are those of tenants, by id. Pure. */
export function wordsOf(
  { type, modelId, tenant, cause, drainFor, waiting, note }: Decision,
  names: ReadonlyMap<string, string>,
): string {
  const model = modelId ?? 'a model';
  const why = cause === null ? '' : ` ${causes[cause] ?? `(${cause.replaceAll('_', ' ')})`}`;
  const forWhom = drainFor === null ? '' : ` to make room for ${drainFor}`;
  switch (type) {
    case 'load':
      return `${model} is loaded${why}; ${waiting} waited for it.`;
    case 'loaded':
      return `${model} is ready.`;
    case 'load_failed':
      return `${model} could not be loaded${note === null ? '' : `: ${note}`}.`;
    case 'drain':
      return `${model} takes nothing new${forWhom}${why}.`;
    case 'reopen':
      return `${model} serves again.`;
    case 'unload':
      return `${model} leaves${forWhom}${why}.`;
    case 'released':
      return `The memory of ${model} is free.`;
    case 'lost':
      return `${model} is gone${note === null ? '' : `: ${note}`}.`;
    case 'refused':
      return `A request of ${tenant === null ? 'nobody known' : (names.get(tenant) ?? tenant)} was refused${note === null ? '.' : `: ${note}`}`;
    case 'mode':
      return `The GPU is ${note ?? 'switched'}.`;
    default:
      return [type.replaceAll('_', ' '), modelId, note].filter(Boolean).join(' ');
  }
}
