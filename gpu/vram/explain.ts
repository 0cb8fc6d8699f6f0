import { judge, turnOrder, victimsFor, wishFor } from './plan.ts';
import type { Policy } from './policy.ts';
import type { ModelFacts, SchedulerState } from './state.ts';
import type { Work } from './work.ts';

/** Why work waits: one code for each state of the scheduler, the same words for tenant and operator. */
export const reasons = {
  next_in_line: 'The model is loaded; this is next.',
  engine_busy: 'The model is loaded; everyone ahead is served first.',
  fair_share: 'The model is loaded; tenants who had less of the GPU lately take their turn first.',
  tenant_concurrency: 'This tenant already runs as many requests at once as its plan allows.',
  model_loading: 'The model is being loaded.',
  swap_in_progress: 'The GPU is changing models.',
  waiting_for_swap:
    'Another model is in use; this one is loaded when the swap is worth it, or at the maximum wait.',
  vram_held_by_other: 'Other programs hold the video memory that this model needs.',
  model_pinned: 'A pinned model holds the video memory that this model needs.',
  engine_recovering: 'The last attempt to load this model failed; it is tried again shortly.',
  engine_stopped: 'The operator has stopped the engine of this model.',
  engine_failed: 'The engine of this model keeps failing; it is tried again later.',
  engine_starting: 'The engine of this model is being started.',
  gpu_unreadable: 'Video memory cannot be read at the moment, so nothing new is loaded.',
  paused: 'The operator has paused the GPU.',
} as const;
type Reason = keyof typeof reasons;

/** Where a waiting piece of work stands. */
export interface Standing {
  readonly work: Work;
  /** 1 is next among those who wait for the same model. */
  readonly position: number;
  /** Milliseconds until it probably starts; null where that is in other hands (paused, memory held by others). */
  readonly etaMs: number | null;
  readonly reason: Reason;
}

/** Position, expected start and reason of everything that waits. Pure; made when someone looks. */
export function explain(state: SchedulerState, now: number, policy: Policy): Standing[] {
  const standings: Standing[] = [];
  for (const modelId of state.queue.models()) {
    const facts = state.models.get(modelId);
    if (!facts) continue;
    const outlook = outlookOf(state, facts, now, policy);
    const resident = state.residents.get(modelId);
    const free = resident?.phase === 'ready' ? facts.slots - resident.running : facts.slots;
    let newest = Number.NEGATIVE_INFINITY;
    let ahead = 0;
    for (const work of turnOrder(state, modelId, now, policy)) {
      const overtaken = newest > work.since;
      newest = Math.max(newest, work.since);
      const rounds = Math.max(0, Math.ceil((ahead + 1 - free) / facts.slots));
      standings.push({
        work,
        position: ahead + 1,
        etaMs: outlook.delayMs === null ? null : outlook.delayMs + rounds * facts.runMs,
        reason: outlook.reason ?? reasonOnResident(state, work, ahead, overtaken),
      });
      ahead += 1;
    }
  }
  return standings;
}

function reasonOnResident(state: SchedulerState, work: Work, ahead: number, overtaken: boolean): Reason {
  if ((state.tenant(work.tenant)?.running ?? 0) >= work.concurrency) return 'tenant_concurrency';
  if (ahead === 0) return 'next_in_line';
  return overtaken ? 'fair_share' : 'engine_busy';
}

/** When the model can serve, and what is in the way; no reason when it is ready. */
function outlookOf(
  state: SchedulerState,
  facts: ModelFacts,
  now: number,
  policy: Policy,
): { delayMs: number | null; reason: Reason | null } {
  if (state.mode !== 'running') return { delayMs: null, reason: 'paused' };
  if (facts.outage) return { delayMs: null, reason: facts.outage };
  const resident = state.residents.get(facts.id);
  if (resident?.phase === 'ready') return { delayMs: 0, reason: null };
  if (resident?.phase === 'loading') {
    return { delayMs: Math.max(0, facts.loadMs - (now - resident.since)), reason: 'model_loading' };
  }
  if (resident) {
    // It is leaving for another model: there, a visit, and back.
    const drainFor = resident.leaving?.drainFor ?? null;
    const guest = drainFor === null ? undefined : state.models.get(drainFor);
    const visitMs = guest ? guest.loadMs + guest.runMs + guest.unloadMs : 0;
    return { delayMs: facts.unloadMs + visitMs + facts.loadMs, reason: 'swap_in_progress' };
  }
  const coolMs = state.coolsUntil(facts.id) - now;
  if (coolMs > 0) return { delayMs: coolMs + facts.loadMs, reason: 'engine_recovering' };
  if (!state.canLoad) return { delayMs: null, reason: 'gpu_unreadable' };
  const victims = victimsFor(state, facts);
  if (!victims) {
    return {
      delayMs: null,
      reason: facts.vramBytes > state.budgetBytes ? 'vram_held_by_other' : 'model_pinned',
    };
  }
  let swapMs = facts.loadMs;
  for (const victim of victims) {
    const held = state.model(victim.modelId);
    swapMs += held.unloadMs + (victim.running > 0 ? held.runMs / 2 : 0);
  }
  if (state.inTransition || victims.length === 0) return { delayMs: swapMs, reason: 'swap_in_progress' };
  const wish = wishFor(state, facts, policy, now);
  const verdict = judge(state, wish, victims, now, policy);
  if (verdict.swap) return { delayMs: swapMs, reason: 'swap_in_progress' };
  const latest = Math.max(now, wish.overdueAt);
  const decisionMs = Math.min(verdict.at, latest) - now;
  return { delayMs: decisionMs + swapMs, reason: 'waiting_for_swap' };
}
