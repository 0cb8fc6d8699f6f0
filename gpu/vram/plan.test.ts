import { describe, expect, test } from 'vitest';
import { explain } from './explain.ts';
import { plan } from './plan.ts';
import { defaultPolicy, type Policy } from './policy.ts';
import { type ModelFacts, SchedulerState } from './state.ts';
import type { Work } from './work.ts';

const gib = 1024 ** 3;

function facts(id: string, vramGib: number, change: Partial<ModelFacts> = {}): ModelFacts {
  return {
    id,
    engineId: id,
    vramBytes: vramGib * gib,
    slots: 1,
    loadMs: 10_000,
    unloadMs: 1_000,
    runMs: 5_000,
    pinned: false,
    exclusive: false,
    ...change,
  };
}

let next = 0;
function work(modelId: string, since: number, change: Partial<Work> = {}): Work {
  next += 1;
  return {
    id: `w${next}`,
    tenant: 't',
    weight: 1,
    concurrency: 10,
    lane: 'interactive',
    costMs: 1_000,
    modelId,
    since,
    ...change,
  };
}

/** A 7 GiB card with a text model of 5 GiB and an image model of 4 GiB, which do not fit together. */
function card(): SchedulerState {
  const state = new SchedulerState();
  state.budgetBytes = state.capacityBytes = 7 * gib;
  state.models.set('text', facts('text', 5, { slots: 4 }));
  state.models.set('image', facts('image', 4));
  state.models.set('small', facts('small', 2));
  return state;
}

function resident(state: SchedulerState, id: string, now = 0): void {
  state.beginLoad(id, now);
  state.move(id, 'ready', now);
}

const actions = (state: SchedulerState, now: number, policy: Policy = defaultPolicy) =>
  plan(state, now, policy).actions;

describe('what is loaded', () => {
  test('an empty card loads what is asked for', () => {
    const state = card();
    state.enqueue(work('text', 0));
    expect(actions(state, 0)).toEqual([{ type: 'load', modelId: 'text', cause: 'work_waiting' }]);
  });

  test('a model that fits beside the residents is loaded beside them', () => {
    const state = card();
    resident(state, 'text');
    state.enqueue(work('small', 0));
    expect(actions(state, 0)).toEqual([{ type: 'load', modelId: 'small', cause: 'work_waiting' }]);
  });

  test('an idle resident makes way at once', () => {
    const state = card();
    resident(state, 'text');
    state.enqueue(work('image', 0));
    expect(actions(state, 1)).toEqual([
      { type: 'unload', modelId: 'text', cause: 'idle_victim', drainFor: 'image' },
    ]);
  });

  test('V3: what does not fit the budget is not loaded and blocks nobody', () => {
    const state = card();
    state.models.set('huge', facts('huge', 40));
    state.enqueue(work('huge', 0));
    state.enqueue(work('text', 1));
    expect(actions(state, 2)).toEqual([{ type: 'load', modelId: 'text', cause: 'work_waiting' }]);
  });

  test('V5: nothing is loaded while the card cannot be read, and residents keep serving', () => {
    const state = card();
    resident(state, 'text');
    state.canLoad = false;
    const waiting = work('text', 0);
    state.enqueue(work('small', 0));
    state.enqueue(waiting);
    expect(actions(state, 1)).toEqual([{ type: 'grant', workId: waiting.id }]);
  });

  test('a pinned model is never the victim', () => {
    const state = card();
    state.models.set('text', facts('text', 5, { slots: 4, pinned: true }));
    resident(state, 'text');
    state.enqueue(work('image', 0));
    expect(actions(state, 1_000_000)).toEqual([]);
    expect(explain(state, 1, defaultPolicy)[0]?.reason).toBe('model_pinned');
  });

  test('an engine that holds one model at a time swaps even where both would fit', () => {
    const state = card();
    for (const id of ['a', 'b']) state.models.set(id, facts(id, 1, { engineId: 'webui', exclusive: true }));
    resident(state, 'a');
    state.enqueue(work('b', 0));
    expect(actions(state, 1)).toEqual([
      { type: 'unload', modelId: 'a', cause: 'idle_victim', drainFor: 'b' },
    ]);
  });

  test('an engine that holds one model at a time is never given a second, whoever loads or finds it', () => {
    const state = card();
    for (const id of ['a', 'b']) state.models.set(id, facts(id, 1, { engineId: 'webui', exclusive: true }));
    resident(state, 'a');
    expect(() => state.beginLoad('b', 1)).toThrow('no room for b');
    state.adopt('b', 1);
    expect([...state.residents.keys()]).toEqual(['a']);
  });

  test('other programs take memory: what is pinned leaves last', () => {
    const state = card();
    state.models.set('small', facts('small', 2, { pinned: true }));
    resident(state, 'small', 0);
    resident(state, 'image', 5);
    state.budgetBytes = 4 * gib;
    expect(actions(state, 6)).toEqual([
      { type: 'unload', modelId: 'image', cause: 'over_budget', drainFor: null },
    ]);
  });

  test('an unused model leaves after its time, though somebody waits for one that cannot come', () => {
    const state = card();
    resident(state, 'text');
    state.models.set('huge', facts('huge', 40));
    state.enqueue(work('huge', 0));
    const policy = { ...defaultPolicy, idleUnloadMs: 60_000 };
    expect(plan(state, 59_000, policy)).toEqual({ actions: [], wakeAt: 60_000 });
    expect(actions(state, 60_000, policy)).toEqual([
      { type: 'unload', modelId: 'text', cause: 'idle_timeout', drainFor: null },
    ]);
  });

  test('the smallest needless victim stays', () => {
    const state = card();
    state.models.set('tiny', facts('tiny', 1));
    resident(state, 'tiny', 0);
    resident(state, 'text', 5);
    state.enqueue(work('image', 10));
    // Without text there are 6 GiB free: tiny need not go.
    expect(actions(state, 11)).toEqual([
      { type: 'unload', modelId: 'text', cause: 'idle_victim', drainFor: 'image' },
    ]);
  });
});

describe('when a swap happens', () => {
  /** Text is served and waited for; one image waits since 0. */
  function contested(): SchedulerState {
    const state = card();
    resident(state, 'text');
    for (let i = 0; i < 6; i += 1) state.enqueue(work('text', 0, { tenant: `t${i}` }));
    for (const action of actions(state, 0)) if (action.type === 'grant') state.grant(action.workId, 0);
    state.enqueue(work('image', 0, { tenant: 'painter' }));
    return state;
  }

  const forImage = { cause: 'max_wait', drainFor: 'image' } as const;

  test('a serving model is not evicted while the decision ripens', () => {
    expect(actions(contested(), 1_000)).toEqual([]);
  });

  test('J5: the backstop closes the door at the maximum wait, once the visit was worth it', () => {
    const state = contested();
    const text = state.residents.get('text');
    if (text) text.servedMs = 1e9;
    expect(actions(state, defaultPolicy.maxWaitMs.interactive)).toEqual([
      { type: 'drain', modelId: 'text', cause: 'max_wait', drainFor: 'image' },
    ]);
  });

  test('J5: while a visit holds up who is overdue, nothing is loaded that would hold it up longer', () => {
    const state = card();
    state.models.set('large', facts('large', 7));
    resident(state, 'small', 100_000);
    state.enqueue(work('small', 100_000, { tenant: 'user' }));
    state.enqueue(work('large', 0, { tenant: 'patient' }));
    state.enqueue(work('image', 100_000, { tenant: 'painter' }));
    // The image would fit beside the small model, and its visit would be one more to wait for.
    const [grant, ...others] = actions(state, 100_001);
    expect([grant?.type, others]).toEqual(['grant', []]);
    // What leaves the room that was meant for the overdue model is loaded all the same.
    state.models.set('large', facts('large', 6));
    state.models.set('tiny', facts('tiny', 1));
    state.enqueue(work('tiny', 100_000, { tenant: 'other' }));
    expect(actions(state, 100_001)).toEqual([{ type: 'load', modelId: 'tiny', cause: 'work_waiting' }]);
  });

  test('V4: requests for a draining model wait, and the drain ends in its unload', () => {
    const state = contested();
    state.move('text', 'draining', 0, forImage);
    state.enqueue(work('text', 1, { tenant: 'late' }));
    expect(actions(state, 2)).toEqual([]);
    for (const id of state.leases.keys()) state.finish(id, 3);
    expect(actions(state, 4)).toEqual([
      { type: 'unload', modelId: 'text', cause: 'max_wait', drainFor: 'image' },
    ]);
  });

  test('a drain is called off when nobody wants the other model any more', () => {
    const state = contested();
    state.move('text', 'draining', 0, forImage);
    const image = state.queue.all().find(({ modelId }) => modelId === 'image');
    state.cancel(image?.id ?? '');
    expect(actions(state, 1)[0]).toEqual({ type: 'reopen', modelId: 'text' });
  });

  test('room that was made for a model is kept for it', () => {
    const state = contested();
    for (const id of state.leases.keys()) state.finish(id, 1);
    state.move('text', 'draining', 1, forImage);
    state.release(state.move('text', 'unloading', 2, forImage));
    // Text has more and older waiters by now, and still it is the image's turn.
    expect(actions(state, 500_000)).toEqual([{ type: 'load', modelId: 'image', cause: 'work_waiting' }]);
  });

  test('other programs take memory: an idle model leaves, a serving one drains', () => {
    const state = card();
    resident(state, 'text');
    state.budgetBytes = 3 * gib;
    expect(actions(state, 1)).toEqual([
      { type: 'unload', modelId: 'text', cause: 'over_budget', drainFor: null },
    ]);
    state.enqueue(work('text', 1));
    state.budgetBytes = 7 * gib;
    for (const action of actions(state, 1)) if (action.type === 'grant') state.grant(action.workId, 1);
    state.budgetBytes = 3 * gib;
    expect(actions(state, 2)).toEqual([
      { type: 'drain', modelId: 'text', cause: 'over_budget', drainFor: null },
    ]);
  });

  test('an unused model is unloaded after its time, if the operator wants that', () => {
    const state = card();
    resident(state, 'text');
    const policy = { ...defaultPolicy, idleUnloadMs: 60_000 };
    expect(plan(state, 59_000, policy)).toEqual({ actions: [], wakeAt: 60_000 });
    expect(actions(state, 60_000, policy)).toEqual([
      { type: 'unload', modelId: 'text', cause: 'idle_timeout', drainFor: null },
    ]);
  });
});

describe('whose turn it is', () => {
  test('tenants take turns by what they had of the GPU, not by how much they ask', () => {
    const state = card();
    resident(state, 'image');
    for (let i = 0; i < 5; i += 1) state.enqueue(work('image', i, { tenant: 'hog' }));
    state.enqueue(work('image', 9, { tenant: 'guest' }));
    const order: string[] = [];
    for (let now = 10; state.queue.size > 0; now += 1_000) {
      for (const action of actions(state, now)) {
        if (action.type !== 'grant') continue;
        order.push(state.grant(action.workId, now).work.tenant);
        state.finish(action.workId, now + 1_000);
      }
    }
    expect(order).toEqual(['hog', 'guest', 'hog', 'hog', 'hog', 'hog']);
  });

  test('a heavier plan gets its share', () => {
    const state = card();
    resident(state, 'image');
    for (let i = 0; i < 40; i += 1) {
      state.enqueue(work('image', 0, { tenant: 'light', weight: 1 }));
      state.enqueue(work('image', 0, { tenant: 'heavy', weight: 3 }));
    }
    const served = { light: 0, heavy: 0 };
    for (let now = 0; now < 32_000; now += 1_000) {
      for (const action of actions(state, now)) {
        if (action.type !== 'grant') continue;
        const { tenant } = state.grant(action.workId, now).work;
        served[tenant as keyof typeof served] += 1;
        state.finish(action.workId, now + 1_000);
      }
    }
    expect(served).toEqual({ light: 8, heavy: 24 });
  });

  test('interactive work goes before batch work, which gets its turn when it has waited', () => {
    const state = card();
    resident(state, 'image');
    const batch = work('image', 0, { tenant: 'b', lane: 'batch' });
    const interactive = work('image', 5, { tenant: 'i' });
    state.enqueue(batch);
    state.enqueue(interactive);
    expect(actions(state, 10)).toEqual([{ type: 'grant', workId: interactive.id }]);
    // Later the interactive tenant has had more than the batch one.
    state.grant(interactive.id, 10);
    state.finish(interactive.id, 5_000);
    const second = work('image', 5_001, { tenant: 'i' });
    state.enqueue(second);
    expect(actions(state, defaultPolicy.batchTurnMs)).toEqual([{ type: 'grant', workId: batch.id }]);
  });

  test('a tenant never runs more than its plan allows', () => {
    const state = card();
    resident(state, 'text');
    for (let i = 0; i < 4; i += 1) state.enqueue(work('text', i, { concurrency: 2 }));
    expect(actions(state, 5)).toHaveLength(2);
    for (const action of actions(state, 5)) if (action.type === 'grant') state.grant(action.workId, 5);
    expect(actions(state, 6)).toEqual([]);
    expect(explain(state, 6, defaultPolicy).map(({ reason }) => reason)).toEqual([
      'tenant_concurrency',
      'tenant_concurrency',
    ]);
  });
});

describe('paused', () => {
  test('nothing starts, and models leave once they serve nobody', () => {
    const state = card();
    resident(state, 'text');
    state.enqueue(work('text', 0));
    for (const action of actions(state, 0)) if (action.type === 'grant') state.grant(action.workId, 0);
    state.enqueue(work('text', 1));
    state.mode = 'paused';
    expect(actions(state, 2)).toEqual([]);
    for (const id of state.leases.keys()) state.finish(id, 3);
    expect(actions(state, 4)).toEqual([{ type: 'unload', modelId: 'text', cause: 'paused', drainFor: null }]);
    expect(explain(state, 4, defaultPolicy)[0]).toMatchObject({ reason: 'paused', etaMs: null });
  });
});

describe('what waiters are told', () => {
  test('position and expected start follow turns, slots and the load', () => {
    const state = card();
    state.beginLoad('image', 0);
    for (let i = 0; i < 3; i += 1) state.enqueue(work('image', i));
    const standings = explain(state, 4_000, defaultPolicy);
    expect(standings.map(({ position }) => position)).toEqual([1, 2, 3]);
    expect(standings.map(({ etaMs }) => etaMs)).toEqual([6_000, 11_000, 16_000]);
    expect(standings.every(({ reason }) => reason === 'model_loading')).toBe(true);
  });

  test('who is overtaken by a tenant that had less is told so', () => {
    const state = card();
    resident(state, 'image');
    state.enqueue(work('image', 0, { tenant: 'hog' }));
    for (const action of actions(state, 0)) if (action.type === 'grant') state.grant(action.workId, 0);
    state.enqueue(work('image', 1, { tenant: 'hog' }));
    state.enqueue(work('image', 2, { tenant: 'guest' }));
    const standings = explain(state, 3, defaultPolicy);
    expect(standings.map(({ work: { tenant }, reason }) => [tenant, reason])).toEqual([
      ['guest', 'next_in_line'],
      ['hog', 'fair_share'],
    ]);
  });

  test('memory that others hold has a code of its own', () => {
    const state = card();
    state.budgetBytes = 1 * gib;
    state.enqueue(work('text', 0));
    expect(explain(state, 0, defaultPolicy)[0]).toMatchObject({ reason: 'vram_held_by_other', etaMs: null });
  });
});
