import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { EngineError } from '../engines/engine-error.ts';
import { defaultQueueLimits } from './bounds.ts';
import { defaultPolicy } from './policy.ts';
import { type Departure, type Effects, type Grant, Scheduler } from './scheduler.ts';
import type { ModelFacts } from './state.ts';

/* The scheduler with a world whose loads and unloads end when the test says so: in any order, and late. */

interface Pending {
  readonly what: 'load' | 'unload';
  readonly modelId: string;
  readonly signal: AbortSignal | null;
  readonly after: Departure | null;
  succeed(): void;
  fail(): void;
}

class World implements Effects {
  readonly pending: Pending[] = [];
  readonly rechecked: string[] = [];

  load(modelId: string, signal: AbortSignal): Promise<{ vramBytes: number | null }> {
    return this.#until({ what: 'load', modelId, signal, after: null }, { vramBytes: null });
  }

  unload(modelId: string, after: Departure): Promise<{ released: boolean }> {
    return this.#until({ what: 'unload', modelId, signal: null, after }, { released: true });
  }

  prewarm(): void {}

  recheck(modelId: string): void {
    this.rechecked.push(modelId);
  }

  /** The oldest effect of a kind that has not ended. */
  first(what: 'load' | 'unload'): Pending {
    const found = this.pending.find((one) => one.what === what);
    if (!found) throw new Error(`no ${what} is under way`);
    return found;
  }

  #until<Result>(about: Omit<Pending, 'succeed' | 'fail'>, result: Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      const end = (how: () => void) => () => {
        this.pending.splice(this.pending.indexOf(pending), 1);
        how();
      };
      const pending: Pending = {
        ...about,
        succeed: end(() => resolve(result)),
        fail: end(() => reject(new EngineError('unreachable', 'The process is gone.'))),
      };
      this.pending.push(pending);
    });
  }
}

function facts(id: string, change: Partial<ModelFacts> = {}): ModelFacts {
  const times = { loadMs: 5_000, unloadMs: 1_000, runMs: 4_000 };
  return { id, engineId: id, vramBytes: 6, slots: 2, pinned: false, exclusive: false, ...times, ...change };
}

function house(...models: ModelFacts[]): { scheduler: Scheduler; world: World } {
  const world = new World();
  const limits = { policy: () => defaultPolicy, limits: () => defaultQueueLimits };
  const scheduler = new Scheduler({ effects: world, ...limits });
  for (const model of models) scheduler.state.models.set(model.id, model);
  scheduler.setBudget(10, 10, true);
  return { scheduler, world };
}

let next = 0;
function ask(scheduler: Scheduler, modelId: string, signal = new AbortController().signal): Promise<Grant> {
  next += 1;
  const about = { tenant: 't', weight: 1, concurrency: 50, lane: 'interactive' as const, costMs: 1 };
  const granted = scheduler.submit({ id: `w${next}`, modelId, ...about }, signal);
  granted.catch(() => undefined);
  return granted;
}

const phaseOf = (scheduler: Scheduler, modelId: string) => scheduler.state.residents.get(modelId)?.phase;
/** Lets everything that was resolved so far be seen by who waits for it. */
const settled = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('what ends late', () => {
  /** The engine dies while it loads; its memory comes back, and the model is loaded again for who still waits. */
  async function secondLoad() {
    const { scheduler, world } = house(facts('a'));
    const granted = ask(scheduler, 'a');
    const first = world.first('load');
    scheduler.lost(['a'], 'the process ended');
    world.first('unload').succeed();
    await settled();
    const second = world.pending.find((one) => one.what === 'load' && one !== first);
    if (!second) throw new Error('the model is not loaded again');
    return { scheduler, world, granted, first, second };
  }

  test('V2: the late failure of a first load leaves the second alone', async () => {
    const { scheduler, granted, first, second } = await secondLoad();
    first.fail();
    await settled();
    expect(phaseOf(scheduler, 'a')).toBe('loading');
    second.succeed();
    await settled();
    expect(phaseOf(scheduler, 'a')).toBe('ready');
    await expect(granted).resolves.toMatchObject({ queuedMs: 0 });
  });

  test('V2: the late success of a first load does not open the door of the second', async () => {
    const { scheduler, first, second } = await secondLoad();
    first.succeed();
    await settled();
    expect(phaseOf(scheduler, 'a')).toBe('loading');
    second.succeed();
    await settled();
    expect(phaseOf(scheduler, 'a')).toBe('ready');
  });

  test('V2: a load that was given up is told so, and the engine is asked what it holds after all', async () => {
    const { scheduler, world } = house(facts('a'));
    const asked = new AbortController();
    void ask(scheduler, 'a', asked.signal);
    const load = world.first('load');
    scheduler.lost(['a'], 'the process ended');
    asked.abort(new Error('gave up'));
    expect(load.signal?.aborted).toBe(true);
    world.first('unload').succeed();
    await settled();
    world.rechecked.length = 0;
    load.succeed();
    await settled();
    expect(phaseOf(scheduler, 'a')).toBeUndefined();
    expect(world.rechecked).toEqual(['a']);
  });

  test('V2: work on a lost model ends on nothing that came after it', async () => {
    const { scheduler, world, granted, second } = await (async () => {
      const { scheduler, world } = house(facts('a'));
      const granted = ask(scheduler, 'a');
      world.first('load').succeed();
      await settled();
      const before = await granted;
      expect(before.isCurrent()).toBe(true);
      scheduler.lost(['a'], 'the process ended');
      const again = ask(scheduler, 'a');
      world.first('unload').succeed();
      await settled();
      world.first('load').succeed();
      await settled();
      return { scheduler, world, granted: before, second: again };
    })();
    await second;
    expect(granted.isCurrent()).toBe(false);
    granted.end();
    expect(scheduler.state.residents.get('a')?.running).toBe(1);
    expect(world.pending).toHaveLength(0);
  });

  test('V1 V2: whatever ends in whatever order, a model that loads has a load of its own, and everybody is served', async () => {
    const models = ['a', 'b', 'c'];
    const pick = fc.nat(20);
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ do: fc.constant('ask' as const), model: fc.constantFrom(...models) }),
      },
      { weight: 6, arbitrary: fc.record({ do: fc.constant('end' as const), pick, fails: fc.boolean() }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('finish' as const), pick }) },
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constant('lose' as const), model: fc.constantFrom(...models) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 9_000 }) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant('load' as const), model: fc.constantFrom(...models) }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const shared = { engineId: 'webui', exclusive: true, vramBytes: 3 };
        const { scheduler, world } = house(facts('a'), facts('b', shared), facts('c', shared));
        const { state } = scheduler;
        const running: Grant[] = [];
        const asked: Promise<unknown>[] = [];
        const check = (): void => {
          const loading = [...state.residents.values()].filter(({ phase }) => phase === 'loading');
          const own = world.pending.filter(({ what, signal }) => what === 'load' && !signal?.aborted);
          expect(own.map(({ modelId }) => modelId).toSorted()).toEqual(
            loading.map(({ modelId }) => modelId).toSorted(),
          );
          expect(state.reservedBytes).toBeLessThanOrEqual(state.budgetBytes);
          expect(state.residents.has('b') && state.residents.has('c')).toBe(false);
          const current = [...state.leases.values()].filter(({ resident }) => state.current(resident));
          const counted = [...state.residents.values()].reduce((sum, one) => sum + one.running, 0);
          expect(counted).toBe(current.length);
        };
        for (const one of steps) {
          if (one.do === 'ask')
            asked.push(
              ask(scheduler, one.model).then(
                (grant) => running.push(grant),
                () => undefined,
              ),
            );
          else if (one.do === 'end') {
            const pending = world.pending[one.pick % Math.max(1, world.pending.length)];
            if (one.fails && pending?.what === 'load') pending.fail();
            else pending?.succeed();
          } else if (one.do === 'finish') running.splice(one.pick % Math.max(1, running.length), 1)[0]?.end();
          else if (one.do === 'lose') scheduler.lost([one.model], 'gone');
          else if (one.do === 'load') scheduler.requestLoad(one.model);
          else await vi.advanceTimersByTimeAsync(one.ms);
          await settled();
          check();
        }
        for (let round = 0; state.queue.size > 0 && round < 500; round += 1) {
          for (const pending of world.pending.slice()) pending.succeed();
          for (const grant of running.splice(0)) grant.end();
          await vi.advanceTimersByTimeAsync(5_000);
          check();
        }
        expect(state.queue.size).toBe(0);
        await Promise.allSettled(asked);
        scheduler.close();
      }),
      { numRuns: 300 },
    );
  }, 60_000);
});

describe('what the operator loads', () => {
  const shared = { engineId: 'webui', exclusive: true, vramBytes: 3 };

  test('an engine that holds one model at a time is given the second in place of an idle first', async () => {
    const { scheduler, world } = house(facts('b', shared), facts('c', shared));
    expect(scheduler.requestLoad('b')).toBeNull();
    world.first('load').succeed();
    await settled();
    expect(scheduler.requestLoad('c')).toBeNull();
    expect([...scheduler.state.residents.keys()]).toEqual(['b']);
    world.first('unload').succeed();
    await settled();
    expect([...scheduler.state.residents.keys()]).toEqual(['c']);
    expect(scheduler.decisions().map(({ type, modelId, cause }) => [type, modelId, cause])).toEqual([
      ['load', 'b', 'operator'],
      ['loaded', 'b', null],
      ['unload', 'b', 'operator'],
      ['released', 'b', null],
      ['load', 'c', 'operator'],
    ]);
  });

  test('a model that serves, or is pinned, stays', async () => {
    const { scheduler, world } = house(facts('b', shared), facts('c', shared));
    const granted = ask(scheduler, 'b');
    world.first('load').succeed();
    await granted;
    expect(scheduler.requestLoad('c')).toBe('others_in_use');
    scheduler.state.models.set('b', facts('b', { ...shared, pinned: true }));
    expect(scheduler.requestLoad('c')).toBe('blocked_by_pin');
    expect([...scheduler.state.residents.keys()]).toEqual(['b']);
  });

  test('one change at a time: the second load begins when the first has ended, or it would be measured with it', async () => {
    const { scheduler, world } = house(facts('a', { vramBytes: 3 }), facts('b', { vramBytes: 3 }));
    expect(scheduler.requestLoad('a')).toBeNull();
    expect(scheduler.requestLoad('b')).toBeNull();
    expect(world.pending.map(({ modelId }) => modelId)).toEqual(['a']);
    world.first('load').succeed();
    await settled();
    expect(world.pending.map(({ modelId }) => modelId)).toEqual(['b']);
  });

  test('what is still being loaded is not said to be unloaded', async () => {
    const { scheduler, world } = house(facts('a'));
    expect(scheduler.requestUnload('a')).toBe('not_loaded');
    scheduler.requestLoad('a');
    expect(scheduler.requestUnload('a')).toBe('still_loading');
    world.first('load').succeed();
    await settled();
    expect(scheduler.requestUnload('a')).toBeNull();
    expect(phaseOf(scheduler, 'a')).toBe('unloading');
  });

  test('what cannot be is refused with its reason', () => {
    const { scheduler } = house(facts('huge', { vramBytes: 11 }), facts('big', { vramBytes: 9 }));
    expect(scheduler.requestLoad('huge')).toBe('too_large');
    scheduler.setBudget(5, 10, true);
    expect(scheduler.requestLoad('big')).toBe('held_by_others');
    scheduler.setBudget(10, 10, false);
    expect(scheduler.requestLoad('big')).toBe('gpu_unreadable');
    scheduler.setMode('holding');
    expect(scheduler.requestLoad('big')).toBe('paused');
  });
});

describe('what is recorded', () => {
  test('a decision counts those who wait for its model, not everybody', async () => {
    const { scheduler, world } = house(facts('a'), facts('b'));
    void ask(scheduler, 'a');
    for (let i = 0; i < 3; i += 1) void ask(scheduler, 'b');
    world.first('load').succeed();
    await settled();
    expect(scheduler.decisions().map(({ type, modelId, waiting }) => [type, modelId, waiting])).toEqual([
      ['load', 'a', 1],
      ['loaded', 'a', 1],
      ['grant', 'a', 0],
    ]);
    expect(scheduler.state.queue.count('b')).toBe(3);
    scheduler.setMode('holding');
    expect(scheduler.decisions().at(-1)).toMatchObject({ type: 'mode', waiting: 3 });
  });

  test('a model that drained because the operator said so leaves for that reason', async () => {
    const { scheduler, world } = house(facts('a'));
    const granted = ask(scheduler, 'a');
    world.first('load').succeed();
    const grant = await granted;
    scheduler.requestUnload('a');
    grant.end();
    expect(scheduler.decisions().at(-1)).toMatchObject({ type: 'unload', cause: 'operator' });
  });
});
