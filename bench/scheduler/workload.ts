/** The four scenarios of the comparison, as seeded arrivals. Times in seconds. */
export type Kind = 'text' | 'image';

export interface Job {
  readonly id: number;
  readonly kind: Kind;
  readonly tenant: string;
  readonly batch: boolean;
  readonly arrivesAt: number;
  readonly runsFor: number;
}

export interface Scenario {
  readonly name: string;
  readonly textEvery: number;
  readonly imageEvery: number | null;
  /** Images that one tenant drops at once, five seconds in. */
  readonly hogImages: number;
}

export const scenarios: readonly Scenario[] = [
  { name: 'A light: text 1/30 s, image 1/120 s', textEvery: 30, imageEvery: 120, hogImages: 0 },
  { name: 'B chatty: text 1/4 s, image 1/120 s', textEvery: 4, imageEvery: 120, hogImages: 0 },
  { name: 'C near saturation: text 1/2.2 s, image 1/180 s', textEvery: 2.2, imageEvery: 180, hogImages: 0 },
  { name: 'D hog: text 1/10 s, one tenant drops 30 images', textEvery: 10, imageEvery: null, hogImages: 30 },
];

/** The assumed costs, the same for every policy: loads, stops, slots and mean run times. */
export const costs = {
  text: { load: 6, stop: 1, slots: 4, run: 8 },
  image: { load: 10, stop: 1.5, slots: 1, run: 25 },
  spread: 0.3,
  horizon: 3600,
} as const;

/** mulberry32: a small generator with a 32-bit seed, so that a run can be repeated. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function jobsOf(scenario: Scenario, seed: number): Job[] {
  const random = generator(seed);
  const drafts: Omit<Job, 'id'>[] = [];
  const runsFor = (kind: Kind): number => costs[kind].run * (1 + costs.spread * (2 * random() - 1));
  const poisson = (kind: Kind, every: number, tenants: number): void => {
    let at = 0;
    for (;;) {
      at -= Math.log(1 - random()) * every;
      if (at >= costs.horizon) return;
      const tenant = `${kind}-${Math.floor(random() * tenants)}`;
      drafts.push({ kind, tenant, batch: false, arrivesAt: at, runsFor: runsFor(kind) });
    }
  };
  poisson('text', scenario.textEvery, 8);
  if (scenario.imageEvery !== null) poisson('image', scenario.imageEvery, 4);
  for (let i = 0; i < scenario.hogImages; i += 1) {
    drafts.push({ kind: 'image', tenant: 'hog', batch: true, arrivesAt: 5, runsFor: runsFor('image') });
  }
  return drafts.toSorted((a, b) => a.arrivesAt - b.arrivesAt).map((draft, id) => ({ id, ...draft }));
}
