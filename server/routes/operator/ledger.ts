import { randomUUID } from 'node:crypto';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { IdParams } from '../../contract/accounts.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { TransactionsQuery, TransactionView } from '../../contract/money.ts';
import { CreditsBody, CreditsView, OrdersPage, ProofView } from '../../contract/operator-accounts.ts';
import { PageOf, PageQuery } from '../../contract/platform.ts';
import { ApiError } from '../../http/api-error.ts';
import { sendTable } from '../../http/download.ts';
import { futureMoment } from '../../http/future-moment.ts';
import { balanceView, orderView, pageOf, transactionColumns, transactionView } from '../../http/views.ts';
import { LedgerConflict } from '../../ledger/ledger.ts';
import { proveLedgerInTurns } from '../../ledger/proof.ts';
import { statement, statementPage } from '../../ledger/statement.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

/** Credits of every tenant: given and taken by hand, looked at, and proven to add up. */
export const ledgerRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { db, ledger, audit, orders, tenants, files } = deps;

  app.post(
    '/api/tenants/:id/credits',
    {
      schema: {
        summary: 'Grant credits, or take some back, with a reason',
        params: IdParams,
        body: CreditsBody,
        response: { 200: CreditsView, default: ErrorBody },
      },
    },
    async (request) => {
      const account = accountOf(request.params.id);
      const { credits, reason, reference = randomUUID(), expiresAt } = request.body;
      if (credits === 0) throw new ApiError('invalid_request', '"credits" is 0.', { param: 'credits' });
      const expiry = expiresAt === undefined ? null : futureMoment(expiresAt, 'expiresAt');
      const move = { id: `operator:${account}:${reference}`, account, reason };
      try {
        const moved = ledger.atomically(() => {
          const before = ledger.balance(account);
          const did =
            credits > 0
              ? ledger.grant({ ...move, credits, expiresAt: expiry }) && credits
              : -ledger.debit({ ...move, credits: -credits });
          const after = ledger.balance(account);
          if (after.posted === before.posted) return 0;
          audit.add(operatorOf(request), {
            action: credits > 0 ? 'credits.grant' : 'credits.take',
            target: account,
            tenant: account,
            before,
            after,
            reason,
          });
          return Number(did);
        });
        return { moved, balance: balanceView(ledger, account) };
      } catch (error) {
        if (!(error instanceof LedgerConflict)) throw error;
        throw new ApiError('conflict', `The reference was used for another change: ${error.message}`, {
          param: 'reference',
        });
      }
    },
  );

  app.get(
    '/api/tenants/:id/transactions',
    {
      schema: {
        summary: 'Every movement of a tenant’s credits, newest first',
        params: IdParams,
        querystring: TransactionsQuery,
        response: { 200: PageOf(TransactionView), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const account = accountOf(request.params.id);
      const { after, limit = limits.page.default, format } = request.query;
      if (format === 'csv')
        return sendTable(reply, 'transactions.csv', transactionColumns, statement(db, account));
      const page = statementPage(db, account, { after, limit });
      return { items: page.items.map(transactionView), next: page.next };
    },
  );

  app.get(
    '/api/ledger',
    {
      schema: {
        summary: 'The ledger in sums, added up anew: what came in is there or went out',
        response: { 200: ProofView, default: ErrorBody },
      },
    },
    async () => {
      const proof = await proveLedgerInTurns(db);
      return { ...proof, ok: proof.faults.length === 0, faults: [...proof.faults] };
    },
  );

  app.get(
    '/api/orders',
    {
      schema: {
        summary: 'Orders of all tenants, newest first',
        querystring: PageQuery,
        response: { 200: OrdersPage, default: ErrorBody },
      },
    },
    async (request) => {
      const { after, limit = limits.page.default } = request.query;
      return pageOf(orders.page({ after, limit: limit + 1 }), limit, (order) => {
        const { tenant, given, uncollected, problem } = order;
        return {
          ...orderView(order),
          tenant,
          tenantName: tenants.nameOf(tenant) ?? tenant,
          given,
          uncollected,
          problem,
        };
      });
    },
  );

  function accountOf(id: string): string {
    const isOfFile = files.all().some(({ tenant }) => tenant.account === id);
    if (isOfFile || tenants.find(id)) return id;
    throw new ApiError(
      'not_found',
      'There is no such tenant that pays with credits. Those of tenants.json need "credits": true, and are named "file:<name>".',
    );
  }
};
