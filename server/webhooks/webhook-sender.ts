import { Webhook as Signer } from 'standardwebhooks';
import { Agent, request } from 'undici';
import { crashPoint } from '../crash-point.ts';
import { limits } from '../contract/limits.ts';
import type { DurableWrites } from '../db/durable-writes.ts';
import { AddressRefused, demandCallable, guardedLookup } from './public-address.ts';
import type { Delivery, DueDelivery, Webhook, WebhookStore } from './webhook-store.ts';

/** Waits between attempts: over four days in all. */
const minute = 60_000;
const hour = 60 * minute;
const retryMs = [
  5_000,
  minute,
  5 * minute,
  30 * minute,
  2 * hour,
  6 * hour,
  12 * hour,
  24 * hour,
  24 * hour,
  24 * hour,
];
const gone = 410;
const everyMs = 1_000;

/** How a call went: the status of the answer, or why there was none. */
interface Call {
  readonly status: number | null;
  readonly error: string | null;
}

/**
 * Tells tenants' endpoints what happened, signed as the Standard Webhooks specification says, at least once. Each
 * endpoint gets one delivery at a time and each tenant few at once, and tenants take turns, so a dead endpoint delays
 * nobody else (W3). An endpoint is not called again before the outcome of the last call is recorded. Of what an
 * endpoint answers only the status is shown to anybody.
 */
export class WebhookSender {
  readonly #store: WebhookStore;
  readonly #allowed: readonly string[];
  readonly #writes: DurableWrites;
  readonly #agent: Agent;
  readonly #onError: (error: unknown) => void;
  /** By endpoint: the delivery on its way, until its outcome is recorded. */
  readonly #sending = new Map<string, Promise<void>>();
  /** Calls that go on now, by tenant. */
  readonly #calls = new Map<string, number>();
  /** When each tenant had its last turn, as a number that goes up with every turn. */
  readonly #lastTurn = new Map<string, number>();
  #turn = 0;
  /** Deliveries whose outcome can never be recorded: they are not sent again while we live. */
  readonly #lost = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  readonly #abort = new AbortController();

  constructor(options: {
    store: WebhookStore;
    /** Addresses beside the internet that may be called (addresses or CIDR ranges). */
    allowed: readonly string[];
    writes: DurableWrites;
    onError: (error: unknown) => void;
  }) {
    this.#store = options.store;
    this.#allowed = options.allowed;
    this.#writes = options.writes;
    this.#onError = options.onError;
    this.#agent = new Agent({
      connect: { lookup: guardedLookup(options.allowed), timeout: limits.webhooks.timeoutMs },
      headersTimeout: limits.webhooks.timeoutMs,
      bodyTimeout: limits.webhooks.timeoutMs,
      // A new connection each time: none that was opened to one address is used for another.
      pipelining: 0,
    });
    this.#timer = setInterval(() => this.wake(), everyMs).unref();
  }

  /** Sends what is due. */
  wake(): void {
    if (this.#abort.signal.aborted) return;
    try {
      const due = this.#store.due(Date.now(), [...this.#lost]);
      for (let next = this.#next(due); next; next = this.#next(due)) this.#begin(next);
    } catch (error) {
      this.#onError(error);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#abort.abort();
    await Promise.all(this.#sending.values());
    await this.#agent.destroy();
  }

  /** Whose turn it is: the tenant with the fewest calls under way, then the one whose last turn is longest ago. */
  #next(due: readonly DueDelivery[]): DueDelivery | undefined {
    let total = 0;
    for (const count of this.#calls.values()) total += count;
    if (total >= limits.webhooks.atOnce) return undefined;
    const calls = (one: DueDelivery): number => this.#calls.get(one.tenant) ?? 0;
    const last = (one: DueDelivery): number => this.#lastTurn.get(one.tenant) ?? 0;
    return due
      .filter((one) => !this.#sending.has(one.webhook) && calls(one) < limits.webhooks.perTenantAtOnce)
      .toSorted((a, b) => calls(a) - calls(b) || last(a) - last(b) || (a.id < b.id ? -1 : 1))[0];
  }

  #begin(delivery: DueDelivery): void {
    this.#lastTurn.set(delivery.tenant, (this.#turn += 1));
    const sending = this.#send(delivery)
      .catch(this.#onError)
      .finally(() => {
        this.#sending.delete(delivery.webhook);
        // The next delivery to this endpoint does not wait for the clock.
        this.wake();
      });
    this.#sending.set(delivery.webhook, sending);
  }

  async #send(delivery: DueDelivery): Promise<void> {
    const { id, tenant } = delivery;
    this.#calls.set(tenant, (this.#calls.get(tenant) ?? 0) + 1);
    const call = await this.#call(delivery).finally(() => {
      const left = (this.#calls.get(tenant) ?? 1) - 1;
      if (left > 0) this.#calls.set(tenant, left);
      else this.#calls.delete(tenant);
    });
    crashPoint('webhook.sent');
    if (this.#abort.signal.aborted && call.status === null) return;
    // While the outcome waits for storage, others get their turn.
    setImmediate(() => this.wake());
    const outcome = await this.#writes.commit({
      what: 'the outcome of a webhook delivery',
      id,
      write: () => this.#record(delivery, call),
      instead: [{ what: 'the end of a webhook delivery', id, write: () => this.#store.giveUp(id) }],
    });
    if (outcome === 'lost') this.#lost.add(id);
  }

  /** Never rejects: whatever goes wrong is the outcome of the call. */
  async #call(delivery: DueDelivery): Promise<Call> {
    try {
      const webhook = this.#store.find(delivery.webhook);
      if (!webhook) return { status: null, error: 'The endpoint was removed.' };
      const status = await this.#post(delivery, webhook);
      return { status, error: status >= 200 && status < 300 ? null : `It answered ${status}.` };
    } catch (error) {
      return { status: null, error: reasonOf(error) };
    }
  }

  #record({ id, webhook, attempts }: Delivery, { status, error }: Call): void {
    if (error === null && status !== null) return this.#store.delivered(id, webhook, status);
    const nextAt = status === gone ? null : this.#nextAt(attempts);
    this.#store.failed(id, webhook, { status, error: error ?? '', nextAt });
    const failingSince = this.#store.find(webhook)?.failingSince ?? null;
    const isHopeless = failingSince !== null && Date.now() - failingSince > limits.webhooks.failingMs;
    if (status === gone || isHopeless) this.#store.disable(webhook);
  }

  async #post({ event, payload }: Delivery, webhook: Webhook): Promise<number> {
    const url = demandCallable(webhook.url, this.#allowed);
    const at = new Date();
    const signature = new Signer(this.#store.secret(webhook)).sign(event, at, payload);
    const { statusCode, body } = await request(url, {
      method: 'POST',
      dispatcher: this.#agent,
      signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(limits.webhooks.timeoutMs)]),
      headers: {
        'content-type': 'application/json',
        'user-agent': 'Kilnhouse',
        'webhook-id': event,
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': signature,
      },
      body: payload,
    });
    // Redirects are not followed: an answer of 3xx is a failure like any other.
    await body.dump({ limit: limits.webhooks.answerBytes });
    return statusCode;
  }

  #nextAt(attempts: number): number | null {
    const waitMs = retryMs[attempts];
    // A little earlier or later, so that what failed together does not come back together.
    return waitMs === undefined ? null : Math.round(Date.now() + waitMs * (0.9 + Math.random() * 0.2));
  }
}

/**
 * Why a call failed, in words for the tenant. Whether a name resolves to an address that may not be called, or to none
 * at all, is told in the same words: otherwise tenants could look up names of the operator's network.
 */
function reasonOf(error: unknown): string {
  if (error instanceof AddressRefused) return noAddress;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (/^(ENOTFOUND|EAI_|ENODATA|ESERVFAIL|ETIMEOUT)/.test(code)) return noAddress;
  if (error instanceof Error && error.name === 'TimeoutError') return tooSlow;
  return reasons[code] ?? (code === '' ? 'The call failed.' : `The call failed (${code}).`);
}

const noAddress = 'The name of the endpoint does not lead to an address that can be called.';
const tooSlow = `The endpoint did not answer within ${limits.webhooks.timeoutMs / 1000} s.`;
const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'The endpoint refused the connection.',
  ECONNRESET: 'The endpoint broke the connection off.',
  UND_ERR_SOCKET: 'The endpoint broke the connection off.',
  EHOSTUNREACH: 'The endpoint cannot be reached.',
  ENETUNREACH: 'The endpoint cannot be reached.',
  ETIMEDOUT: tooSlow,
  UND_ERR_CONNECT_TIMEOUT: tooSlow,
  UND_ERR_HEADERS_TIMEOUT: tooSlow,
  UND_ERR_BODY_TIMEOUT: tooSlow,
};
