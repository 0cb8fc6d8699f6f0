import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { BalanceView, PriceList, TransactionsQuery, TransactionView } from '../../contract/money.ts';
import { Envelope, PageOf } from '../../contract/platform.ts';
import { statement, statementPage } from '../../ledger/statement.ts';
import { featurePrice } from '../../offers/prices.ts';
import { balanceView, transactionColumns, transactionView } from '../../http/views.ts';
import { sendTable } from '../../http/download.ts';
import { success } from '../../http/envelope.ts';
import { identityOf, type TenantDeps } from './tenant-context.ts';

const tags = ['Credits'];

/** What there is, what moved, and what things cost. */
export const creditRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { db, ledger, offers } = deps;

  for (const url of ['/api/v1/credits/balance', '/api/v1/users/credits']) {
    app.get(
      url,
      {
        schema: {
          tags,
          summary: 'Credits',
          response: { 200: Envelope(BalanceView), default: ErrorEnvelope },
        },
      },
      async (request) => success(balanceView(ledger, identityOf(request).tenant.account)),
    );
  }

  app.get(
    '/api/v1/users/transactions',
    {
      schema: {
        tags,
        summary: 'Every movement of credits, newest first',
        querystring: TransactionsQuery,
        response: { 200: Envelope(PageOf(TransactionView)), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { account } = identityOf(request).tenant;
      const { after, limit = limits.page.default, format } = request.query;
      if (format === 'csv') {
        return sendTable(reply, 'transactions.csv', transactionColumns, statement(db, account ?? ''));
      }
      const page = statementPage(db, account ?? '', { after, limit });
      return success({ items: page.items.map(transactionView), next: page.next });
    },
  );

  app.get(
    '/api/v1/prices',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'What things cost, in credits',
        response: { 200: Envelope(PriceList), default: ErrorEnvelope },
      },
    },
    async () => {
      const { prices, plans } = offers;
      return success({
        textPer1000Tokens: prices.text.per1000Tokens,
        image: { ...prices.image },
        features: Object.fromEntries(
          Object.keys(prices.features).map((feature) => [feature, featurePrice(prices, feature) ?? 0]),
        ),
        plans: Object.entries(plans).map(([name, plan]) => ({
          name,
          priceUsdPerMonth: plan.priceUsdPerMonth,
          creditsPerMonth: plan.creditsPerMonth,
          requestsPerMinute: plan.requestsPerMinute,
          concurrent: plan.concurrent,
          historyDays: plan.historyDays,
        })),
      });
    },
  );
};
