import { randomUUID } from 'node:crypto';
import type { Caller, Timings } from '../../gpu/gpu.ts';
import type { Lane } from '../../gpu/vram/work.ts';
import { crashPoint } from '../crash-point.ts';
import type { DurableWrites, Write } from '../db/durable-writes.ts';
import { noTimings } from '../generation/timings.ts';
import type { HistoryStore } from '../history/history-store.ts';
import { ApiError, asApiError } from '../http/api-error.ts';
import { ClientGone } from '../http/held-reply.ts';
import type { IdempotencyStore, KeptAnswer, KeyedRun } from '../idempotency/idempotency-store.ts';
import { InsufficientCredits, type Ledger } from '../ledger/ledger.ts';
import type { Offers } from '../offers/offers.ts';
import { type Actual, type PricedWork, priceOf, type Prices, workDone } from '../offers/prices.ts';
import type { Directory } from '../tenants/directory.ts';
import { demandCurrent } from '../tenants/demand-current.ts';
import { type Identity, mayUseFeature, mayUseModel, type Tenant } from '../tenants/tenant.ts';
import type { Feature, UsageRow, UsageStore } from '../usage/usage-store.ts';
import type { PlanWindows } from './plan-windows.ts';
import { PhraseList, textsIn } from './prompt-policy.ts';
import { type RateState, RateWindows } from './rate-window.ts';

/** What a caller wants, before it is let in. */
export interface Wish {
  readonly feature: Feature;
  readonly model: string;
  /** Everything a person wrote, to be held against the policy. */
  readonly prompts: unknown;
  readonly lane: Lane;
  /** The most that the work can come to: what its price is held for. Asked only where somebody pays. */
  readonly work: () => PricedWork;
  /** How many pictures are asked for. */
  readonly images?: number;
  /** The Idempotency-Key it came with, once it was taken for this request. */
  readonly keyed?: KeyedRun | null;
}

/** What work would cost. */
export interface Quote {
  /** The most it can cost: what is held while it runs. */
  readonly credits: number;
  /** What the account has for it; null for a tenant that pays nothing. */
  readonly available: number | null;
}

/** Admission to one piece of work. Settled or voided exactly once; whatever comes second is ignored. */
export interface Ticket {
  readonly id: string;
  readonly identity: Identity;
  readonly caller: Caller;
  /** Whether the answer has to be handed to `settle`, because it may be asked for again. */
  readonly keepsAnswer: boolean;
  /** Called when the key is revoked or expires, or the tenant is suspended, while the work runs. */
  onRevoked(end: (reason: ApiError) => void): void;
  /** Charges for what was used and gives the rest back. */
  settle(actual: Actual, timings: Timings, answer?: KeptAnswer | null): void;
  /**
   * The work did not come to its end. When the caller gave it up, or lost the right to it, what was produced until
   * then is charged; when it failed on our side, nothing is.
   */
  void(error: unknown, actual: Actual, timings: Timings): void;
}

interface Open {
  /** Stops looking whether its key is still good. */
  readonly unwatch: () => void;
  /** Whether the right to it was lost. */
  isRevoked: boolean;
  /** Ends the work. */
  end: ((reason: ApiError) => void) | null;
  /** Closes the books on it, whether or not the work has ended yet. */
  void: (reason: ApiError) => void;
}

/** What is held for work, and what of it is charged for what the work came to. */
interface Held {
  readonly credits: number;
  readonly charge: (actual: Actual) => number;
}

type Status = UsageRow['status'];

/** The one gate: tenant, plan, rate, concurrency, prompt policy, credits, in this order, for every road. */
export class Admission {
  readonly #directory: Directory;
  readonly #usage: UsageStore;
  readonly #history: HistoryStore;
  readonly #ledger: Ledger;
  readonly #idempotency: IdempotencyStore;
  readonly #offers: Offers;
  readonly #windows: PlanWindows;
  readonly #writes: DurableWrites;
  readonly #rates = new RateWindows();
  readonly #open = new Map<string, Open>();
  readonly #openByTenant = new Map<string, number>();
  readonly #blocked: PhraseList;
  readonly #ownLists = new WeakMap<readonly string[], PhraseList>();
  #isClosed = false;

  constructor(options: {
    directory: Directory;
    usage: UsageStore;
    history: HistoryStore;
    ledger: Ledger;
    idempotency: IdempotencyStore;
    offers: Offers;
    windows: PlanWindows;
    blockedPhrases: readonly string[];
    writes: DurableWrites;
  }) {
    this.#directory = options.directory;
    this.#usage = options.usage;
    this.#history = options.history;
    this.#ledger = options.ledger;
    this.#idempotency = options.idempotency;
    this.#offers = options.offers;
    this.#windows = options.windows;
    this.#writes = options.writes;
    this.#blocked = new PhraseList(options.blockedPhrases);
    const now = performance.now();
    // T5: a restart gives nobody a new minute.
    for (const { tenant, requests } of this.#usage.countsSince(Date.now() - 60_000)) {
      this.#rates.preload(tenant, requests, now);
    }
  }

  /** Lets work in, or throws an ApiError that says which limit it met. */
  admit(asked: Identity, wish: Wish): Ticket {
    if (this.#isClosed) throw shuttingDown();
    const id = randomUUID();
    const { prices } = this.#offers;
    let identity = asked;
    try {
      identity = demandCurrent(asked);
      const { tenant } = identity;
      this.#checkRights(identity, wish);
      this.#checkConcurrency(tenant);
      this.#checkPolicy(tenant, wish.prompts);
      this.#windows.demand('images', tenant, wish.images ?? 0);
      const charge = this.#hold(id, identity, wish, prices)?.charge ?? null;
      this.#windows.take('images', tenant, wish.images ?? 0);
      crashPoint('request.admitted');
      return this.#ticket(id, identity, wish, charge);
    } catch (error) {
      this.#usage.add(rowOf(identity, wish, id, 'refused', asApiError(error).code, {}, noTimings(), 0));
      throw error;
    }
  }

  /**
   * Lets in work that goes on by itself, all of it or nothing: `write` puts it down
   * with what is held for each, in one transaction. Throws like `admit`; how it ends is written by whoever does it.
   */
  admitJobs(
    asked: Identity,
    works: readonly { readonly id: string; readonly wish: Wish }[],
    write: (creditsHeld: readonly number[], prices: Prices) => void,
  ): void {
    if (this.#isClosed) throw shuttingDown();
    const { prices } = this.#offers;
    // Which of them it is about, should one be refused.
    let current = works[0];
    let identity = asked;
    try {
      identity = demandCurrent(asked);
      for (current of works) this.#checkRights(identity, current.wish);
      for (current of works) this.#checkPolicy(identity.tenant, current.wish.prompts);
      const images = works.reduce((sum, { wish }) => sum + (wish.images ?? 0), 0);
      this.#windows.demand('images', identity.tenant, images);
      this.#ledger.atomically(() => {
        const held = works.map((work) => {
          current = work;
          return this.#hold(work.id, identity, work.wish, prices)?.credits ?? 0;
        });
        write(held, prices);
      });
      this.#windows.take('images', identity.tenant, images);
    } catch (error) {
      if (current) {
        const { id, wish } = current;
        this.#usage.add(rowOf(identity, wish, id, 'refused', asApiError(error).code, {}, noTimings(), 0));
      }
      throw error;
    }
  }

  /**
   * Throws what `admit` would throw for rights and concurrency: before work that has to be done to know what is asked
   * for.
   */
  demandMayAsk(asked: Identity, wish: Pick<Wish, 'feature' | 'model'>): void {
    const identity = demandCurrent(asked);
    this.#checkRights(identity, wish);
    this.#checkConcurrency(identity.tenant);
  }

  /** What work would cost and whether it would be let in; nothing is counted or held. Throws like `admit`. */
  quote(asked: Identity, wish: Wish): Quote {
    const identity = demandCurrent(asked);
    const { tenant } = identity;
    this.#checkRights(identity, wish);
    this.#checkPolicy(tenant, wish.prompts);
    if (tenant.account === null) return { credits: 0, available: null };
    const { available } = this.#ledger.balance(tenant.account);
    return { credits: priceOf(this.#offers.prices, wish.work()), available };
  }

  /** Whether text costs something for a tenant. */
  chargesText({ account }: Tenant): boolean {
    return account !== null && this.#offers.prices.text.per1000Tokens > 0;
  }

  rate({ id, limits: plan }: Tenant): RateState {
    return this.#rates.peek(id, plan.requestsPerMinute, performance.now());
  }

  /** Requests that are open now, by tenant, for those that have any. */
  openByTenant(): ReadonlyMap<string, number> {
    return this.#openByTenant;
  }

  /** Requests of a tenant that are open now. */
  open(tenantId: string): number {
    return this.#openByTenant.get(tenantId) ?? 0;
  }

  /** Lets nothing more in, ends what runs, and gives back what was held for it. */
  close(): void {
    this.#isClosed = true;
    for (const { end, void: giveBack } of this.#open.values()) {
      end?.(shuttingDown());
      giveBack(shuttingDown());
    }
  }

  #checkRights(identity: Identity, { feature, model }: Pick<Wish, 'feature' | 'model'>): void {
    const { plan } = identity.tenant;
    if (!mayUseFeature(identity, feature))
      throw new ApiError(
        'feature_not_in_plan',
        `The plan "${plan}" or this key does not include the feature "${feature}".`,
      );
    if (!mayUseModel(identity, model))
      throw new ApiError(
        'model_not_in_plan',
        `The plan "${plan}" or this key does not include the model "${model}".`,
        { param: 'model' },
      );
  }

  /** Whether a list of phrases, the house's or the tenant's own, has something that is in a text. */
  flags({ blockedPhrases }: Tenant, text: string): boolean {
    return [this.#blocked, ...this.#ownList(blockedPhrases)].some((list) => list.find(text) !== null);
  }

  /**
   * Counts a request, before anything of it is read: what is refused later was a request, too. Throws an ApiError when it
   * is one too many.
   */
  countRequest(identity: Identity, feature: Feature): void {
    const { id, limits: plan } = identity.tenant;
    const rate = this.#rates.take(id, plan.requestsPerMinute, performance.now());
    if (rate.allowed) return;
    const error = tooMany(rate);
    const wish = { feature, model: '' };
    this.#usage.add(rowOf(identity, wish, randomUUID(), 'refused', error.code, {}, noTimings(), 0));
    throw error;
  }

  /** Waits for something on behalf of a request that is not admitted yet; meanwhile it counts as an open one. */
  async whileOpen<Result>({ tenant }: Identity, work: () => Promise<Result>): Promise<Result> {
    this.#checkConcurrency(tenant);
    this.#openByTenant.set(tenant.id, this.open(tenant.id) + 1);
    try {
      return await work();
    } finally {
      this.#leave(tenant.id);
    }
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

  /** Holds the most that the work can cost. Returns how to charge for what it came to; null when it costs nothing. */
  #hold(
    id: string,
    { id: by, tenant }: Identity,
    { feature, model, work: most }: Wish,
    prices: Prices,
  ): Held | null {
    if (tenant.account === null) return null;
    const work = most();
    const credits = priceOf(prices, work);
    if (credits === 0) return null;
    try {
      const about = { feature, model: model.slice(0, 300), by };
      this.#ledger.hold({ id, account: tenant.account, credits, reason: feature, about });
    } catch (error) {
      if (!(error instanceof InsufficientCredits)) throw error;
      throw new ApiError(
        'insufficient_credits',
        `This costs up to ${error.wanted} credits, and ${error.available} are available. Buy credits, or ask for less.`,
      );
    }
    // At the prices it was held at, whatever they become meanwhile.
    return { credits, charge: (actual) => Math.min(credits, priceOf(prices, workDone(work, actual))) };
  }

  #ticket(id: string, identity: Identity, wish: Wish, charge: ((actual: Actual) => number) | null): Ticket {
    const { tenant } = identity;
    const { keyed = null } = wish;
    // A1: who lost the key loses the streams that run on it.
    const unwatch = this.#directory.onEndOf(identity, () => this.#revoke(id));
    const open: Open = { unwatch, isRevoked: false, end: null, void: () => undefined };
    this.#open.set(id, open);
    this.#openByTenant.set(tenant.id, this.open(tenant.id) + 1);
    const end = (
      status: Status,
      errorCode: string | null,
      charged: number,
      actual: Actual,
      timings: Timings,
      answer: KeptAnswer | null,
    ): void => {
      if (!this.#close(id, tenant.id)) return;
      const row = rowOf(identity, wish, id, status, errorCode, actual, timings, charged);
      if (!charge && !keyed && tenant.history === 'none') return this.#usage.add(row);
      const isCharged = status === 'ok' || charged > 0;
      const release = write('the release of held credits', id, () =>
        this.#ledger.void(id, errorCode ?? status),
      );
      const parts: Write[] = [
        ...(charge && isCharged
          ? [write('a charge', id, () => this.#ledger.post(id, charged), [release])]
          : charge
            ? [release]
            : []),
        write('a row of usage', id, () => this.#usage.addNow(row)),
        ...(keyed
          ? [
              write('an answer to be given again', id, () =>
                isCharged
                  ? this.#idempotency.finish(keyed, answer, [{ feature: wish.feature, model: wish.model }])
                  : this.#idempotency.forget(keyed),
              ),
            ]
          : []),
        ...(tenant.history !== 'none' && status !== 'refused'
          ? [write('a prompt of the history', id, () => this.#keep(identity, wish, row))]
          : []),
      ];
      void this.#writes.commit({
        what: 'the end of a request',
        id,
        write: () => {
          for (const part of parts) part.write();
          crashPoint('request.settling');
        },
        // One part that can never be written must not keep the others, least of all the held credits.
        instead: parts,
      });
      crashPoint('request.settled');
    };
    const ticket: Ticket = {
      id,
      identity,
      keepsAnswer: keyed !== null,
      caller: {
        tenant: tenant.id,
        weight: tenant.limits.weight,
        concurrency: tenant.limits.concurrent,
        lane: wish.lane,
        feature: wish.feature,
      },
      onRevoked: (revoked) => {
        open.end = revoked;
        if (open.isRevoked) this.#revoke(id);
      },
      settle: (actual, timings, answer = null) =>
        end('ok', null, charge?.(actual) ?? 0, actual, timings, answer),
      void: (error, actual, timings) => {
        const gone = error instanceof ClientGone;
        const { code } = asApiError(error);
        const status = gone ? 'abandoned' : timings.granted ? 'failed' : 'refused';
        const charged = gone || code === 'invalid_api_key' ? (charge?.(actual) ?? 0) : 0;
        end(status, gone ? 'client_gone' : code, charged, actual, timings, null);
      },
    };
    open.void = (reason) => ticket.void(reason, {}, noTimings());
    return ticket;
  }

  /** False when the ticket was closed before. */
  #close(id: string, tenantId: string): boolean {
    const open = this.#open.get(id);
    if (!open) return false;
    this.#open.delete(id);
    open.unwatch();
    this.#leave(tenantId);
    return true;
  }

  #leave(tenantId: string): void {
    const left = this.open(tenantId) - 1;
    if (left > 0) this.#openByTenant.set(tenantId, left);
    else this.#openByTenant.delete(tenantId);
  }

  #keep(identity: Identity, { feature, prompts }: Wish, { id, at, model }: UsageRow): void {
    this.#history.add(identity.tenant.id, { id, user: identity.person, feature, model, at, prompts });
  }

  #revoke(id: string): void {
    const open = this.#open.get(id);
    if (!open) return;
    open.isRevoked = true;
    open.end?.(new ApiError('invalid_api_key', 'The API key or session was revoked or has expired.'));
  }
}

function rowOf(
  identity: Identity,
  { feature, model }: Pick<Wish, 'feature' | 'model'>,
  id: string,
  status: Status,
  errorCode: string | null,
  actual: Actual,
  timings: Timings,
  credits: number,
): UsageRow {
  return {
    id,
    at: Date.now(),
    tenant: identity.tenant.id,
    keyId: identity.id,
    person: identity.person,
    feature,
    model: model.slice(0, 300),
    status,
    errorCode,
    promptTokens: actual.promptTokens ?? 0,
    completionTokens: actual.completionTokens ?? 0,
    images: actual.images ?? 0,
    queueMs: Math.round(timings.queuedMs),
    swapMs: Math.round(timings.swapMs),
    runMs: Math.round(timings.runMs),
    gpuMs: Math.round(timings.gpuMs),
    credits,
  };
}

function write(what: string, id: string, work: () => unknown, instead: readonly Write[] = []): Write {
  return { what, id, write: () => void work(), instead };
}

function tooMany(rate: RateState): ApiError {
  return new ApiError(
    'rate_limit_exceeded',
    `More than ${rate.limit} requests a minute (limit: requests). Try again in ${Math.ceil(rate.retryAfterMs / 1000)} s.`,
    rate,
  );
}

function shuttingDown(): ApiError {
  return new ApiError('shutting_down', 'The appliance is shutting down.', { retryAfterMs: 10_000 });
}
