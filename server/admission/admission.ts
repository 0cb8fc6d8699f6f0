import { randomUUID } from 'node:crypto';
import type { Caller, Timings } from '../../gpu/gpu.ts';
import type { Lane } from '../../gpu/vram/work.ts';
import { ApiError, asApiError } from '../http/api-error.ts';
import { ClientGone } from '../http/held-reply.ts';
import { limits } from '../contract/limits.ts';
import { allowsModel, type Prices } from '../tenants/plans.ts';
import type { Identity, Tenant, Tenants } from '../tenants/tenants.ts';
import type { Feature, UsageStore } from '../usage/usage-store.ts';
import { PhraseList, textsIn } from './prompt-policy.ts';
import { type RateState, RateWindows } from './rate-window.ts';

/** What a caller wants, before it is let in. */
export interface Wish {
  readonly feature: Feature;
  readonly model: string;
  /** Everything a person wrote, to be held against the policy. */
  readonly prompts: unknown;
  readonly lane: Lane;
}

/** What was used, when it is over. */
export interface Actual {
  readonly promptTokens?: number;
  readonly completionTokens?: number;
  readonly images?: number;
}

/** Admission to one piece of work. Settled or voided exactly once; whatever comes second is ignored. */
export interface Ticket {
  readonly id: string;
  readonly identity: Identity;
  readonly caller: Caller;
  /** Called when the key is revoked or the tenant disabled while the work runs. */
  onRevoked(end: (reason: ApiError) => void): void;
  settle(actual: Actual, timings: Timings): void;
  /** The work did not succeed; what it used so far is still written down. */
  void(error: unknown, actual: Actual, timings: Timings): void;
}

interface Open {
  readonly identity: Identity;
  end: ((reason: ApiError) => void) | null;
}

/** The one gate: key, tenant, plan, rate, concurrency, prompt policy, in this order, for every road. */
export class Admission {
  readonly #tenants: Tenants;
  readonly #usage: UsageStore;
  readonly #prices: Prices;
  readonly #rates = new RateWindows();
  readonly #open = new Map<string, Open>();
  readonly #openByTenant = new Map<string, number>();
  readonly #blocked: PhraseList;
  readonly #ownLists = new WeakMap<readonly string[], PhraseList>();

  constructor(options: {
    tenants: Tenants;
    usage: UsageStore;
    prices: Prices;
    blockedPhrases: readonly string[];
  }) {
    this.#tenants = options.tenants;
    this.#usage = options.usage;
    this.#prices = options.prices;
    this.#blocked = new PhraseList(options.blockedPhrases);
    const now = performance.now();
    for (const { tenant, requests } of this.#usage.countsSince(Date.now() - 60_000)) {
      this.#rates.preload(tenant, requests, now);
    }
    // A1: who lost the key loses the streams that run on it.
    this.#tenants.onChange(() => this.#endRevoked());
  }

  /** Who a key belongs to. Throws for a key that is missing, unknown, expired or of a disabled tenant. */
  authenticate(key: string | null): Identity {
    if (key === null) {
      throw new ApiError(
        'missing_api_key',
        'No API key was given. Send it as "Authorization: Bearer <key>" or "x-api-key: <key>".',
      );
    }
    const identity = key.length > limits.keyCharacters ? undefined : this.#tenants.byKey(key);
    if (!identity || (identity.expiresAt !== null && identity.expiresAt <= Date.now())) {
      throw new ApiError('invalid_api_key', 'The API key is wrong, expired or revoked.');
    }
    if (identity.tenant.disabled)
      throw new ApiError('tenant_disabled', 'This tenant is disabled; ask the operator.');
    return identity;
  }

  /** Lets work in, or throws an ApiError that says which limit it met. */
  admit(identity: Identity, wish: Wish): Ticket {
    const { tenant } = identity;
    try {
      this.#checkModel(tenant, wish.model);
      this.#checkRate(tenant);
      this.#checkConcurrency(tenant);
      this.#checkPolicy(tenant, wish.prompts);
    } catch (error) {
      this.#record(identity, wish, randomUUID(), 'refused', asApiError(error).code, {}, noTimings);
      throw error;
    }
    return this.#ticket(identity, wish);
  }

  rate({ id, limits: plan }: Tenant): RateState {
    return this.#rates.peek(id, plan.requestsPerMinute, performance.now());
  }

  /** Requests of a tenant that are open now. */
  open(tenantId: string): number {
    return this.#openByTenant.get(tenantId) ?? 0;
  }

  mayUse({ limits: plan }: Tenant, model: string): boolean {
    return allowsModel(plan.models, model);
  }

  #checkModel(tenant: Tenant, model: string): void {
    if (this.mayUse(tenant, model)) return;
    throw new ApiError(
      'model_not_in_plan',
      `The plan "${tenant.plan}" does not include the model "${model}".`,
      {
        param: 'model',
      },
    );
  }

  #checkRate({ id, limits: plan }: Tenant): void {
    const rate = this.#rates.take(id, plan.requestsPerMinute, performance.now());
    if (rate.allowed) return;
    throw new ApiError(
      'rate_limit_exceeded',
      `More than ${rate.limit} requests a minute (limit: requests). Try again in ${Math.ceil(rate.retryAfterMs / 1000)} s.`,
      rate,
    );
  }

  #checkConcurrency({ id, limits: plan }: Tenant): void {
    const most = plan.concurrent + plan.queued;
    if (this.open(id) < most) return;
    throw new ApiError(
      'concurrency_exceeded',
      `${most} requests are open already (limit: concurrency). Wait for one to end.`,
      { retryAfterMs: 2_000 },
    );
  }

  #checkPolicy(tenant: Tenant, prompts: unknown): void {
    const lists = [...(tenant.allowNSFW ? [] : [this.#blocked]), ...this.#ownList(tenant.blockedPhrases)];
    if (lists.length === 0) return;
    for (const text of textsIn(prompts)) {
      if (lists.some((list) => list.find(text) !== null)) {
        throw new ApiError(
          'content_policy_violation',
          'The prompt is not allowed by this tenant’s content policy.',
        );
      }
    }
  }

  #ownList(phrases: readonly string[]): PhraseList[] {
    if (phrases.length === 0) return [];
    let list = this.#ownLists.get(phrases);
    if (!list) this.#ownLists.set(phrases, (list = new PhraseList(phrases)));
    return [list];
  }

  #ticket(identity: Identity, wish: Wish): Ticket {
    const id = randomUUID();
    const { tenant } = identity;
    const open: Open = { identity, end: null };
    this.#open.set(id, open);
    this.#openByTenant.set(tenant.id, this.open(tenant.id) + 1);
    const close = (): boolean => {
      if (!this.#open.delete(id)) return false;
      const left = this.open(tenant.id) - 1;
      if (left > 0) this.#openByTenant.set(tenant.id, left);
      else this.#openByTenant.delete(tenant.id);
      return true;
    };
    return {
      id,
      identity,
      caller: {
        tenant: tenant.id,
        weight: tenant.limits.weight,
        concurrency: tenant.limits.concurrent,
        lane: wish.lane,
      },
      onRevoked: (end) => {
        open.end = end;
      },
      settle: (actual, timings) => {
        if (close()) this.#record(identity, wish, id, 'ok', null, actual, timings);
      },
      void: (error, actual, timings) => {
        if (!close()) return;
        const gone = error instanceof ClientGone;
        const status = gone ? 'abandoned' : timings.granted ? 'failed' : 'refused';
        this.#record(
          identity,
          wish,
          id,
          status,
          gone ? 'client_gone' : asApiError(error).code,
          actual,
          timings,
        );
      },
    };
  }

  #record(
    identity: Identity,
    { feature, model }: Wish,
    id: string,
    status: 'ok' | 'failed' | 'refused' | 'abandoned',
    errorCode: string | null,
    actual: Actual,
    timings: Timings,
  ): void {
    const { promptTokens = 0, completionTokens = 0, images = 0 } = actual;
    this.#usage.add({
      id,
      at: Date.now(),
      tenant: identity.tenant.id,
      keyId: identity.keyId,
      feature,
      model: model.slice(0, 300),
      status,
      errorCode,
      promptTokens,
      completionTokens,
      images,
      queueMs: Math.round(timings.queuedMs),
      swapMs: Math.round(timings.swapMs),
      runMs: Math.round(timings.runMs),
      gpuMs: Math.round(timings.gpuMs),
      credits: creditsFor(this.#prices, promptTokens + completionTokens, images),
    });
  }

  #endRevoked(): void {
    for (const { identity, end } of this.#open.values()) {
      const current = this.#tenants.byHash(identity.keyHash);
      if (current && !current.tenant.disabled) continue;
      end?.(new ApiError('invalid_api_key', 'The API key was revoked.'));
    }
  }
}

/** Whole credits: pictures each, tokens by the started thousand when they cost anything. */
export function creditsFor(prices: Prices, tokens: number, images: number): number {
  return prices.image * images + Math.ceil((prices.textPer1000Tokens * tokens) / 1_000);
}

const noTimings: Timings = { queuedMs: 0, swapMs: 0, runMs: 0, gpuMs: 0, granted: false };
