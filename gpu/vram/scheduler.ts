import { EngineError } from '../engines/engine-error.ts';
import { type Overflow, overflow, type QueueLimits } from './bounds.ts';
import { explain, type Standing } from './explain.ts';
import { type Action, plan, victimsFor } from './plan.ts';
import type { Policy } from './policy.ts';
import { Standings } from './standings.ts';
import { type Cause, type Mode, type Resident, SchedulerState } from './state.ts';
import type { Work } from './work.ts';

/** What the scheduler does to the world. Each takes as long as it takes, and says how long that was. */
export interface Effects {
  /**
   * Resolves when the model serves; `vramBytes` is what was measured, null where nothing could be. The signal is
   * aborted when the load is given up because the engine went down: what it measures after that is worth nothing.
   */
  load(modelId: string, signal: AbortSignal): Promise<{ vramBytes: number | null }>;
  /**
   * Resolves when the memory was seen to be free, or with `released: false` when that did not happen in time.
   */
  unload(modelId: string, after: Departure): Promise<{ released: boolean }>;
  /** A swap was decided: what can be read ahead for the next model is read while the resident drains. */
  prewarm(modelId: string): void;
  /** What the model's engine holds may not be what is counted any more: it is asked, and the count is put right. */
  recheck(modelId: string): void;
}

/** Why a model's memory is waited for: it was told to leave, went down with its engine, or never came up whole. */
export type Departure = 'asked' | 'lost' | 'failed_load';

/** The queue is full: order cannot help any more, so who comes now is told when to come back. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
  readonly limit: 'queue' | 'tenant_queue';
  readonly retryAfterMs: number;

  constructor({ limit, overShare, retryAfterMs }: Overflow) {
    const full = overShare
      ? 'The queue is full, and more of your work waits in it than your share.'
      : 'The queue is full.';
    super(limit === 'queue' ? full : 'Too much of your work is waiting already.');
    this.limit = limit;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The GPU is paused; interactive work is turned away. */
export class PausedError extends Error {
  override readonly name = 'PausedError';
  readonly retryAfterMs: number;

  constructor(retryAfterMs = 60_000) {
    super('The operator has paused the GPU.');
    this.retryAfterMs = retryAfterMs;
  }
}

export interface Grant {
  readonly queuedMs: number;
  /** The part of the wait in which the card was changing models: charged to the house. */
  readonly swapMs: number;
  /** Ends the lease; returns what it cost in GPU milliseconds. Later calls return 0. */
  end(): number;
  /** False once the model was lost under it: what happens to this work then says nothing of the engine of today. */
  isCurrent(): boolean;
}

/** Why the operator's load is not done. */
export const loadRefusals = {
  engine_down: 'Its engine is not running; start the engine first.',
  paused: 'The GPU is paused; resume it first.',
  gpu_unreadable:
    'Video memory cannot be read at the moment, so nothing new is loaded. Try again in a minute.',
  too_large: 'It needs more video memory than this machine can give to models.',
  blocked_by_pin: 'A pinned model holds the room that it needs; unpin that one first.',
  held_by_others: 'Other programs hold the video memory that it needs.',
  others_in_use: 'The models in its place are serving or waited for; unload one of them first.',
} as const;
export type LoadRefusal = keyof typeof loadRefusals;

/** Why the operator's unload is not done. */
export const unloadRefusals = {
  not_loaded: 'It is not loaded.',
  still_loading: 'It is still being loaded; unload it once it is ready.',
} as const;
export type UnloadRefusal = keyof typeof unloadRefusals;

export type Submission = Omit<Work, 'since'>;

/** A decision as it was taken, for the operator to look up why. */
export interface Decision {
  readonly sequence: number;
  /** Wall-clock milliseconds. */
  readonly at: number;
  readonly type: Action['type'] | 'loaded' | 'load_failed' | 'released' | 'lost' | 'refused' | 'mode';
  readonly modelId: string | null;
  readonly workId: string | null;
  readonly tenant: string | null;
  readonly cause: Cause | null;
  readonly drainFor: string | null;
  /** How much work waited for the model of this decision; for one about no model, how much waited in all. */
  readonly waiting: number;
  /** How long what has ended took; null for a beginning. */
  readonly tookMs: number | null;
  readonly note: string | null;
}

interface Waiter {
  readonly resolve: (grant: Grant) => void;
  readonly reject: (error: Error) => void;
  readonly transitionMs: number;
  readonly leave: () => void;
}

const limits = {
  decisions: 1_000,
  coolFirstMs: 2_000,
  coolLongestMs: 5 * 60_000,
} as const;

/**
 * Drives the plan: one loop, woken by every event, that applies what plan() says. All state is changed here, in
 * one turn of the event loop at a time, so nothing needs a lock.
 */
export class Scheduler {
  readonly state = new SchedulerState();
  readonly #effects: Effects;
  readonly #policy: () => Policy;
  readonly #limits: () => QueueLimits;
  readonly #waiters = new Map<string, Waiter>();
  readonly #failures = new Map<string, { count: number; error: EngineError }>();
  /** Gives up the loads under way, by the instance of their residency. */
  readonly #loads = new Map<number, AbortController>();
  readonly #standings = new Standings(() => this.standings());
  readonly #decisions: Decision[] = [];
  readonly #counts = new Map<Decision['type'], number>();
  readonly #listeners = new Set<(decision: Decision) => void>();
  #sequence = 0;
  #pumping = false;
  #timer: NodeJS.Timeout | null = null;
  /** Time spent changing models so far, and since when it is being spent. */
  #transitionMs = 0;
  #transitionSince: number | null = null;

  constructor(options: { effects: Effects; policy: () => Policy; limits: () => QueueLimits }) {
    this.#effects = options.effects;
    this.#policy = options.policy;
    this.#limits = options.limits;
  }

  /**
   * Queues work and resolves when it holds a lease. Rejects with QueueFullError, PausedError, an EngineError when
   * the model cannot be had, or the signal's reason when it is aborted first.
   */
  submit(submission: Submission, signal: AbortSignal): Promise<Grant> {
    const now = performance.now();
    const refusal = this.#refusal(submission, now);
    if (refusal) {
      this.#record('refused', { work: submission, note: refusal.message });
      return Promise.reject(refusal);
    }
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const { id } = submission;
      const abort = (): void => void this.cancel(id, signal.reason);
      signal.addEventListener('abort', abort, { once: true });
      this.#waiters.set(id, {
        resolve,
        reject,
        transitionMs: this.#spentMs(now),
        leave: () => signal.removeEventListener('abort', abort),
      });
      this.state.enqueue({ ...submission, since: now });
      this.pump();
    });
  }

  /** Takes waiting work out of the queue; false when it was not waiting. */
  cancel(workId: string, reason: Error): boolean {
    if (!this.state.cancel(workId)) return false;
    this.#take(workId)?.reject(reason);
    this.pump();
    return true;
  }

  /** Where everything that waits stands, as of now. */
  standings(): Standing[] {
    return explain(this.state, performance.now(), this.#policy());
  }

  /** Where one piece of work stands, as of a moment ago; undefined when it does not wait. */
  standing(workId: string): Standing | undefined {
    const work = this.state.queue.get(workId);
    return work && this.#standings.of(work, this.state.queue.count(work.modelId), performance.now());
  }

  /** How many decisions of each type there were, since the start. */
  counts(): ReadonlyMap<Decision['type'], number> {
    return this.#counts;
  }

  /** The recorded decisions, oldest first. */
  decisions(): readonly Decision[] {
    return this.#decisions;
  }

  onDecision(listener: (decision: Decision) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setMode(mode: Mode): void {
    if (this.state.mode === mode) return;
    this.state.mode = mode;
    this.#record('mode', { note: mode });
    if (mode === 'paused') {
      for (const work of this.state.queue.all()) {
        if (work.lane === 'interactive') this.cancel(work.id, new PausedError());
      }
    }
    this.pump();
  }

  setBudget(budgetBytes: number, capacityBytes: number, canLoad: boolean): void {
    this.state.budgetBytes = budgetBytes;
    this.state.capacityBytes = capacityBytes;
    this.state.canLoad = canLoad;
    this.pump();
  }

  /**
   * Loads a model because the operator says so, as soon as no other change is under way; room is made only where
   * nobody is served or waits. Returns why that cannot be, null when it is done or about to be.
   */
  requestLoad(modelId: string): LoadRefusal | null {
    const { state } = this;
    const facts = state.model(modelId);
    const resident = state.residents.get(modelId);
    if (resident && resident.phase !== 'draining' && resident.phase !== 'unloading') return null;
    if (facts.outage) return 'engine_down';
    if (state.mode !== 'running') return 'paused';
    if (!state.canLoad) return 'gpu_unreadable';
    if (facts.vramBytes > state.capacityBytes) return 'too_large';
    if (facts.vramBytes > state.budgetBytes) return 'held_by_others';
    if (!victimsFor(state, facts)) return 'blocked_by_pin';
    state.requested.add(modelId);
    this.pump();
    // Pumping drops what no room could be made for.
    return state.requested.has(modelId) || state.residents.has(modelId) ? null : 'others_in_use';
  }

  /**
   * Unloads a model because the operator says so: the door closes, what runs ends first. Returns why that cannot be,
   * null when it is done or under way.
   */
  requestUnload(modelId: string): UnloadRefusal | null {
    const resident = this.state.residents.get(modelId);
    if (!resident) return 'not_loaded';
    if (resident.phase === 'loading') return 'still_loading';
    if (resident.phase !== 'ready') return null;
    const type = resident.running > 0 ? 'drain' : 'unload';
    this.#apply({ type, modelId, cause: 'operator', drainFor: null });
    return null;
  }

  /** An engine went down by itself: its models are gone, and their memory is on its way back (V2). */
  lost(modelIds: readonly string[], reason: string): void {
    for (const modelId of modelIds) {
      const resident = this.state.residents.get(modelId);
      if (!resident || resident.phase === 'unloading') continue;
      this.#record('lost', { modelId, note: reason });
      const remains = this.state.lose(resident, performance.now());
      this.#loads.get(resident.instance)?.abort(new EngineError('unreachable', reason));
      this.#unload(remains, 'lost');
    }
    this.pump();
  }

  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (;;) {
        const { actions, wakeAt } = plan(this.state, performance.now(), this.#policy());
        if (actions.length === 0) {
          if (!this.state.inTransition) this.#dropRequests();
          return this.#wakeAt(wakeAt);
        }
        for (const action of actions) this.#apply(action);
      }
    } finally {
      this.#pumping = false;
    }
  }

  /** The plan found no room for what the operator asked for, and is not about to make any. */
  #dropRequests(): void {
    for (const modelId of this.state.requested) {
      this.#record('load_failed', { modelId, cause: 'operator', note: loadRefusals.others_in_use });
    }
    this.state.requested.clear();
  }

  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
    for (const work of this.state.queue.all()) {
      this.state.cancel(work.id);
      this.#take(work.id)?.reject(new EngineError('aborted', 'The appliance is shutting down.'));
    }
  }

  #refusal(work: Submission, now: number): Error | null {
    const { modelId, lane } = work;
    if (this.state.mode === 'paused' && lane === 'interactive') return new PausedError();
    const failure = this.#failures.get(modelId);
    if (failure && failure.count > 1 && this.state.coolsUntil(modelId) > now) return failure.error;
    const full = overflow(this.state.queue, work, this.#limits());
    return full && new QueueFullError(full);
  }

  #apply(action: Action): void {
    const now = performance.now();
    switch (action.type) {
      case 'grant':
        return this.#grant(action.workId, now);
      case 'load': {
        this.#record('load', { modelId: action.modelId, cause: action.cause });
        const resident = this.state.beginLoad(action.modelId, now);
        this.#markTransition(now);
        return void this.#load(resident, now);
      }
      case 'drain':
        this.#record('drain', action);
        this.state.move(action.modelId, 'draining', now, action);
        if (action.drainFor !== null) this.#effects.prewarm(action.drainFor);
        return this.#markTransition(now);
      case 'unload': {
        this.#record('unload', action);
        const resident = this.state.move(action.modelId, 'unloading', now, action);
        if (action.drainFor !== null) this.#effects.prewarm(action.drainFor);
        this.#markTransition(now);
        return this.#unload(resident, 'asked');
      }
      case 'reopen':
        this.#record('reopen', { modelId: action.modelId });
        this.state.move(action.modelId, 'ready', now);
        return this.#markTransition(now);
    }
  }

  #grant(workId: string, now: number): void {
    const waiter = this.#take(workId);
    const { work, resident } = this.state.grant(workId, now);
    if (!waiter) throw new Error(`nobody waits for ${workId}`);
    this.#record('grant', { work, modelId: work.modelId });
    let ended = false;
    waiter.resolve({
      queuedMs: now - work.since,
      swapMs: this.#spentMs(now) - waiter.transitionMs,
      end: () => {
        if (ended) return 0;
        ended = true;
        const gpuMs = this.state.finish(workId, performance.now());
        this.pump();
        return gpuMs;
      },
      isCurrent: () => this.state.current(resident) !== undefined,
    });
  }

  async #load(resident: Resident, began: number): Promise<void> {
    const { modelId, instance } = resident;
    const abort = new AbortController();
    this.#loads.set(instance, abort);
    try {
      const { vramBytes } = await this.#effects.load(modelId, abort.signal);
      this.#loaded(resident, vramBytes, began);
    } catch (error) {
      this.#loadFailed(resident, EngineError.from(error, 'load_failed'), began);
    }
    this.#loads.delete(instance);
    // However a load ends that was given up: the engine may hold the model, and nobody counts it.
    if (abort.signal.aborted) this.#effects.recheck(modelId);
    this.#markTransition(performance.now());
    this.pump();
  }

  #loaded(resident: Resident, vramBytes: number | null, began: number): void {
    const { modelId } = resident;
    const now = performance.now();
    // The engine was lost while it loaded; a successor may be loading by now.
    if (this.state.current(resident)?.phase !== 'loading') return;
    if (vramBytes !== null) resident.bytes = vramBytes;
    this.state.move(modelId, 'ready', now);
    this.#failures.delete(modelId);
    this.#record('loaded', { modelId, tookMs: now - began });
  }

  #loadFailed(resident: Resident, error: EngineError, began: number): void {
    const { modelId } = resident;
    const now = performance.now();
    this.#record('load_failed', { modelId, note: error.message, tookMs: now - began });
    const loads = this.state.current(resident)?.phase === 'loading';
    // A load that was given up and fails late says nothing of the one that came after it.
    if (!loads && this.state.isComing(modelId)) return;
    // An engine that is down is no fault of the model: who waits for it is looked after where the engine is.
    const isModels = !this.state.models.get(modelId)?.outage;
    const count = isModels ? (this.#failures.get(modelId)?.count ?? 0) + 1 : 0;
    if (isModels) {
      this.#failures.set(modelId, { count, error });
      const coolMs = Math.min(limits.coolLongestMs, limits.coolFirstMs * 2 ** (count - 1));
      this.state.coolDown(modelId, now + coolMs);
    }
    if (loads) {
      // Half a load can hold memory: the reservation ends with a measured release, like any other.
      this.state.move(modelId, 'unloading', now);
      this.#unload(resident, 'failed_load');
    }
    if (isModels && (count > 1 || !error.retryable)) {
      for (const work of this.state.queue.all()) {
        if (work.modelId === modelId) this.cancel(work.id, error);
      }
    }
  }

  #unload(resident: Resident, after: Departure): void {
    const { modelId } = resident;
    const began = performance.now();
    const ended = (note: string | null): void => {
      this.state.release(resident);
      this.#record('released', { modelId, note, tookMs: performance.now() - began });
      this.#markTransition(performance.now());
      // What went down in the middle of a load may have come up with the model.
      if (after === 'lost') this.#effects.recheck(modelId);
      this.pump();
    };
    this.#effects.unload(modelId, after).then(
      ({ released }) => ended(released ? null : 'the memory was not seen to come back'),
      (error: unknown) => ended(error instanceof Error ? error.message : String(error)),
    );
  }

  #take(workId: string): Waiter | undefined {
    const waiter = this.#waiters.get(workId);
    this.#waiters.delete(workId);
    waiter?.leave();
    return waiter;
  }

  #wakeAt(at: number | null): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (at === null) return;
    // A timer may fire a moment early; the plan must then be asked at or after the time it named.
    this.#timer = setTimeout(() => this.pump(), Math.max(1, Math.ceil(at - performance.now()) + 1));
    this.#timer.unref();
  }

  #spentMs(now: number): number {
    return this.#transitionMs + (this.#transitionSince === null ? 0 : now - this.#transitionSince);
  }

  #markTransition(now: number): void {
    const active = this.state.inTransition;
    if (active && this.#transitionSince === null) this.#transitionSince = now;
    else if (!active && this.#transitionSince !== null) {
      this.#transitionMs += now - this.#transitionSince;
      this.#transitionSince = null;
    }
  }

  #record(
    type: Decision['type'],
    about: {
      modelId?: string;
      work?: Submission;
      cause?: Cause;
      drainFor?: string | null;
      tookMs?: number;
      note?: string | null;
    },
  ): void {
    this.#counts.set(type, (this.#counts.get(type) ?? 0) + 1);
    const modelId = about.modelId ?? about.work?.modelId ?? null;
    const decision: Decision = {
      sequence: (this.#sequence += 1),
      at: Date.now(),
      type,
      modelId,
      workId: about.work?.id ?? null,
      tenant: about.work?.tenant ?? null,
      cause: about.cause ?? null,
      drainFor: about.drainFor ?? null,
      waiting: modelId === null ? this.state.queue.size : this.state.queue.count(modelId),
      tookMs: about.tookMs ?? null,
      note: about.note ?? null,
    };
    this.#decisions.push(decision);
    if (this.#decisions.length > limits.decisions) this.#decisions.splice(0, limits.decisions / 10);
    for (const listener of this.#listeners) listener(decision);
  }
}
