import { Webhook as Signer } from 'standardwebhooks';
import { Agent, request } from 'undici';
import { crashPoint } from '../crash-point.ts';
import { limits } from '../contract/limits.ts';
import { demandCallable, guardedLookup } from './public-address.ts';
import type { Delivery, WebhookStore } from './webhook-store.ts';

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

/**
 * Tells tenants' endpoints what happened, signed as the Standard Webhooks specification says, at least once, one
 * delivery an endpoint at a time, so that a dead one delays nobody else (W3). Nothing of what they answer is shown to
 * anybody but its status.
 */
export class WebhookSender {
  readonly #store: WebhookStore;
  readonly #allowed: readonly string[];
  readonly #agent: Agent;
  readonly #onError: (error: unknown) => void;
  readonly #sending = new Map<string, Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  readonly #abort = new AbortController();

  constructor(store: WebhookStore, allowed: readonly string[], onError: (error: unknown) => void) {
    this.#store = store;
    this.#allowed = allowed;
    this.#onError = onError;
    this.#agent = new Agent({
      connect: { lookup: guardedLookup(allowed), timeout: limits.webhooks.timeoutMs },
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
      for (const delivery of this.#store.due(Date.now())) {
        if (this.#sending.has(delivery.webhook) || this.#sending.size >= limits.webhooks.atOnce) continue;
        const sending = this.#send(delivery)
          .catch(this.#onError)
          .finally(() => {
            this.#sending.delete(delivery.webhook);
            // The next one of this endpoint does not wait for the clock.
            this.wake();
          });
        this.#sending.set(delivery.webhook, sending);
      }
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

  async #send(delivery: Delivery): Promise<void> {
    const webhook = this.#store.find(delivery.webhook);
    if (!webhook) return;
    const { id, attempts } = delivery;
    try {
      const status = await this.#post(delivery, webhook.url, this.#store.secret(webhook));
      crashPoint('webhook.sent');
      if (status >= 200 && status < 300) return this.#store.delivered(id, webhook.id, status);
      if (status === gone) this.#store.disable(webhook.id);
      const nextAt = status === gone ? null : this.#next(attempts);
      this.#store.failed(id, webhook.id, { status, error: `It answered ${status}.`, nextAt });
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const message = (error instanceof Error ? error.message : String(error)).slice(0, 300);
      this.#store.failed(id, webhook.id, { status: null, error: message, nextAt: this.#next(attempts) });
    }
    const failingSince = this.#store.find(webhook.id)?.failingSince ?? null;
    if (failingSince !== null && Date.now() - failingSince > limits.webhooks.failingMs)
      this.#store.disable(webhook.id);
  }

  async #post({ event, payload }: Delivery, address: string, secret: string): Promise<number> {
    const url = demandCallable(address, this.#allowed);
    const at = new Date();
    const signature = new Signer(secret).sign(event, at, payload);
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

  #next(attempts: number): number | null {
    const waitMs = retryMs[attempts];
    // A little earlier or later, so that what failed together does not come back together.
    return waitMs === undefined ? null : Math.round(Date.now() + waitMs * (0.9 + Math.random() * 0.2));
  }
}
