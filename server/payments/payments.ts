import type Stripe from 'stripe';
import { type Actor, system } from '../audit/audit-log.ts';
import { ApiError } from '../http/api-error.ts';
import { crashPoint } from '../crash-point.ts';
import type { AccountDeps } from '../accounts/account-deps.ts';
import type { Order, OrderStore } from './order-store.ts';
import { reconcile } from './reconcile.ts';

export interface PaymentDeps extends Pick<
  AccountDeps,
  'ledger' | 'audit' | 'offers' | 'tenants' | 'users' | 'outbox' | 'settings' | 'directory'
> {
  readonly orders: OrderStore;
}

export interface StripeKeys {
  readonly secretKey: string;
  readonly webhookSecret: string;
  /** Another address than Stripe's own, for tests. */
  readonly url: string | null;
}

/** What is bought: a package of credits, or the subscription of a plan. */
export type Purchase = { readonly package: string } | { readonly plan: string };

const toleranceSeconds = 300;
/** The longest month, where an invoice does not say what time it is for. */
const monthSeconds = 31 * 24 * 3_600;
/** Credits of a month stay a little longer than the month, until the next one is paid. */
const renewalGraceMs = 3 * 24 * 3_600_000;

/**
 * Credits and subscriptions through Stripe. What an event says is believed only after its signature, and then only as
 * far as it agrees with our own order: amount, currency, mode. Each event counts once, in the transaction of what it
 * changes (W1).
 */
export class Payments {
  readonly #deps: PaymentDeps;
  readonly #stripe: Stripe;
  readonly #webhookSecret: string;
  readonly #live: boolean;

  private constructor(deps: PaymentDeps, stripe: Stripe, keys: StripeKeys) {
    this.#deps = deps;
    this.#stripe = stripe;
    this.#webhookSecret = keys.webhookSecret;
    this.#live = /^(sk|rk)_live_/.test(keys.secretKey);
  }

  /** Null without both secrets: then there are no payments (A8). The library is loaded only when it is needed. */
  static async open(deps: PaymentDeps, keys: Partial<StripeKeys>): Promise<Payments | null> {
    const { secretKey, webhookSecret, url = null } = keys;
    if (!secretKey?.trim() || !webhookSecret?.trim()) return null;
    const { default: StripeClient } = await import('stripe');
    const at = url === null ? null : new URL(url);
    const stripe = new StripeClient(secretKey, {
      maxNetworkRetries: 2,
      timeout: 20_000,
      telemetry: false,
      ...(at && {
        host: at.hostname,
        port: at.port,
        protocol: at.protocol === 'http:' ? ('http' as const) : ('https' as const),
      }),
    });
    return new Payments(deps, stripe, { secretKey, webhookSecret, url });
  }

  /** Makes an order and a page at Stripe to pay it on. Throws an ApiError. */
  async checkout(
    buyer: { tenant: string; user: string; email: string },
    purchase: Purchase,
    returnTo: string,
    actor: Actor,
  ): Promise<{ order: Order; url: string }> {
    const { orders, audit, ledger } = this.#deps;
    const item = this.#itemOf(purchase, buyer.tenant);
    const order = ledger.atomically(() => {
      const made = orders.create({ ...item, tenant: buyer.tenant, user: buyer.user, live: this.#live });
      const after = { kind: made.kind, item: made.item, amountCents: made.amountCents };
      audit.add(actor, { action: 'order.create', target: made.id, tenant: buyer.tenant, after });
      return made;
    });
    const metadata = { order: order.id };
    const isMonthly = order.kind === 'subscription';
    try {
      const session = await this.#stripe.checkout.sessions.create(
        {
          mode: isMonthly ? 'subscription' : 'payment',
          client_reference_id: order.id,
          customer_email: buyer.email,
          metadata,
          ...(isMonthly ? { subscription_data: { metadata } } : { payment_intent_data: { metadata } }),
          line_items: [
            {
              quantity: 1,
              price_data: {
                currency: order.currency,
                unit_amount: order.amountCents,
                product_data: { name: item.title },
                ...(isMonthly && { recurring: { interval: 'month' as const } }),
              },
            },
          ],
          success_url: `${returnTo}/payments/done`,
          cancel_url: `${returnTo}/payments/cancelled`,
        },
        { idempotencyKey: order.id },
      );
      if (!session.url) throw new Error('Stripe gave no address to pay at.');
      return { order: orders.change(order.id, { session: session.id }), url: session.url };
    } catch (error) {
      orders.change(order.id, { closedAt: Date.now(), problem: 'The payment provider did not answer.' });
      throw new ApiError(
        'payment_provider_error',
        'The payment provider did not take the order. Nothing was charged; try again in a minute.',
        { cause: error, retryAfterMs: 60_000 },
      );
    }
  }

  /** Ends a subscription with the month that is paid. */
  async cancelSubscription(tenant: string, actor: Actor): Promise<Order> {
    const order = this.#deps.orders.activeSubscription(tenant);
    if (!order?.subscription) throw new ApiError('not_found', 'There is no subscription.');
    try {
      await this.#stripe.subscriptions.update(order.subscription, { cancel_at_period_end: true });
    } catch (error) {
      throw new ApiError(
        'payment_provider_error',
        'The payment provider did not answer; try again in a minute.',
        {
          cause: error,
          retryAfterMs: 60_000,
        },
      );
    }
    this.#deps.audit.add(actor, { action: 'subscription.cancel', target: order.id, tenant });
    return order;
  }

  /**
   * Takes an event as it came over the wire. Throws an ApiError for one that is not Stripe's. Returns what became of
   * it, for the log.
   */
  async receive(raw: Buffer, signature: string): Promise<string> {
    let event: Stripe.Event;
    try {
      event = this.#stripe.webhooks.constructEvent(raw, signature, this.#webhookSecret, toleranceSeconds);
    } catch (cause) {
      throw new ApiError('invalid_request', 'The signature of the event is not valid.', { cause });
    }
    const { orders, ledger, audit, directory } = this.#deps;
    if (orders.seen(event.id)) return 'seen before';
    if (event.livemode !== this.#live || event.account !== undefined) {
      orders.event(event.id, event.type, null, 'another account or mode');
      return 'another account or mode';
    }
    const apply = await this.#effectOf(event);
    const outcome = ledger.atomically(() => {
      // Asking Stripe took time, and the same event may have come meanwhile.
      if (orders.seen(event.id)) return 'seen before';
      const { order, outcome } = apply();
      orders.event(event.id, event.type, order?.id ?? null, outcome);
      if (order) {
        audit.add(system, {
          action: `payment.${event.type}`,
          target: order.id,
          tenant: order.tenant,
          after: { event: event.id, outcome },
        });
      }
      crashPoint('payment.recording');
      return outcome;
    });
    crashPoint('payment.recorded');
    directory.changed();
    return outcome;
  }

  /** What an event changes, with everything that had to be asked for known; nothing is changed yet. */
  async #effectOf(event: Stripe.Event): Promise<() => Effect> {
    // oxlint-disable-next-line typescript/switch-exhaustiveness-check -- Stripe has hundreds of types; the rest is of no concern
    switch (event.type) {
      case 'checkout.session.completed':
      case 'checkout.session.async_payment_succeeded': {
        const session = event.data.object;
        return () => this.#completed(session);
      }
      case 'checkout.session.expired':
      case 'checkout.session.async_payment_failed': {
        const session = event.data.object;
        return () => this.#closed(session);
      }
      case 'charge.refunded': {
        const charge = event.data.object;
        const order = await this.#orderOf(idOf(charge.payment_intent), charge.metadata['order']);
        return () => this.#refunded(order, charge);
      }
      case 'charge.dispute.created':
      case 'charge.dispute.updated':
      case 'charge.dispute.closed':
      case 'charge.dispute.funds_withdrawn':
      case 'charge.dispute.funds_reinstated': {
        // As it stands now, not as it stood when the event was written: events come in any order.
        const dispute = await this.#stripe.disputes.retrieve(event.data.object.id);
        const order = await this.#orderOf(idOf(dispute.payment_intent), undefined);
        return () => this.#disputed(order, dispute);
      }
      case 'invoice.paid': {
        const invoice = event.data.object;
        return () => this.#renewed(invoice);
      }
      case 'customer.subscription.updated':
      case 'customer.subscription.deleted': {
        const subscription = await this.#stripe.subscriptions.retrieve(event.data.object.id);
        return () => this.#subscriptionChanged(subscription);
      }
      default:
        return () => ({ order: undefined, outcome: 'of no concern' });
    }
  }

  #completed(session: Stripe.Checkout.Session): Effect {
    const order = this.#ownOrder(session.metadata?.['order']);
    if (!order) return unknown;
    const problem =
      order.session !== null && order.session !== session.id
        ? `paid in session ${session.id}, ordered in ${order.session}`
        : this.#mismatch(order, session.amount_total, session.currency);
    if (problem !== null) return this.#refuse(order, problem);
    if (session.payment_status !== 'paid') return { order, outcome: 'not paid yet' };
    if (order.paidAt !== null) return { order, outcome: 'paid before' };
    const paid = this.#reconciled(order.id, {
      session: session.id,
      payment: idOf(session.payment_intent),
      subscription: idOf(session.subscription),
      paidAt: Date.now(),
      closedAt: null,
    });
    if (paid.kind === 'subscription') this.#setPlan(paid.tenant, paid.item, paid.id);
    this.#confirm(paid);
    return { order: paid, outcome: 'paid' };
  }

  #closed(session: Stripe.Checkout.Session): Effect {
    const order = this.#ownOrder(session.metadata?.['order']);
    if (!order) return unknown;
    if (order.paidAt !== null) return { order, outcome: 'paid before' };
    return { order: this.#deps.orders.change(order.id, { closedAt: Date.now() }), outcome: 'closed' };
  }

  #refunded(order: Order | undefined, charge: Stripe.Charge): Effect {
    if (!order) return unknown;
    if (charge.currency !== order.currency)
      return this.#refuse(order, `refunded in ${charge.currency}, ordered in ${order.currency}`);
    // The sum of all refunds so far, so the largest that was heard of is the latest.
    const refundedCents = Math.max(order.refundedCents, charge.amount_refunded);
    return { order: this.#reconciled(order.id, { refundedCents }), outcome: 'refunded' };
  }

  #disputed(order: Order | undefined, { status }: Stripe.Dispute): Effect {
    if (!order) return unknown;
    const disputed = status !== 'won' && status !== 'warning_closed';
    return { order: this.#reconciled(order.id, { disputed }), outcome: `dispute ${status}` };
  }

  /** Each paid month is an order of its own, at the terms of the subscription's. */
  #renewed(invoice: Stripe.Invoice): Effect {
    const details = invoice.parent?.subscription_details;
    const first = this.#ownOrder(details?.metadata?.['order']);
    if (!first || first.kind !== 'subscription') return unknown;
    const problem = this.#mismatch(first, invoice.amount_paid, invoice.currency);
    if (problem !== null) return this.#refuse(first, problem);
    const { orders } = this.#deps;
    if (invoice.id && orders.byInvoice(invoice.id)) return { order: first, outcome: 'renewed before' };
    const subscription = idOf(details?.subscription ?? null);
    const ends = endOf(invoice);
    const { tenant, user, item, credits, amountCents, currency, live } = first;
    const renewal = orders.create({
      tenant,
      user,
      item,
      credits,
      amountCents,
      currency,
      live,
      kind: 'renewal',
      subscription,
      invoice: invoice.id ?? null,
      periodEnd: ends * 1000 + renewalGraceMs,
    });
    if (first.paidAt === null) orders.change(first.id, { paidAt: Date.now(), subscription });
    this.#setPlan(tenant, item, first.id);
    return { order: this.#reconciled(renewal.id, { paidAt: Date.now() }), outcome: 'renewed' };
  }

  #subscriptionChanged({ metadata, status, id }: Stripe.Subscription): Effect {
    const order = this.#ownOrder(metadata['order']);
    if (!order || order.kind !== 'subscription') return unknown;
    const isOver = status === 'canceled' || status === 'unpaid' || status === 'incomplete_expired';
    const { orders, settings } = this.#deps;
    if (!isOver) return { order, outcome: `subscription ${status}` };
    const closed = orders.change(order.id, { closedAt: order.closedAt ?? Date.now(), subscription: id });
    // Somebody who has another subscription by now, or another plan by agreement, keeps that.
    const current = orders.activeSubscription(order.tenant);
    if (!current && this.#deps.tenants.find(order.tenant)?.plan === order.item)
      this.#setPlan(order.tenant, settings.plan, order.id);
    return { order: closed, outcome: `subscription ${status}` };
  }

  #reconciled(id: string, change: Partial<Order>): Order {
    return reconcile(this.#deps, this.#deps.orders.change(id, change));
  }

  /** An event that contradicts our order changes nothing but is kept for the operator to look at. */
  #refuse(order: Order, problem: string): Effect {
    return { order: this.#deps.orders.change(order.id, { problem }), outcome: `refused: ${problem}` };
  }

  #mismatch(order: Order, amount: number | null, currency: string | null): string | null {
    if (amount !== order.amountCents) return `paid ${amount}, ordered ${order.amountCents}`;
    return currency === order.currency ? null : `paid in ${currency}, ordered in ${order.currency}`;
  }

  #ownOrder(id: string | undefined): Order | undefined {
    const order = id === undefined ? undefined : this.#deps.orders.find(id);
    return order?.provider === 'stripe' && order.live === this.#live ? order : undefined;
  }

  /** The order behind a payment: known by it, named in its notes, or behind the invoice that it paid. */
  async #orderOf(payment: string | null, named: string | undefined): Promise<Order | undefined> {
    if (payment === null) return this.#ownOrder(named);
    const known = this.#deps.orders.byPayment(payment) ?? this.#ownOrder(named);
    if (known) return known;
    const intent = await this.#stripe.paymentIntents.retrieve(payment);
    const noted = this.#ownOrder(intent.metadata['order']);
    if (noted) return noted;
    const paid = await this.#stripe.invoicePayments.list({
      payment: { type: 'payment_intent', payment_intent: payment },
    });
    const invoice = idOf(paid.data[0]?.invoice ?? null);
    return invoice === null ? undefined : this.#deps.orders.byInvoice(invoice);
  }

  #itemOf(purchase: Purchase, tenant: string) {
    const { offers, orders } = this.#deps;
    if ('package' in purchase) {
      const { package: item } = purchase;
      const found = Object.hasOwn(offers.packages, item) ? offers.packages[item] : undefined;
      if (!found) {
        const names = Object.keys(offers.packages).join(', ');
        throw new ApiError('invalid_request', `There is no package "${item}"; there are ${names}.`, {
          param: 'package',
        });
      }
      const { credits, priceCents: amountCents, currency, name } = found;
      const title = `${name}: ${credits} credits`;
      return { kind: 'package', item, credits, amountCents, currency, title } as const;
    }
    const { plan: item } = purchase;
    const plan = Object.hasOwn(offers.plans, item) ? offers.plans[item] : undefined;
    if (!plan?.priceUsdPerMonth)
      throw new ApiError('invalid_request', `The plan "${item}" cannot be bought here.`, { param: 'plan' });
    if (orders.activeSubscription(tenant))
      throw new ApiError('conflict', 'There is a subscription already. Cancel it first.');
    const amountCents = Math.round(plan.priceUsdPerMonth * 100);
    const title = `Kilnhouse ${item}, by the month`;
    return {
      kind: 'subscription',
      item,
      credits: plan.creditsPerMonth,
      amountCents,
      currency: 'usd',
      title,
    } as const;
  }

  #setPlan(tenant: string, plan: string, order: string): void {
    const record = this.#deps.tenants.find(tenant);
    if (!record || record.plan === plan) return;
    this.#deps.tenants.change(tenant, { plan });
    this.#deps.audit.add(system, {
      action: 'tenant.plan',
      target: tenant,
      tenant,
      before: { plan: record.plan },
      after: { plan, order },
    });
  }

  #confirm(order: Order): void {
    const user = order.user === null ? undefined : this.#deps.users.find(order.user);
    if (!user) return;
    const amount = `${(order.amountCents / 100).toFixed(2)} ${order.currency.toUpperCase()}`;
    const what = order.kind === 'package' ? `${order.credits} credits` : `the plan "${order.item}"`;
    this.#deps.outbox.send({
      tenant: user.tenant,
      to: user.email,
      subject: 'Your payment has arrived',
      text: `Thank you. We have received ${amount} for ${what}. Your order is ${order.id}.\n`,
    });
  }
}

interface Effect {
  readonly order: Order | undefined;
  readonly outcome: string;
}

const unknown: Effect = { order: undefined, outcome: 'no order of ours' };

/** When the month that an invoice is for ends, in seconds. An invoice without lines still pays for a month. */
function endOf({ lines, created, period_end: end }: Stripe.Invoice): number {
  const ends = lines.data.map(({ period }) => period.end);
  return ends.length > 0 ? Math.max(...ends) : Math.max(created, end) + monthSeconds;
}

/** Stripe gives either an id or the thing itself. */
function idOf(reference: string | { id: string } | null): string | null {
  return typeof reference === 'string' ? reference : (reference?.id ?? null);
}
