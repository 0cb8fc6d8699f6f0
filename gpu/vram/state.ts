import { WorkQueue, type Work } from './work.ts';

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
}

/** The states of a model that has a reservation, and the moves between them. */
export const phaseMoves = {
  loading: ['ready', 'unloading'],
  ready: ['draining', 'unloading'],
  draining: ['ready', 'unloading'],
  unloading: [],
} as const;
export type Phase = keyof typeof phaseMoves;

export interface Resident {
  readonly modelId: string;
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
  /** While draining: the model the room is for, or null when it leaves for another reason. */
  drainFor: string | null;
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
  /** When it last began or ended a lease. */
  servedAt: number;
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
  #roomFor: string | null = null;

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
    share.servedAt = now;
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
    share.servedAt = now;
    this.#forget(work.tenant, share);
    resident.running -= 1;
    resident.servedMs += gpuMs;
    if (resident.running === 0) resident.idleSince = now;
    return gpuMs;
  }

  /** Reserves the memory of a model and marks it as loading. Throws when the budget would be exceeded (V1). */
  beginLoad(modelId: string, now: number): void {
    const { vramBytes } = this.model(modelId);
    if (this.residents.has(modelId)) throw new Error(`model ${modelId} already has a reservation`);
    if (vramBytes > this.freeBytes) throw new Error(`no room for ${modelId}`);
    this.#roomFor = null;
    this.#insert(modelId, 'loading', vramBytes, now);
  }

  /** A model that was already in VRAM, in an engine that is not ours: it counts, whatever the budget says. */
  adopt(modelId: string, now: number): void {
    if (!this.residents.has(modelId)) this.#insert(modelId, 'ready', this.model(modelId).vramBytes, now);
  }

  move(modelId: string, to: Phase, now: number, drainFor: string | null = null): void {
    const resident = this.residents.get(modelId);
    if (!resident) throw new Error(`model ${modelId} is not resident`);
    const allowed: readonly string[] = phaseMoves[resident.phase];
    if (!allowed.includes(to)) throw new Error(`model ${modelId} cannot go from ${resident.phase} to ${to}`);
    if (to === 'unloading' && resident.running > 0) throw new Error(`model ${modelId} is serving`);
    resident.phase = to;
    resident.since = now;
    resident.drainFor = to === 'draining' || to === 'unloading' ? drainFor : null;
    if (to === 'ready') resident.idleSince = now;
  }

  /** The engine died under it: nothing runs there any more, and the memory is on its way back. */
  lose(modelId: string, now: number): void {
    const resident = this.residents.get(modelId);
    if (!resident) return;
    // A fresh record: leases of the lost one still end, and must not be counted on what comes after.
    this.residents.set(modelId, {
      ...resident,
      phase: 'unloading',
      running: 0,
      since: now,
      drainFor: null,
    });
  }

  /** Replaces an estimated reservation by what was measured. */
  measured(modelId: string, bytes: number): void {
    const resident = this.residents.get(modelId);
    if (resident) resident.bytes = bytes;
  }

  /** Ends a reservation: the memory was seen to be free, or the load failed and was undone. */
  release(modelId: string): void {
    this.#roomFor = this.residents.get(modelId)?.drainFor ?? this.#roomFor;
    this.residents.delete(modelId);
  }

  coolDown(modelId: string, until: number): void {
    this.#coolUntil.set(modelId, until);
  }

  #insert(modelId: string, phase: Phase, bytes: number, now: number): void {
    this.residents.set(modelId, {
      modelId,
      phase,
      bytes,
      running: 0,
      since: now,
      idleSince: now,
      servedMs: 0,
      drainFor: null,
    });
  }

  #share(tenant: string): TenantShare {
    let share = this.#tenants.get(tenant);
    if (!share) {
      share = { virtualMs: this.#virtualMs, running: 0, waiting: 0, servedAt: 0 };
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
