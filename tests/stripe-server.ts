import { createServer, type IncomingMessage, type Server } from 'node:http';
import { text } from 'node:stream/consumers';
import { Stripe } from 'stripe';

/* Stripe as far as it is spoken to: sessions, payments, disputes and subscriptions over HTTP, and events that are
   signed with the SDK's own helper. */
export const secretKey = 'sk_test_of_nobody';
export const webhookSecret = 'whsec_of_nobody';

export interface CheckoutSession {
  readonly id: string;
  readonly mode: string;
  readonly amount_total: number;
  readonly currency: string;
  readonly metadata: { order: string };
  readonly customer_email: string;
}

type Stored = Record<string, unknown>;

export class StripeServer {
  readonly sessions: CheckoutSession[] = [];
  /** What is answered when one of these is asked for, by id. */
  readonly things = new Map<string, Stored>();
  readonly cancelled: string[] = [];
  /** Answers the next requests with this status. */
  failing: number | null = null;
  url = '';
  readonly #server: Server;
  readonly #sdk = new Stripe(secretKey);
  readonly #idempotent = new Map<string, string>();

  constructor() {
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(({ status, body }) =>
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
      );
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    this.url = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
    return this;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /** An event as Stripe would write it. */
  event(type: string, object: object, more: object = {}): Stored {
    const id = `evt_${Math.random().toString(36).slice(2)}`;
    return {
      id,
      object: 'event',
      type,
      livemode: false,
      api_version: '2026-01-01',
      created: 0,
      data: { object },
      ...more,
    };
  }

  /** The body and the header that proves it. */
  signed(event: object, { secret = webhookSecret, at = Math.floor(Date.now() / 1000) } = {}) {
    const payload = JSON.stringify(event);
    const header = this.#sdk.webhooks.generateTestHeaderString({ payload, secret, timestamp: at });
    return { payload, headers: { 'stripe-signature': header, 'content-type': 'application/json' } };
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; body: unknown }> {
    const form = new URLSearchParams(await text(request));
    const path = request.url?.split('?')[0] ?? '';
    if (request.headers.authorization !== `Bearer ${secretKey}`)
      return { status: 401, body: failure('no key') };
    if (this.failing !== null) return { status: this.failing, body: failure('out of order') };
    if (request.method === 'POST' && path === '/v1/checkout/sessions') {
      const key = String(request.headers['idempotency-key']);
      const known = this.sessions.find(({ id }) => id === this.#idempotent.get(key));
      const session = known ?? this.#session(form);
      this.#idempotent.set(key, session.id);
      return {
        status: 200,
        body: { ...session, object: 'checkout.session', url: `${this.url}/pay/${session.id}` },
      };
    }
    if (path === '/v1/invoice_payments') {
      const payment = new URL(request.url ?? '', this.url).searchParams.get('payment[payment_intent]');
      const invoice = this.things.get(`invoice of ${payment}`);
      return { status: 200, body: { object: 'list', data: invoice ? [invoice] : [], has_more: false } };
    }
    const id = path.split('/').at(-1) ?? '';
    if (request.method === 'POST' && path.startsWith('/v1/subscriptions/')) {
      this.cancelled.push(id);
      return { status: 200, body: { id, object: 'subscription', cancel_at_period_end: true } };
    }
    const found = this.things.get(id);
    return found ? { status: 200, body: found } : { status: 404, body: failure(`no such thing: ${path}`) };
  }

  #session(form: URLSearchParams): CheckoutSession {
    const session = {
      id: `cs_test_${this.sessions.length + 1}`,
      mode: form.get('mode') ?? '',
      amount_total: Number(form.get('line_items[0][price_data][unit_amount]')),
      currency: form.get('line_items[0][price_data][currency]') ?? '',
      metadata: { order: form.get('metadata[order]') ?? '' },
      customer_email: form.get('customer_email') ?? '',
    };
    this.sessions.push(session);
    return session;
  }
}

function failure(message: string): object {
  return { error: { type: 'api_error', message } };
}
