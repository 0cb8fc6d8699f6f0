import type { Policy } from './policy.ts';
import type { ModelFacts, Resident, SchedulerState } from './state.ts';
import type { Lane, TenantLines, Work } from './work.ts';

/** Why a model leaves or arrives; recorded with the decision and shown to the operator. */
export type Cause =
  | 'work_waiting'
  | 'swap_pays'
  | 'max_wait'
  | 'idle_victim'
  | 'over_budget'
  | 'paused'
  | 'idle_timeout'
  | 'operator';

export type Action =
  | { readonly type: 'grant'; readonly workId: string }
  | { readonly type: 'load'; readonly modelId: string; readonly cause: Cause }
  | {
      readonly type: 'drain';
      readonly modelId: string;
      readonly cause: Cause;
      readonly drainFor: string | null;
    }
  | {
      readonly type: 'unload';
      readonly modelId: string;
      readonly cause: Cause;
      readonly drainFor: string | null;
    }
  | { readonly type: 'reopen'; readonly modelId: string };

export interface Plan {
  readonly actions: readonly Action[];
  /** When the plan may change though nothing happened; null when only an event can change it. */
  readonly wakeAt: number | null;
}

/**
 * What to do now. Pure: the same state, time and policy give the same actions, and the state is not touched.
 * The caller applies the actions in order and asks again whenever something happened.
 */
export function plan(state: SchedulerState, now: number, policy: Policy): Plan {
  if (state.mode === 'paused') return { actions: emptyTheCard(state), wakeAt: null };
  const actions: Action[] = [];
  let wakeAt: number | null = null;
  if (state.inTransition) {
    for (const resident of state.residents.values()) {
      if (resident.phase === 'draining') finishDrain(state, resident, actions);
    }
  } else if (state.reservedBytes > state.budgetBytes) {
    shrink(state, actions);
  } else if (state.mode === 'running' && state.canLoad) {
    // Before new leases are given: a slot that just fell free is the moment to leave.
    wakeAt =
      state.queue.size > 0 ? makeRoom(state, now, policy, actions) : retire(state, now, policy, actions);
  }
  if (actions.length === 0 && state.mode === 'running') grants(state, now, policy, actions);
  return { actions, wakeAt: wakeAt === Number.POSITIVE_INFINITY ? null : wakeAt };
}

function emptyTheCard(state: SchedulerState): Action[] {
  const actions: Action[] = [];
  for (const { modelId, phase, running } of state.residents.values()) {
    if (running === 0 && (phase === 'ready' || phase === 'draining')) {
      actions.push({ type: 'unload', modelId, cause: 'paused', drainFor: null });
    }
  }
  return actions;
}

/** Fills free slots of models whose door is open, tenant by tenant. */
function grants(state: SchedulerState, now: number, policy: Policy, actions: Action[]): void {
  let turns: Turns | undefined;
  for (const resident of state.residents.values()) {
    if (resident.phase !== 'ready' || state.queue.count(resident.modelId) === 0) continue;
    let free = state.model(resident.modelId).slots - resident.running;
    if (free <= 0) continue;
    turns ??= new Turns(state);
    for (; free > 0; free -= 1) {
      const work = nextFor(state, resident.modelId, now, policy, turns);
      if (!work) break;
      turns.take(work);
      actions.push({ type: 'grant', workId: work.id });
    }
  }
}

/** The tenants' shares as they will be once the grants of this plan are applied. */
class Turns {
  readonly #state: SchedulerState;
  readonly #taken = new Map<string, { virtualMs: number; running: number }>();
  /** How far into each tenant's line this plan has already reached. */
  readonly #heads = new Map<readonly Work[], number>();

  readonly #capped: boolean;

  /** `capped` leaves out tenants that run all they may; looking ahead wants them in their place. */
  constructor(state: SchedulerState, capped = true) {
    this.#state = state;
    this.#capped = capped;
  }

  mayRun(work: Work): boolean {
    return !this.#capped || this.#running(work.tenant) < work.concurrency;
  }

  head(line: readonly Work[]): Work | undefined {
    return line[this.#heads.get(line) ?? 0];
  }

  virtualMs(tenant: string): number {
    return (this.#state.tenant(tenant)?.virtualMs ?? 0) + (this.#taken.get(tenant)?.virtualMs ?? 0);
  }

  #running(tenant: string): number {
    return (this.#state.tenant(tenant)?.running ?? 0) + (this.#taken.get(tenant)?.running ?? 0);
  }

  take(work: Work): void {
    const before = this.#taken.get(work.tenant) ?? { virtualMs: 0, running: 0 };
    this.#taken.set(work.tenant, {
      virtualMs: before.virtualMs + work.costMs / work.weight,
      running: before.running + 1,
    });
    const line = this.#state.queue.lines(work.modelId, work.lane).get(work.tenant);
    if (line) this.#heads.set(line, (this.#heads.get(line) ?? 0) + 1);
  }
}

/** Everything that waits for a model, in the order it would be served if nothing else happened. */
export function turnOrder(state: SchedulerState, modelId: string, now: number, policy: Policy): Work[] {
  const turns = new Turns(state, false);
  const order: Work[] = [];
  for (;;) {
    const work = nextFor(state, modelId, now, policy, turns);
    if (!work) return order;
    turns.take(work);
    order.push(work);
  }
}

/** The work whose turn it is on this model: interactive first, then overdue batch work beside it. */
function nextFor(
  state: SchedulerState,
  modelId: string,
  now: number,
  policy: Policy,
  turns: Turns,
): Work | undefined {
  const interactive = turnIn(state.queue.lines(modelId, 'interactive'), turns);
  const batch = turnIn(state.queue.lines(modelId, 'batch'), turns);
  if (!interactive || !batch) return interactive ?? batch;
  if (now - batch.since < policy.batchTurnMs) return interactive;
  return turns.virtualMs(batch.tenant) < turns.virtualMs(interactive.tenant) ? batch : interactive;
}

/** The head of the line of the tenant that has had least of the GPU, among those below their concurrency. */
function turnIn(lines: TenantLines, turns: Turns): Work | undefined {
  let best: Work | undefined;
  let bestMs = Number.POSITIVE_INFINITY;
  for (const [tenant, line] of lines) {
    const work = turns.head(line);
    if (!work || !turns.mayRun(work)) continue;
    const virtualMs = turns.virtualMs(tenant);
    if (virtualMs < bestMs || (virtualMs === bestMs && best !== undefined && work.since < best.since)) {
      best = work;
      bestMs = virtualMs;
    }
  }
  return best;
}

/** A drain ends in an unload once nothing runs, or is called off when who it was for has gone (V4). */
function finishDrain(state: SchedulerState, resident: Resident, actions: Action[]): void {
  const { modelId, drainFor } = resident;
  const wanted = drainFor === null || state.queue.count(drainFor) > 0;
  if (!wanted) actions.push({ type: 'reopen', modelId });
  else if (resident.running === 0) {
    actions.push({ type: 'unload', modelId, cause: 'work_waiting', drainFor });
  }
}

/** Other programs took memory: give back what is idle first, then what is least wanted. */
function shrink(state: SchedulerState, actions: Action[]): void {
  const candidates = [...state.residents.values()].toSorted(
    (a, b) => demand(state, a) - demand(state, b) || a.idleSince - b.idleSince,
  );
  const first = candidates.find((resident) => resident.running === 0) ?? candidates[0];
  if (first) leave(first, 'over_budget', null, actions);
}

function leave(resident: Resident, cause: Cause, drainFor: string | null, actions: Action[]): void {
  const { modelId } = resident;
  actions.push({ type: resident.running > 0 ? 'drain' : 'unload', modelId, cause, drainFor });
}

/** People who have or want this model now. */
function demand(state: SchedulerState, resident: Resident): number {
  return resident.running + state.queue.count(resident.modelId);
}

/** Loads the most wanted model that is not in VRAM, beside the residents or in their place. */
function makeRoom(state: SchedulerState, now: number, policy: Policy, actions: Action[]): number | null {
  let wakeAt: number | null = null;
  // What room was made for is loaded into it, whoever came since.
  const promised = state.roomFor;
  if (promised !== null && state.queue.count(promised) > 0) {
    const room = state.models.get(promised);
    if (room && !state.residents.has(promised) && room.vramBytes <= state.freeBytes) {
      actions.push({ type: 'load', modelId: promised, cause: 'work_waiting' });
      return null;
    }
  }
  for (const wish of wishes(state, now, policy)) {
    const { facts } = wish;
    const coolsUntil = state.coolsUntil(facts.id);
    if (coolsUntil > now) {
      wakeAt = Math.min(wakeAt ?? coolsUntil, coolsUntil);
      continue;
    }
    const victims = victimsFor(state, facts);
    if (!victims) continue;
    if (victims.length === 0) {
      actions.push({ type: 'load', modelId: facts.id, cause: 'work_waiting' });
      return null;
    }
    const verdict = judge(state, wish, victims, now, policy);
    if (verdict.swap) {
      for (const victim of victims) leave(victim, verdict.cause, facts.id, actions);
      return null;
    }
    wakeAt = Math.min(wakeAt ?? verdict.at, verdict.at);
  }
  return wakeAt;
}

interface Wish {
  readonly facts: ModelFacts;
  readonly lane: Lane;
  /** Weighted milliseconds already waited, a few waiters per tenant. */
  readonly pressureMs: number;
  /** The waiters counted, weighted; also how fast pressure grows. */
  readonly people: number;
  /** When the backstop fires for it. */
  readonly overdueAt: number;
}

/** The models that are waited for and not in VRAM: overdue first, then by pressure. */
function wishes(state: SchedulerState, now: number, policy: Policy): Wish[] {
  const found: Wish[] = [];
  for (const modelId of state.queue.models()) {
    const facts = state.models.get(modelId);
    if (!facts || state.residents.has(modelId)) continue;
    found.push(wishFor(state, facts, policy, now));
  }
  const overdue = (wish: Wish): number => (wish.overdueAt <= now ? wish.overdueAt : Number.POSITIVE_INFINITY);
  return found.toSorted((a, b) => {
    const [first, second] = [overdue(a), overdue(b)];
    return first === second ? b.pressureMs - a.pressureMs : first - second;
  });
}

/** How much a model is waited for. A flood from one tenant counts as a few waiters. */
export function wishFor(state: SchedulerState, facts: ModelFacts, policy: Policy, now: number): Wish {
  let pressureMs = 0;
  let people = 0;
  let overdueAt = Number.POSITIVE_INFINITY;
  for (const lane of lanes) {
    for (const [tenant, line] of state.queue.lines(facts.id, lane)) {
      // Who drops thirty requests at once waits for turns, not for ages: the clock starts at the last turn.
      const servedAt = state.tenant(tenant)?.servedAt ?? 0;
      const counted = Math.min(line.length, policy.waitersPerTenant);
      for (let i = 0; i < counted; i += 1) {
        const work = line[i];
        if (!work) break;
        const since = Math.max(work.since, servedAt);
        const weight = work.weight * policy.laneWeight[lane];
        pressureMs += weight * (now - since);
        people += weight;
        overdueAt = Math.min(overdueAt, since + policy.maxWaitMs[lane]);
      }
    }
  }
  const lane = state.queue.lines(facts.id, 'interactive').size > 0 ? 'interactive' : 'batch';
  return { facts, lane, pressureMs, people, overdueAt };
}

const lanes: readonly Lane[] = ['interactive', 'batch'];

/** The residents to take out so that the model fits, least wanted first; null when even that is not enough. */
export function victimsFor(state: SchedulerState, facts: ModelFacts): Resident[] | null {
  if (facts.vramBytes > state.budgetBytes) return null;
  const victims: Resident[] = [];
  const others: Resident[] = [];
  for (const resident of state.residents.values()) {
    const held = state.model(resident.modelId);
    if (facts.exclusive && held.engineId === facts.engineId) {
      if (held.pinned) return null;
      victims.push(resident);
    } else if (!held.pinned) others.push(resident);
  }
  let free = state.freeBytes;
  for (const victim of victims) free += victim.bytes;
  const byWant = others.toSorted((a, b) => demand(state, a) - demand(state, b) || a.idleSince - b.idleSince);
  for (const resident of byWant) {
    if (free >= facts.vramBytes) break;
    victims.push(resident);
    free += resident.bytes;
  }
  if (free < facts.vramBytes) return null;
  // A later, larger victim can make an earlier one needless.
  return victims.filter((victim) => {
    const held = state.model(victim.modelId);
    if ((facts.exclusive && held.engineId === facts.engineId) || free - victim.bytes < facts.vramBytes)
      return true;
    free -= victim.bytes;
    return false;
  });
}

type Verdict =
  | { readonly swap: true; readonly cause: Cause }
  /** Not yet; look again at this time, when it will pay if nothing changes. */
  | { readonly swap: false; readonly at: number };

/** Whether the waiting for a model is worth what the swap costs those who use or want the victims. */
export function judge(
  state: SchedulerState,
  wish: Wish,
  victims: readonly Resident[],
  now: number,
  policy: Policy,
): Verdict {
  let disturbed = 0;
  let running = 0;
  let thereMs = wish.facts.loadMs;
  let backMs = wish.facts.unloadMs;
  let visitEndsAt = now;
  for (const victim of victims) {
    const held = state.model(victim.modelId);
    const { people, lane } = wishFor(state, held, policy, now);
    running += victim.running;
    disturbed += people;
    thereMs += held.unloadMs;
    backMs += held.loadMs;
    // A visit that has begun is used: what is served before leaving must be worth the way there and back. It also ends
    // by the clock, or one long request on a model of many slots would hold the card for minutes.
    const visitMs = policy.visitFactor[lane] * (thereMs + backMs);
    const isShort = victim.servedMs < visitMs && now - victim.since < policy.visitClock * visitMs;
    if (isShort && demand(state, victim) > 0)
      visitEndsAt = Math.max(visitEndsAt, victim.since + policy.visitClock * visitMs);
  }
  if (disturbed === 0 && running === 0) return { swap: true, cause: 'idle_victim' };
  if (visitEndsAt > now) return { swap: false, at: visitEndsAt };
  if (wish.overdueAt <= now) return { swap: true, cause: 'max_wait' };
  const priceMs = policy.swapPatience * (thereMs + backMs) * (disturbed + policy.runningWeight * running);
  if (wish.pressureMs >= priceMs) return { swap: true, cause: 'swap_pays' };
  const paysAt = now + Math.ceil((priceMs - wish.pressureMs) / wish.people);
  return { swap: false, at: Math.min(paysAt, wish.overdueAt) };
}

/** Nothing waits: unload what nobody has used for long, if the operator wants that. */
function retire(state: SchedulerState, now: number, policy: Policy, actions: Action[]): number | null {
  if (policy.idleUnloadMs === null) return null;
  let wakeAt: number | null = null;
  for (const resident of state.residents.values()) {
    if (resident.running > 0 || state.model(resident.modelId).pinned) continue;
    const at = resident.idleSince + policy.idleUnloadMs;
    if (at <= now) {
      leave(resident, 'idle_timeout', null, actions);
      return null;
    }
    wakeAt = Math.min(wakeAt ?? at, at);
  }
  return wakeAt;
}
