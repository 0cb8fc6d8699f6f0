import fc from 'fast-check';
import { expect, test } from 'vitest';
import { explain, reasons } from './explain.ts';
import { plan } from './plan.ts';
import { defaultPolicy } from './policy.ts';
import { type ModelFacts, SchedulerState } from './state.ts';
import type { Work } from './work.ts';

/*
 * Random histories of the scheduler on a virtual clock: models of random sizes, tenants that come and go, engines
 * that die, other programs that take memory. After every step the invariants must hold.
 */
const modelIds = ['a', 'b', 'c', 'd'] as const;
const tenants = ['t1', 't2', 't3'] as const;

type Step =
  | { type: 'submit'; model: string; tenant: string; batch: boolean; costMs: number }
  | { type: 'cancel'; pick: number }
  | { type: 'pass'; ms: number }
  | { type: 'budget'; units: number }
  | { type: 'lose'; model: string }
  | { type: 'failNextLoad' }
  | { type: 'mode'; mode: 'running' | 'holding' | 'paused' }
  | { type: 'canLoad'; value: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('submit' as const),
      model: fc.constantFrom(...modelIds),
      tenant: fc.constantFrom(...tenants),
      batch: fc.boolean(),
      costMs: fc.integer({ min: 1, max: 20_000 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('cancel' as const), pick: fc.nat(20) }) },
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 30_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('budget' as const), units: fc.integer({ min: 0, max: 10 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('lose' as const), model: fc.constantFrom(...modelIds) }),
  },
  { weight: 1, arbitrary: fc.constant({ type: 'failNextLoad' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('mode' as const),
      mode: fc.constantFrom('running' as const, 'holding' as const, 'paused' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('canLoad' as const), value: fc.boolean() }) },
);

const world = fc.record({
  sizes: fc.tuple(...modelIds.map(() => fc.integer({ min: 1, max: 8 }))),
  slots: fc.tuple(...modelIds.map(() => fc.integer({ min: 1, max: 4 }))),
  exclusive: fc.boolean(),
  lateMs: fc.constantFrom(0, 100, 7_000, 30_000),
  steps: fc.array(step, { minLength: 1, maxLength: 60 }),
});

const capacity = 10;

class History {
  readonly state = new SchedulerState();
  readonly granted = new Set<string>();
  readonly waits: { work: Work; waitedMs: number }[] = [];
  now = 0;
  failNextLoad = false;
  /** How long after the death of an engine its work is known to have ended. */
  lateMs = 0;
  readonly #lost = new Set<string>();
  readonly #follow = new Map<string, () => void>();
  /** The invariants, after every step: most of the work of a long history. */
  checks = true;
  #timers: { at: number; fire: () => void }[] = [];
  #next = 0;

  constructor({ sizes, slots, exclusive }: { sizes: number[]; slots: number[]; exclusive: boolean }) {
    this.state.budgetBytes = this.state.capacityBytes = capacity;
    for (const [index, id] of modelIds.entries()) {
      const facts: ModelFacts = {
        id,
        // The last two share an engine, which may hold only one model.
        engineId: index < 2 ? id : 'shared',
        vramBytes: sizes[index] ?? 1,
        slots: slots[index] ?? 1,
        loadMs: 5_000,
        unloadMs: 1_000,
        runMs: 4_000,
        pinned: false,
        exclusive: exclusive && index >= 2,
      };
      this.state.models.set(id, facts);
    }
  }

  apply(step: Step): void {
    switch (step.type) {
      case 'submit':
        this.submit(step);
        break;
      case 'cancel': {
        const waiting = this.state.queue.all();
        const target = waiting[step.pick % Math.max(1, waiting.length)];
        if (target) this.state.cancel(target.id);
        break;
      }
      case 'pass':
        this.#run(this.now + step.ms);
        break;
      case 'budget':
        this.state.budgetBytes = step.units;
        break;
      case 'lose':
        this.#lose(step.model);
        break;
      case 'failNextLoad':
        this.failNextLoad = true;
        break;
      case 'mode':
        this.state.mode = step.mode;
        break;
      case 'canLoad':
        this.state.canLoad = step.value;
        break;
    }
    this.#settle();
  }

  submit({
    model,
    tenant,
    batch,
    costMs,
    concurrency = 2,
  }: {
    model: string;
    tenant: string;
    batch: boolean;
    costMs: number;
    concurrency?: number;
  }): Work {
    this.#next += 1;
    const work: Work = {
      id: `w${this.#next}`,
      modelId: model,
      tenant,
      weight: 1,
      concurrency,
      lane: batch ? 'batch' : 'interactive',
      costMs,
      since: this.now,
    };
    this.state.enqueue(work);
    return work;
  }

  /** Someone who asks again for the same, half a second after each answer, for ever. */
  keepAsking(ask: Parameters<History['submit']>[0]): void {
    const work = this.submit(ask);
    this.#follow.set(work.id, () => this.#after(500, () => this.keepAsking(ask)));
    this.#settle();
  }

  /** Lets the world run for so long that everything that can be served has been. */
  drain(): void {
    this.state.mode = 'running';
    this.state.canLoad = true;
    this.state.budgetBytes = capacity;
    this.failNextLoad = false;
    this.#settle();
    for (let rounds = 0; this.state.queue.size > 0 && rounds < 5_000; rounds += 1)
      this.#run(this.now + 5_000);
  }

  #lose(model: string): void {
    const resident = this.state.residents.get(model);
    if (!resident || resident.phase === 'unloading') return;
    const remains = this.state.lose(resident, this.now);
    // Its work ends late: the model may be back by then, and must not be counted down for it.
    for (const [id, lease] of this.state.leases)
      if (lease.work.modelId === model && !this.#lost.has(id)) {
        this.#lost.add(id);
        this.#after(this.lateMs, () => this.state.finish(id, this.now));
      }
    this.#after(500, () => this.state.release(remains));
  }

  #run(until: number): void {
    for (;;) {
      this.#timers.sort((a, b) => a.at - b.at);
      const timer = this.#timers[0];
      if (!timer || timer.at > until) break;
      this.#timers.shift();
      this.now = Math.max(this.now, timer.at);
      timer.fire();
      this.#settle();
    }
    this.now = until;
    this.#settle();
  }

  #after(ms: number, fire: () => void): void {
    this.#timers.push({ at: this.now + ms, fire });
  }

  #settle(): void {
    for (let round = 0; ; round += 1) {
      if (round >= 1_000) throw new Error('the plan never comes to rest');
      const { actions } = plan(this.state, this.now, defaultPolicy);
      if (actions.length === 0) break;
      for (const action of actions) this.#act(action);
      this.#check();
    }
    this.#check();
  }

  #act(action: ReturnType<typeof plan>['actions'][number]): void {
    const { state } = this;
    if (action.type === 'grant') {
      // One lease a request, ever.
      if (this.granted.has(action.workId)) throw new Error('granted twice');
      this.granted.add(action.workId);
      const lease = state.grant(action.workId, this.now);
      this.waits.push({ work: lease.work, waitedMs: this.now - lease.work.since });
      if (state.mode !== 'running') throw new Error('granted while paused');
      this.#after(lease.work.costMs, () => {
        if (!this.#lost.has(action.workId)) state.finish(action.workId, this.now);
        this.#follow.get(action.workId)?.();
        this.#follow.delete(action.workId);
      });
    } else if (action.type === 'load') {
      expect(state.canLoad).toBe(true);
      // V1: what is reserved before the load, and the load itself, fit the budget. beginLoad throws otherwise.
      const resident = state.beginLoad(action.modelId, this.now);
      expect(state.reservedBytes).toBeLessThanOrEqual(state.budgetBytes);
      const fails = this.failNextLoad;
      this.failNextLoad = false;
      this.#after(5_000, () => {
        if (state.current(resident)?.phase !== 'loading') return;
        if (!fails) return void state.move(action.modelId, 'ready', this.now);
        state.coolDown(action.modelId, this.now + 2_000);
        state.move(action.modelId, 'unloading', this.now);
        this.#after(1_000, () => state.release(resident));
      });
    } else if (action.type === 'unload') {
      // V2: the reservation is held until the release was seen. A serving model cannot be moved here: it throws.
      const resident = state.move(action.modelId, 'unloading', this.now, action);
      this.#after(1_000, () => state.release(resident));
    } else if (action.type === 'drain') state.move(action.modelId, 'draining', this.now, action);
    else state.move(action.modelId, 'ready', this.now);
  }

  #check(): void {
    if (!this.checks) return;
    const { state } = this;
    let running = 0;
    for (const resident of state.residents.values()) {
      expect(resident.running).toBeGreaterThanOrEqual(0);
      expect(resident.running).toBeLessThanOrEqual(state.model(resident.modelId).slots);
      running += resident.running;
    }
    const late = [...state.leases.values()].filter((lease) => !state.current(lease.resident)).length;
    expect(running).toBe(state.leases.size - late);
    for (const tenant of tenants) expect(state.tenant(tenant)?.running ?? 0).toBeLessThanOrEqual(2);
    const exclusive = [...state.residents.keys()].filter((id) => state.model(id).exclusive);
    expect(exclusive.length).toBeLessThanOrEqual(1);
    // Every waiter has exactly one standing, with one known reason and a place of its own in its line.
    const standings = explain(state, this.now, defaultPolicy);
    expect(standings).toHaveLength(state.queue.size);
    for (const { reason, etaMs } of standings) {
      expect(reasons).toHaveProperty(reason);
      expect(etaMs === null || etaMs >= 0).toBe(true);
    }
    const places = new Set(standings.map(({ work, position }) => `${work.modelId}#${position}`));
    expect(places.size).toBe(standings.length);
  }
}

test('V1 V2 V3 V4: whatever happens, memory is kept, nobody is served twice, nothing gets stuck', () => {
  fc.assert(
    fc.property(world, ({ steps, ...setup }) => {
      const history = new History(setup);
      history.lateMs = setup.lateMs;
      for (const one of steps) history.apply(one);
      history.drain();
      expect(history.state.queue.size).toBe(0);
    }),
    { numRuns: 10_000 },
  );
}, 120_000);

test('J5: with one tenant flooding, another tenant’s single request starts within its bound', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...modelIds),
      fc.constantFrom(...modelIds),
      fc.integer({ min: 20, max: 120 }),
      fc.tuple(...modelIds.map(() => fc.integer({ min: 4, max: 8 }))),
      (flooded, wanted, flood, sizes) => {
        const history = new History({ sizes, slots: [1, 1, 1, 1], exclusive: false });
        history.checks = false;
        for (let i = 0; i < flood; i += 1) {
          history.submit({ model: flooded, tenant: 't1', batch: false, costMs: 10_000 });
        }
        history.apply({ type: 'pass', ms: 20_000 });
        const guest = history.submit({ model: wanted, tenant: 't2', batch: false, costMs: 10_000 });
        const swapMs = 5_000 + 1_000;
        const visitMs = defaultPolicy.visitFactor.interactive * 2 * swapMs;
        const boundMs = defaultPolicy.maxWaitMs.interactive + visitMs + 2 * 10_000 + 2 * swapMs;
        history.apply({ type: 'pass', ms: boundMs });
        expect(history.granted.has(guest.id)).toBe(true);
      },
    ),
    { numRuns: 300 },
  );
}, 60_000);

const swapMs = 5_000 + 1_000;

test('J5: one tenant alone: however its people chat, none of its other models waits longer than its bound', () => {
  fc.assert(
    fc.property(
      fc.record({
        people: fc.integer({ min: 1, max: 8 }),
        streamMs: fc.integer({ min: 1_000, max: 8_000 }),
        slots: fc.integer({ min: 1, max: 4 }),
        sizes: fc.tuple(...modelIds.map(() => fc.integer({ min: 3, max: 9 }))),
        asks: fc.array(
          fc.record({ model: fc.constantFrom('b', 'c', 'd'), at: fc.integer({ min: 0, max: 300_000 }) }),
          {
            minLength: 1,
            maxLength: 6,
          },
        ),
        concurrency: fc.constantFrom(2, 50),
      }),
      ({ people, streamMs, slots, sizes, asks, concurrency }) => {
        const history = new History({ sizes, slots: [slots, 1, 1, 1], exclusive: false });
        history.checks = false;
        const one = { tenant: 'company', batch: false, concurrency };
        for (let i = 0; i < people; i += 1)
          history.keepAsking({ ...one, model: 'a', costMs: streamMs + 137 * i });
        const runMs = 8_000;
        const longestMs = Math.max(runMs, streamMs + 137 * people);
        // Each turn of another model before it: a visit (of up to two victims), what runs ends, and the swap.
        const visitMs = defaultPolicy.visitClock * defaultPolicy.visitFactor.interactive * 3 * swapMs;
        const turnMs = visitMs + 2 * longestMs + 2 * swapMs;
        for (const { model, at } of asks.toSorted((x, y) => x.at - y.at)) {
          history.apply({ type: 'pass', ms: Math.max(1, at - history.now) });
          history.submit({ ...one, model, costMs: runMs });
        }
        history.apply({ type: 'pass', ms: 600_000 });
        const boundMs = defaultPolicy.maxWaitMs.interactive + asks.length * turnMs;
        for (const { work, waitedMs } of history.waits) {
          if (work.modelId !== 'a') expect(waitedMs).toBeLessThanOrEqual(boundMs);
        }
        expect(history.waits.filter(({ work }) => work.modelId !== 'a')).toHaveLength(asks.length);
      },
    ),
    { numRuns: 100 },
  );
}, 60_000);

test('J5: one tenant alone: its jobs take turns with its chat on the same model', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1_000, max: 8_000 }),
      (people, slots, streamMs) => {
        const history = new History({ sizes: [5, 1, 1, 1], slots: [slots, 1, 1, 1], exclusive: false });
        history.checks = false;
        const one = { tenant: 'company', model: 'a', concurrency: 50 };
        for (let i = 0; i < people; i += 1)
          history.keepAsking({ ...one, batch: false, costMs: streamMs + 137 * i });
        history.apply({ type: 'pass', ms: 20_000 });
        const jobs = [1, 2, 3].map(() => history.submit({ ...one, batch: true, costMs: 5_000 }).id);
        // Once they have waited for their turn, every second slot that falls free is theirs.
        const turnMs = 2 * (streamMs + 137 * people) + 5_000;
        history.apply({ type: 'pass', ms: defaultPolicy.batchTurnMs + jobs.length * turnMs });
        for (const id of jobs) expect(history.granted.has(id)).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
}, 60_000);
