import { WorkQueue, type Work } from './work.ts';

/** Why an engine can load nothing now. */
export type Outage = 'engine_stopped' | 'engine_failed' | 'engine_starting';

/** What the scheduler knows of a model. Learned values start as estimates and are replaced by measurements. */
export interface ModelFacts {
  readonly id: string;
  readonly engineId: string;
  readonly vramBytes: number;
  /** How many requests the engine takes for this model at once. */
  readonly slots: number;
  readonly loadMs: number;
  readonly unloadMs: number;
  /** The usual length of one lease. */
  readonly runMs: number;
  readonly pinned: boolean;
  /** True where the engine holds one model at a time, whatever memory is left (a web UI's checkpoint). */
  readonly exclusive: boolean;
  /** Set while its engine is down: what waits goes on waiting, and nothing is loaded or made room for. */
  readonly outage?: Outage | null;
}

/** The states of a model that has a reservation, and the moves between them. */
export const phaseMoves = {
  loading: ['ready', 'unloading'],
  ready: ['draining', 'unloading'],
  draining: ['ready', 'unloading'],
  unloading: [],
} as const;
export type Phase = keyof typeof phaseMoves;

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

/** Why a resident leaves, and the model that the room is for; null when it leaves for another reason. */
export interface Leaving {
  readonly cause: Cause;
  readonly drainFor: string | null;
}

export interface Resident {
  readonly modelId: string;
  /**
   * Which residency of the model this is. A model that left and came back has another: what ends late (a load, an
   * unload, work) compares it, and never the model's id alone.
   */
  readonly instance: number;
  phase: Phase;
  /** Reserved from before the load until the release was measured (V2). */
  bytes: number;
  running: number;
  /** When the phase began. */
  since: number;
  /** When the last lease ended, or when it became ready. */
  idleSince: number;
  /** GPU milliseconds served since it became ready: what the visit was worth so far. */
  servedMs: number;
  /** While draining or unloading, where the plan or the operator decided it. */
  leaving: Leaving | null;
}

export interface Lease {
  readonly work: Work;
  /** The residency it was granted on: a model that died and came back is another one. */
  readonly resident: Resident;
  readonly grantedAt: number;
}

interface TenantShare {
  /** Weighted GPU milliseconds, ahead of or behind the other tenants: the deficit that turns are taken by. */
  virtualMs: number;
  running: number;
  waiting: number;
}

/** `holding`: running work ends, nothing new starts, models stay. `paused`: the models leave as well. */
export type Mode = 'running' | 'holding' | 'paused';

/**
 * The whole state a plan is made from, and every way it changes. It touches no clock, engine or promise, so a
 * simulation and the live scheduler drive the same object.
 */
export class SchedulerState {
  readonly models = new Map<string, ModelFacts>();
  readonly residents = new Map<string, Resident>();
  readonly queue = new WorkQueue();
  readonly leases = new Map<string, Lease>();
  readonly #tenants = new Map<string, TenantShare>();
  readonly #coolUntil = new Map<string, number>();
  #virtualMs = 0;
  mode: Mode = 'running';
  /** What may be reserved now; shrinks and grows with other programs' use. */
  budgetBytes = 0;
  /** What could be reserved if no other program used the card: above it a model is infeasible. */
  capacityBytes = 0;
  /** False while VRAM cannot be read: what is loaded keeps serving, nothing new is loaded (V5). */
  canLoad = true;
  /** The models that the operator wants loaded as soon as no other change is under way. */
  readonly requested = new Set<string>();
  #roomFor: string | null = null;
  #instances = 0;

  /** The model that the last resident left for. */
  get roomFor(): string | null {
    return this.#roomFor;
  }

  get reservedBytes(): number {
    let sum = 0;
    for (const resident of this.residents.values()) sum += resident.bytes;
    return sum;
  }

  get freeBytes(): number {
    return this.budgetBytes - this.reservedBytes;
  }

  /** Whether a load, drain or unload is under way; a new one waits for it. */
  get inTransition(): boolean {
    for (const resident of this.residents.values()) if (resident.phase !== 'ready') return true;
    return false;
  }

  model(id: string): ModelFacts {
    const facts = this.models.get(id);
    if (!facts) throw new Error(`unknown model ${id}`);
    return facts;
  }

  tenant(id: string): Readonly<TenantShare> | undefined {
    return this.#tenants.get(id);
  }

  coolsUntil(modelId: string): number {
    return this.#coolUntil.get(modelId) ?? 0;
  }

  enqueue(work: Work): void {
    this.queue.add(work);
    const share = this.#share(work.tenant);
    // A tenant that was away saves nothing up: it joins where the others are now.
    if (share.running === 0 && share.waiting === 0)
      share.virtualMs = Math.max(share.virtualMs, this.#virtualMs);
    share.waiting += 1;
  }

  /** Takes waiting work out; false when it was not waiting. */
  cancel(workId: string): boolean {
    const work = this.queue.remove(workId);
    if (!work) return false;
    const share = this.#share(work.tenant);
    share.waiting -= 1;
    this.#forget(work.tenant, share);
    return true;
  }

  grant(workId: string, now: number): Lease {
    const work = this.queue.remove(workId);
    if (!work) throw new Error(`work ${workId} is not waiting`);
    const resident = this.residents.get(work.modelId);
    if (resident?.phase !== 'ready') throw new Error(`model ${work.modelId} is not ready`);
    const share = this.#share(work.tenant);
    this.#virtualMs = Math.max(this.#virtualMs, share.virtualMs);
    share.waiting -= 1;
    share.running += 1;
    share.virtualMs += work.costMs / work.weight;
    this.queue.served(work, now);
    resident.running += 1;
    const lease = { work, resident, grantedAt: now };
    this.leases.set(workId, lease);
    return lease;
  }

  /** Ends a lease and charges what it really cost; returns the GPU milliseconds, 0 for an unknown lease. */
  finish(workId: string, now: number): number {
    const lease = this.leases.get(workId);
    if (!lease) return 0;
    this.leases.delete(workId);
    const { work, resident } = lease;
    const gpuMs = (now - lease.grantedAt) / (this.models.get(work.modelId)?.slots ?? 1);
    const share = this.#share(work.tenant);
    share.running -= 1;
    share.virtualMs += (gpuMs - work.costMs) / work.weight;
    this.queue.served(work, now);
    this.#forget(work.tenant, share);
    resident.running -= 1;
    resident.servedMs += gpuMs;
    if (resident.running === 0) resident.idleSince = now;
    return gpuMs;
  }

  /** The residency of a record taken earlier, as it is now; undefined once it has ended, whoever came after it. */
  current({ modelId, instance }: Pick<Resident, 'modelId' | 'instance'>): Resident | undefined {
    const resident = this.residents.get(modelId);
    return resident?.instance === instance ? resident : undefined;
  }

  /** Whether a model is being loaded or serves. */
  isComing(modelId: string): boolean {
    const phase = this.residents.get(modelId)?.phase;
    return phase === 'loading' || phase === 'ready' || phase === 'draining';
  }

  /** The resident that a model must not join, because its engine holds one model at a time. */
  rivalOf({ id, engineId, exclusive }: ModelFacts): Resident | undefined {
    if (!exclusive) return undefined;
    for (const resident of this.residents.values()) {
      if (resident.modelId !== id && this.model(resident.modelId).engineId === engineId) return resident;
    }
    return undefined;
  }

  /** Whether a model can be loaded beside what is resident now. */
  hasRoomFor(facts: ModelFacts): boolean {
    return facts.vramBytes <= this.freeBytes && !this.rivalOf(facts);
  }

  /**
   * Reserves the memory of a model and marks it as loading. Throws when the budget would be exceeded (V1), or when
   * the engine holds another model and can hold only one.
   */
  beginLoad(modelId: string, now: number): Resident {
    const facts = this.model(modelId);
    if (this.residents.has(modelId)) throw new Error(`model ${modelId} already has a reservation`);
    if (!this.hasRoomFor(facts)) throw new Error(`no room for ${modelId}`);
    this.#roomFor = null;
    this.requested.delete(modelId);
    return this.#insert(modelId, 'loading', facts.vramBytes, now);
  }

  /**
   * A model that was already in VRAM, in an engine that is not ours: it counts, whatever the budget says. An engine of
   * one model at a time cannot hold it beside another: until that other one is known to be gone, nothing changes.
   */
  adopt(modelId: string, now: number): void {
    const facts = this.model(modelId);
    if (this.residents.has(modelId) || this.rivalOf(facts)) return;
    this.#insert(modelId, 'ready', facts.vramBytes, now);
  }

  move(modelId: string, to: Phase, now: number, leaving: Leaving | null = null): Resident {
    const resident = this.residents.get(modelId);
    if (!resident) throw new Error(`model ${modelId} is not resident`);
    const allowed: readonly string[] = phaseMoves[resident.phase];
    if (!allowed.includes(to)) throw new Error(`model ${modelId} cannot go from ${resident.phase} to ${to}`);
    if (to === 'unloading' && resident.running > 0) throw new Error(`model ${modelId} is serving`);
    resident.phase = to;
    resident.since = now;
    resident.leaving =
      to === 'draining' || to === 'unloading'
        ? leaving && { cause: leaving.cause, drainFor: leaving.drainFor }
        : null;
    if (to === 'ready') resident.idleSince = now;
    return resident;
  }

  /**
   * The engine died under it: nothing runs there any more, and the memory is on its way back. What remains is a
   * residency of its own, so that leases and loads of the lost one still end and are counted on nothing that follows.
   */
  lose(lost: Pick<Resident, 'modelId' | 'instance'>, now: number): Resident {
    const resident = this.current(lost);
    if (!resident) throw new Error(`model ${lost.modelId} is not resident any more`);
    const remains = this.#insert(resident.modelId, 'unloading', resident.bytes, now);
    remains.servedMs = resident.servedMs;
    return remains;
  }

  /**
   * Ends a reservation: the memory was seen to be free, or the load failed and was undone. A residency that has ended
   * already takes nothing from its successor.
   */
  release(ended: Pick<Resident, 'modelId' | 'instance'>): void {
    const resident = this.current(ended);
    if (!resident) return;
    this.#roomFor = resident.leaving?.drainFor ?? this.#roomFor;
    this.residents.delete(resident.modelId);
  }

  coolDown(modelId: string, until: number): void {
    this.#coolUntil.set(modelId, until);
  }

  #insert(modelId: string, phase: Phase, bytes: number, now: number): Resident {
    const resident: Resident = {
      modelId,
      instance: (this.#instances += 1),
      phase,
      bytes,
      running: 0,
      since: now,
      idleSince: now,
      servedMs: 0,
      leaving: null,
    };
    this.residents.set(modelId, resident);
    return resident;
  }

  #share(tenant: string): TenantShare {
    let share = this.#tenants.get(tenant);
    if (!share) {
      share = { virtualMs: this.#virtualMs, running: 0, waiting: 0 };
      this.#tenants.set(tenant, share);
    }
    return share;
  }

  /** Shares of tenants that are gone and owe nothing are dropped, so that the map stays bounded. */
  #forget(tenant: string, share: TenantShare): void {
    if (share.running === 0 && share.waiting === 0 && share.virtualMs <= this.#virtualMs) {
      this.#tenants.delete(tenant);
    }
  }
}
