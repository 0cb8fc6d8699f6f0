import { costs, jobsOf, type Scenario } from './workload.ts';
import { World, type Contestant, type Run } from './world.ts';

export interface Figures {
  readonly policy: string;
  readonly swaps: number;
  readonly swapShare: number;
  readonly finished: number;
  readonly refused: number;
  readonly textP50: number;
  readonly textP95: number;
  readonly imageP50: number;
  readonly imageP95: number;
  readonly worst: number;
  /** The longest wait of a picture in any of the runs. */
  readonly imageWorst: number;
  readonly jain: number;
  /** When the hog's last image was done, in seconds; NaN without a hog, Infinity if it was not. */
  readonly hogDone: number;
}

/** Runs a policy over seeds of one scenario and averages each figure, as the peers' table does. */
export function figuresOf(contestant: Contestant, scenario: Scenario, seeds: readonly number[]): Figures {
  const runs = seeds.map((seed) => measure(new World().run(contestant, jobsOf(scenario, seed))));
  const mean = (pick: (figures: Omit<Figures, 'policy'>) => number): number =>
    runs.reduce((sum, figures) => sum + pick(figures), 0) / runs.length;
  return {
    policy: contestant.name,
    swaps: mean((f) => f.swaps),
    swapShare: mean((f) => f.swapShare),
    finished: mean((f) => f.finished),
    refused: mean((f) => f.refused),
    textP50: mean((f) => f.textP50),
    textP95: mean((f) => f.textP95),
    imageP50: mean((f) => f.imageP50),
    imageP95: mean((f) => f.imageP95),
    worst: mean((f) => f.worst),
    imageWorst: Math.max(...runs.map((f) => f.imageWorst)),
    jain: mean((f) => f.jain),
    hogDone: mean((f) => f.hogDone),
  };
}

function measure(run: Run): Omit<Figures, 'policy'> {
  // Who never started has waited until the end of the hour at least.
  const waits = (kind: string): number[] =>
    run.outcomes
      .filter(({ job, refused }) => job.kind === kind && !refused)
      .map(({ job, startedAt }) => (startedAt ?? costs.horizon) - job.arrivesAt)
      .toSorted((a, b) => a - b);
  const [text, image] = [waits('text'), waits('image')];
  const hog = run.outcomes.filter(({ job }) => job.tenant === 'hog');
  return {
    swaps: run.swaps,
    swapShare: run.swapping / costs.horizon,
    finished: share(run, ({ finishedAt }) => finishedAt !== null),
    refused: share(run, ({ refused }) => refused),
    textP50: quantile(text, 0.5),
    textP95: quantile(text, 0.95),
    imageP50: quantile(image, 0.5),
    imageP95: quantile(image, 0.95),
    worst: Math.max(text.at(-1) ?? 0, image.at(-1) ?? 0),
    imageWorst: image.at(-1) ?? 0,
    jain: jainOf(run),
    hogDone: hog.length === 0 ? Number.NaN : Math.max(...hog.map(({ finishedAt }) => finishedAt ?? Infinity)),
  };
}

function share(run: Run, pick: (outcome: Run['outcomes'][number]) => boolean): number {
  return run.outcomes.filter(pick).length / run.outcomes.length;
}

export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

/** Jain's index over tenants of GPU seconds received relative to GPU seconds asked for: 1 is even. */
function jainOf(run: Run): number {
  const asked = new Map<string, number>();
  const got = new Map<string, number>();
  for (const { job, finishedAt } of run.outcomes) {
    const gpuSeconds = job.runsFor / costs[job.kind].slots;
    asked.set(job.tenant, (asked.get(job.tenant) ?? 0) + gpuSeconds);
    if (finishedAt !== null) got.set(job.tenant, (got.get(job.tenant) ?? 0) + gpuSeconds);
  }
  const ratios = [...asked].map(([tenant, seconds]) => (got.get(tenant) ?? 0) / seconds);
  const sum = ratios.reduce((a, b) => a + b, 0);
  const squares = ratios.reduce((a, b) => a + b * b, 0);
  return sum ** 2 / (ratios.length * squares);
}
