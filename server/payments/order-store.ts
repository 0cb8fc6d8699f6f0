import type { Database } from 'better-sqlite3';
import { newId } from '../db/ids.ts';

type OrderKind = 'package' | 'subscription' | 'renewal';

/** What somebody ordered, and what became of it. Amounts are in cents of the currency. */
export interface Order {
  readonly id: string;
  readonly tenant: string;
  readonly user: string | null;
  readonly kind: OrderKind;
  /** The package, or the plan. */
  readonly item: string;
  /** For a subscription, those of each month. */
  readonly credits: number;
  readonly amountCents: number;
  readonly currency: string;
  readonly provider: 'stripe';
  readonly live: boolean;
  readonly session: string | null;
  readonly payment: string | null;
  readonly subscription: string | null;
  readonly invoice: string | null;
  readonly createdAt: number;
  readonly paidAt: number | null;
  /** Expired, failed, or the subscription is over. */
  readonly closedAt: number | null;
  readonly periodEnd: number | null;
  readonly refundedCents: number;
  readonly disputed: boolean;
  /** Credits it has brought in so far, less what was taken back. */
  readonly given: number;
  readonly moves: number;
  /** Credits that should have been taken back and were spent already. */
  readonly uncollected: number;
  readonly problem: string | null;
}

export type NewOrder = Pick<
  Order,
  'tenant' | 'user' | 'kind' | 'item' | 'credits' | 'amountCents' | 'currency' | 'live'
> &
  Partial<Pick<Order, 'subscription' | 'invoice' | 'periodEnd'>>;

interface Row extends Omit<Order, 'live' | 'disputed'> {
  readonly live: 0 | 1;
  readonly disputed: 0 | 1;
}

const columns = `select id, tenant, user, kind, item, credits, amount_cents as amountCents, currency, provider, live,
  session, payment, subscription, invoice, created_at as createdAt, paid_at as paidAt, closed_at as closedAt,
  period_end as periodEnd, refunded_cents as refundedCents, disputed, given, moves, uncollected, problem from orders`;

/** Orders: what payments are checked against. Kept for ever; they name nobody once the person is forgotten. */
export class OrderStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  create(order: NewOrder): Order {
    const id = newId('order');
    this.#db
      .prepare(
        `insert into orders (id, tenant, user, kind, item, credits, amount_cents, currency, provider, live,
           subscription, invoice, period_end, created_at)
         values (?, ?, ?, ?, ?, ?, ?, ?, 'stripe', ?, ?, ?, ?, ?)`,
      )
      .run(
        id,
        order.tenant,
        order.user,
        order.kind,
        order.item,
        order.credits,
        order.amountCents,
        order.currency,
        order.live ? 1 : 0,
        order.subscription ?? null,
        order.invoice ?? null,
        order.periodEnd ?? null,
        Date.now(),
      );
    return this.#record(id);
  }

  find(id: string): Order | undefined {
    return this.#one('id', id);
  }

  byPayment(payment: string): Order | undefined {
    return this.#one('payment', payment);
  }

  byInvoice(invoice: string): Order | undefined {
    return this.#one('invoice', invoice);
  }

  /** The subscription a tenant has now. */
  activeSubscription(tenant: string): Order | undefined {
    return this.all(tenant).find(
      ({ kind, paidAt, closedAt }) => kind === 'subscription' && paidAt !== null && closedAt === null,
    );
  }

  /** Newest first; of one tenant where one is named; from an id of an earlier page on. */
  page(filter: { tenant?: string | undefined; after?: string | undefined; limit: number }): Order[] {
    const { tenant = null, after = '~', limit } = filter;
    return this.#db
      .prepare<[string, string | null, string | null, number], Row>(
        `${columns} where id < ? and (? is null or tenant = ?) order by id desc limit ?`,
      )
      .all(after, tenant, tenant, limit)
      .map(orderOf);
  }

  all(tenant: string): Order[] {
    return this.page({ tenant, limit: 100_000 });
  }

  change(id: string, change: Partial<Order>): Order {
    const next = { ...this.#record(id), ...change };
    this.#db
      .prepare(
        `update orders set session = ?, payment = ?, subscription = ?, paid_at = ?, closed_at = ?, refunded_cents = ?,
           disputed = ?, given = ?, moves = ?, uncollected = ?, problem = ? where id = ?`,
      )
      .run(
        next.session,
        next.payment,
        next.subscription,
        next.paidAt,
        next.closedAt,
        next.refundedCents,
        next.disputed ? 1 : 0,
        next.given,
        next.moves,
        next.uncollected,
        next.problem,
        id,
      );
    return next;
  }

  /** Writes down that an event was dealt with. False when it had been before. */
  event(id: string, type: string, order: string | null, outcome: string): boolean {
    return (
      this.#db
        .prepare(
          'insert or ignore into payment_events (id, type, at, order_id, outcome) values (?, ?, ?, ?, ?)',
        )
        .run(id, type, Date.now(), order, outcome).changes === 1
    );
  }

  seen(event: string): boolean {
    return this.#db.prepare('select 1 from payment_events where id = ?').get(event) !== undefined;
  }

  #one(column: 'id' | 'payment' | 'invoice', value: string): Order | undefined {
    const row = this.#db.prepare<[string], Row>(`${columns} where ${column} = ?`).get(value);
    return row && orderOf(row);
  }

  #record(id: string): Order {
    const order = this.find(id);
    if (!order) throw new Error(`There is no order ${id}.`);
    return order;
  }
}

function orderOf(row: Row): Order {
  return { ...row, live: row.live === 1, disputed: row.disputed === 1 };
}
