import { system } from '../audit/audit-log.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Order, OrderStore } from './order-store.ts';

/** Credits an order is worth as it stands: none unpaid or disputed, and less by the part that was refunded. */
export function worthOf(
  order: Pick<Order, 'kind' | 'paidAt' | 'disputed' | 'credits' | 'refundedCents' | 'amountCents'>,
): number {
  // A subscription's credits come with each month's renewal, not with itself.
  if (order.kind === 'subscription' || order.paidAt === null || order.disputed) return 0;
  const refunded = Math.min(order.refundedCents, order.amountCents);
  return order.credits - Math.floor((order.credits * refunded) / order.amountCents);
}

/**
 * Brings the ledger to what an order is worth now. It depends on nothing but how the order stands, so events may come
 * in any order and any number of times. What should be taken back and is spent is written down as uncollected.
 * Belongs into the transaction of the change to the order.
 */
export function reconcile(
  { orders, ledger, audit }: { orders: OrderStore; ledger: Ledger; audit: AuditLog },
  order: Order,
): Order {
  const worth = worthOf(order);
  if (worth === order.given)
    return order.uncollected === 0 ? order : orders.change(order.id, { uncollected: 0 });
  const moves = order.moves + 1;
  const about = { order: order.id, item: order.item };
  const move = { id: `order:${order.id}:${moves}`, account: order.tenant, about };
  let given = worth;
  if (worth > order.given) {
    const reason = order.kind === 'renewal' ? 'monthly credits' : 'purchase';
    ledger.grant({ ...move, credits: worth - order.given, reason, expiresAt: order.periodEnd });
  } else {
    const reason = order.disputed ? 'dispute' : 'refund';
    given = order.given - ledger.debit({ ...move, credits: order.given - worth, reason });
  }
  audit.add(system, {
    action: 'order.credits',
    target: order.id,
    tenant: order.tenant,
    before: { given: order.given },
    after: { given, worth },
  });
  return orders.change(order.id, { given, moves, uncollected: given - worth });
}
