import { sharesOnePlace } from './fit.ts';
import type { Policy } from './policy.ts';
import type { Cause, Leaving, ModelFacts, Resident, SchedulerState } from './state.ts';
import { type Lane, type Line, type TenantLines, waitsSince, type Work } from './work.ts';

export type Action =
  | { readonly type: 'grant'; readonly workId: string }
  | { readonly type: 'load'; readonly modelId: string; readonly cause: Cause }
  | ({ readonly type: 'drain'; readonly modelId: string } & Leaving)
  | ({ readonly type: 'unload'; readonly modelId: string } & Leaving)
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
    if (!operatorsLoad(state, actions)) wakeAt = makeRoom(state, now, policy, actions);
    if (actions.length === 0) wakeAt = sooner(wakeAt, retire(state, now, policy, actions));
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

function sooner(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
}

/**
 * Fills free slots of models whose door is open, tenant by tenant. Where a tenant may run no more than a few at once,
 * its models compete for them: the line that waits longest goes first, or chat would keep pictures out for ever.
 */
function grants(state: SchedulerState, now: number, policy: Policy, actions: Action[]): void {
  const open: { readonly modelId: string; free: number }[] = [];
  for (const { modelId, phase, running } of state.residents.values()) {
    const free = state.model(modelId).slots - running;
    if (phase === 'ready' && free > 0 && state.queue.count(modelId) > 0) open.push({ modelId, free });
  }
  if (open.length === 0) return;
  const turns = new Turns(state, now);
  for (;;) {
    let best: { readonly work: Work; readonly at: (typeof open)[number]; readonly dueAt: number } | undefined;
    for (const at of open) {
      const work = at.free > 0 ? nextFor(state, at.modelId, now, policy, turns) : undefined;
      if (!work) continue;
      // Batch work counts as if it had come so much later, as it does within a model.
      const dueAt = turns.waitsSince(work) + (work.lane === 'batch' ? policy.batchTurnMs : 0);
      if (!best || dueAt < best.dueAt) best = { work, at, dueAt };
    }
    if (!best) return;
    best.at.free -= 1;
    turns.take(best.work);
    actions.push({ type: 'grant', workId: best.work.id });
  }
}

/** The tenants' shares and lines as they will be once the grants of this plan are applied. */
class Turns {
  readonly #state: SchedulerState;
  readonly #now: number;
  readonly #capped: boolean;
  readonly #taken = new Map<string, { virtualMs: number; running: number }>();
  /** How far into each line this plan has already reached, and as the how-manyeth turn of all it did so last. */
  readonly #heads = new Map<Line, { index: number; turn: number }>();
  #turn = 0;

  /** `capped` leaves out tenants that run all they may; looking ahead wants them in their place. */
  constructor(state: SchedulerState, now: number, capped = true) {
    this.#state = state;
    this.#now = now;
    this.#capped = capped;
  }

  mayRun(work: Work): boolean {
    return !this.#capped || this.#running(work.tenant) < work.concurrency;
  }

  head(line: Line): Work | undefined {
    return line.works[this.#heads.get(line)?.index ?? 0];
  }

  /** Since when work waits for its turn in its line; who had a turn in this plan comes after who had none. */
  waitsSince(work: Work): number {
    const line = this.#lineOf(work);
    if (!line) return work.since;
    const taken = this.#heads.get(line);
    return taken ? this.#now + taken.turn : waitsSince(line, work);
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
    const line = this.#lineOf(work);
    if (line)
      this.#heads.set(line, { index: (this.#heads.get(line)?.index ?? 0) + 1, turn: (this.#turn += 1) });
  }

  #lineOf({ modelId, lane, tenant }: Work): Line | undefined {
    return this.#state.queue.lines(modelId, lane).get(tenant);
  }
}

/** Everything that waits for a model, in the order it would be served if nothing else happened. */
export function turnOrder(state: SchedulerState, modelId: string, now: number, policy: Policy): Work[] {
  const turns = new Turns(state, now, false);
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
  // Within one tenant shares say nothing: its two lanes take turns.
  if (batch.tenant === interactive.tenant)
    return turns.waitsSince(batch) < turns.waitsSince(interactive) ? batch : interactive;
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

/** A drain ends in an unload once nothing runs, or is called off when who it was for has gone, or cannot come (V4). */
function finishDrain(state: SchedulerState, resident: Resident, actions: Action[]): void {
  const { modelId, leaving } = resident;
  const { cause, drainFor } = leaving ?? { cause: 'operator' as const, drainFor: null };
  if (drainFor !== null && !isWanted(state, drainFor)) actions.push({ type: 'reopen', modelId });
  else if (resident.running === 0) actions.push({ type: 'unload', modelId, cause, drainFor });
}

/** Whether somebody waits for a model, or the operator asked for it, and its engine could load it. */
function isWanted(state: SchedulerState, modelId: string): boolean {
  if (state.models.get(modelId)?.outage) return false;
  return state.queue.count(modelId) > 0 || state.requested.has(modelId);
}

/** Other programs took memory: give back what is idle first, then what is least wanted; what is pinned goes last. */
function shrink(state: SchedulerState, actions: Action[]): void {
  const pins = ({ modelId }: Resident): number => (state.model(modelId).pinned ? 1 : 0);
  const candidates = [...state.residents.values()].toSorted(
    (a, b) => pins(a) - pins(b) || demand(state, a) - demand(state, b) || a.idleSince - b.idleSince,
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

/** Loads what the operator asked for; room is made only where nobody is served or waits. Whether something is done. */
function operatorsLoad(state: SchedulerState, actions: Action[]): boolean {
  for (const modelId of state.requested) {
    const facts = state.models.get(modelId);
    if (!facts || facts.outage || state.residents.has(modelId)) continue;
    const victims = victimsFor(state, facts);
    if (!victims || victims.some((victim) => demand(state, victim) > 0)) continue;
    for (const victim of victims) leave(victim, 'operator', modelId, actions);
    if (victims.length === 0) actions.push({ type: 'load', modelId, cause: 'operator' });
    return true;
  }
  return false;
}

/** Loads the most wanted model that is not in VRAM, beside the residents or in their place. */
function makeRoom(state: SchedulerState, now: number, policy: Policy, actions: Action[]): number | null {
  let wakeAt: number | null = null;
  // What room was made for is loaded into it, whoever came since.
  const promised = state.roomFor;
  if (promised !== null && state.queue.count(promised) > 0) {
    const room = state.models.get(promised);
    if (room && !room.outage && !state.residents.has(promised) && state.hasRoomFor(room)) {
      actions.push({ type: 'load', modelId: promised, cause: 'work_waiting' });
      return null;
    }
  }
  // Who is overdue and only held up by a visit that has just begun: no other change may take its room before its turn.
  let held: { readonly facts: ModelFacts; readonly spareBytes: number } | undefined;
  for (const wish of wishes(state, now, policy)) {
    const { facts } = wish;
    if (held && (facts.vramBytes > held.spareBytes || sharesOnePlace(facts, held.facts))) continue;
    const coolsUntil = state.coolsUntil(facts.id);
    if (coolsUntil > now) {
      wakeAt = sooner(wakeAt, coolsUntil);
      continue;
    }
    const victims = victimsFor(state, facts);
    if (!victims) continue;
    if (victims.length === 0) {
      actions.push({ type: 'load', modelId: facts.id, cause: 'work_waiting' });
      return null;
    }
    if (held) continue;
    const verdict = judge(state, wish, victims, now, policy);
    if (verdict.swap) {
      for (const victim of victims) leave(victim, verdict.cause, facts.id, actions);
      return null;
    }
    wakeAt = sooner(wakeAt, verdict.at);
    if (wish.overdueAt <= now) {
      const roomBytes = victims.reduce((sum, { bytes }) => sum + bytes, state.freeBytes);
      held = { facts, spareBytes: roomBytes - facts.vramBytes };
    }
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
    if (!facts || facts.outage || state.residents.has(modelId)) continue;
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
    for (const line of state.queue.lines(facts.id, lane).values()) {
      // Who drops thirty requests at once waits for turns, not for ages: the clock starts at the last turn.
      for (const work of line.works.slice(0, policy.waitersPerTenant)) {
        const since = waitsSince(line, work);
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
    if (sharesOnePlace(facts, held)) {
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
    if (sharesOnePlace(facts, held) || free - victim.bytes < facts.vramBytes) return true;
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
