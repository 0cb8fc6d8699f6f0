import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AuditLog } from '../audit/audit-log.ts';
import { openDatabase } from '../db/open.ts';
import { Ledger } from '../ledger/ledger.ts';
import { proveLedger } from '../ledger/proof.ts';
import { type Order, OrderStore } from './order-store.ts';
import { reconcile, worthOf } from './reconcile.ts';

const change = fc.oneof(
  fc.constant<Partial<Order>>({ paidAt: 1 }),
  fc.integer({ min: 0, max: 3_000 }).map((refundedCents): Partial<Order> => ({ refundedCents })),
  fc.boolean().map((disputed): Partial<Order> => ({ disputed })),
);

test('W1: the ledger follows from how an order stands, whatever happened in which order', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(change, fc.nat(40)), { maxLength: 20 }), (steps) => {
      const db = openDatabase(':memory:');
      const deps = { orders: new OrderStore(db), ledger: new Ledger(db), audit: new AuditLog(db) };
      const terms = { tenant: 't', user: null, kind: 'package', item: 'starter', live: false } as const;
      let order = deps.orders.create({ ...terms, credits: 100, amountCents: 2_900, currency: 'usd' });
      let spent = 0;
      for (const [one, wants] of steps) {
        order = reconcile(deps, deps.orders.change(order.id, one));
        const worth = worthOf(order);
        expect(order.given - order.uncollected).toBe(worth);
        expect(deps.ledger.balance('t').posted).toBe(order.given - spent);
        // A second time changes nothing but what could not be collected before.
        expect(reconcile(deps, order).given).toBe(order.given);
        const use = Math.min(wants, deps.ledger.balance('t').available);
        if (use === 0) continue;
        const id = `use-${deps.ledger.balance('t').posted}-${spent}-${order.moves}`;
        deps.ledger.hold({ id, account: 't', credits: use, reason: 'test' });
        deps.ledger.post(id, use);
        spent += use;
      }
      expect(proveLedger(db).faults).toEqual([]);
      db.close();
    }),
    { numRuns: 200 },
  );
});

test('a refund takes back its part, in whole credits and in the buyer’s favour', () => {
  const order = { kind: 'package', paidAt: 1, disputed: false, credits: 100, amountCents: 2_900 } as const;
  expect(
    [0, 1, 29, 1_450, 2_899, 2_900, 9_999].map((refundedCents) => worthOf({ ...order, refundedCents })),
  ).toEqual([100, 100, 99, 50, 1, 0, 0]);
});
