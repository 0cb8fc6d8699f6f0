/** The scenarios of the comparison, as seeded arrivals. Times in seconds. */
export type Kind = 'text' | 'image';

export interface Job {
  readonly id: number;
  readonly kind: Kind;
  readonly tenant: string;
  readonly batch: boolean;
  readonly arrivesAt: number;
  readonly runsFor: number;
  /** What the same person asks for next, once this was done or refused. */
  readonly next?: (endedAt: number) => Job;
}

export interface Scenario {
  readonly name: string;
  readonly textEvery: number | null;
  readonly imageEvery: number | null;
  /** Images that one tenant drops at once, five seconds in. */
  readonly hogImages: number;
  /** How many people of one company chat all the time, beside its pictures; nobody else asks for anything. */
  readonly people?: number;
}

export const scenarios: readonly Scenario[] = [
  { name: 'A light: text 1/30 s, image 1/120 s', textEvery: 30, imageEvery: 120, hogImages: 0 },
  { name: 'B chatty: text 1/4 s, image 1/120 s', textEvery: 4, imageEvery: 120, hogImages: 0 },
  { name: 'C near saturation: text 1/2.2 s, image 1/180 s', textEvery: 2.2, imageEvery: 180, hogImages: 0 },
  { name: 'D hog: text 1/10 s, one tenant drops 30 images', textEvery: 10, imageEvery: null, hogImages: 30 },
  {
    name: 'E one company: six people in streams of 4 to 6 s, 0.5 s apart, and a picture every 90 to 180 s',
    textEvery: null,
    imageEvery: null,
    hogImages: 0,
    people: 6,
  },
];

/** A person's stream, the pause before the next, and the gap between two pictures of the company of scenario E. */
export const company = { streamS: [4, 6], pauseS: 0.5, pictureGapS: [90, 180] } as const;

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
  if (scenario.textEvery !== null) poisson('text', scenario.textEvery, 8);
  if (scenario.imageEvery !== null) poisson('image', scenario.imageEvery, 4);
  for (let i = 0; i < scenario.hogImages; i += 1) {
    drafts.push({ kind: 'image', tenant: 'hog', batch: true, arrivesAt: 5, runsFor: runsFor('image') });
  }
  if (scenario.people !== undefined) drafts.push(...companyOf(scenario.people, random, runsFor));
  return drafts.toSorted((a, b) => a.arrivesAt - b.arrivesAt).map((draft, id) => ({ id, ...draft }));
}

/** The company of scenario E: streams that each begin when the person's last one has ended, and pictures by the clock. */
function companyOf(people: number, random: () => number, runsFor: (kind: Kind) => number): Omit<Job, 'id'>[] {
  const between = ([least, most]: readonly [number, number]): number => least + random() * (most - least);
  const drafts: Omit<Job, 'id'>[] = [];
  for (let at = between(company.pictureGapS); at < costs.horizon; at += between(company.pictureGapS)) {
    drafts.push({ kind: 'image', tenant: 'company', batch: false, arrivesAt: at, runsFor: runsFor('image') });
  }
  let id = drafts.length + people;
  const stream = (at: number): Omit<Job, 'id'> => ({
    kind: 'text',
    tenant: 'company',
    batch: false,
    arrivesAt: at,
    runsFor: between(company.streamS),
    next: (endedAt) => ({ id: (id += 1), ...stream(endedAt + company.pauseS) }),
  });
  for (let i = 0; i < people; i += 1) drafts.push(stream(i * company.pauseS));
  return drafts;
}
