import { Type } from 'typebox';
import { Nullable } from './platform.ts';

export const BalanceView = Type.Object({
  metered: Type.Boolean({ description: 'false: nothing is charged, and there are no credits.' }),
  posted: Type.Integer({ description: 'Credits there are.' }),
  held: Type.Integer({ description: 'Of those, set aside for work that runs.' }),
  available: Type.Integer({ description: 'What can be spent: posted less held.' }),
});

export const TransactionView = Type.Object({
  id: Type.String(),
  at: Type.String(),
  kind: Type.String({ description: 'grant, hold, post, void, debit or expire.' }),
  credits: Type.Integer({ description: 'What it added to the balance; negative for a charge.' }),
  held: Type.Integer({ description: 'What it added to what is held.' }),
  holdId: Nullable(Type.String()),
  reason: Type.String(),
  expiresAt: Nullable(Type.String()),
  about: Type.Record(Type.String(), Type.Unknown()),
});

export const TransactionsQuery = Type.Object(
  {
    after: Type.Optional(
      Type.String({ pattern: '^[0-9]{1,16}$', 'x-form': 'the "next" of the page before' }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
    format: Type.Optional(
      Type.Union([Type.Literal('json'), Type.Literal('csv')], {
        default: 'json',
        description: 'csv gives all of them at once.',
      }),
    ),
  },
  { additionalProperties: false },
);

export const QuoteView = Type.Object({
  dryRun: Type.Literal(true),
  credits: Type.Integer({ description: 'The most it can cost; what is not used is given back.' }),
  available: Nullable(Type.Integer()),
  enough: Type.Boolean(),
});

/** A switch in a query: "?dry_run" alone turns it on. */
const DryRun = Type.Optional(
  Type.String({
    pattern: '^(|1|0|[tT]rue|TRUE|[fF]alse|FALSE)$',
    'x-form': '1 or true, 0 or false, or without a value',
    description: '1: only say what it would cost.',
  }),
);

/** Whether only the price is asked for. */
export function isDryRunWanted(value: string | undefined): boolean {
  return value !== undefined && !['0', 'false'].includes(value.toLowerCase());
}

export const DryRunQuery = Type.Object({ dry_run: DryRun }, { additionalProperties: false });

export const PriceList = Type.Object({
  textPer1000Tokens: Type.Integer(),
  image: Type.Object({
    each: Type.Integer(),
    perPixels: Nullable(Type.Integer()),
    perSteps: Nullable(Type.Integer()),
  }),
  features: Type.Record(Type.String(), Type.Integer()),
  plans: Type.Array(
    Type.Object({
      name: Type.String(),
      priceUsdPerMonth: Nullable(Type.Number()),
      creditsPerMonth: Type.Integer(),
      requestsPerMinute: Type.Integer(),
      concurrent: Type.Integer(),
      historyDays: Nullable(Type.Integer()),
    }),
  ),
});

const PackageView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  credits: Type.Integer(),
  priceCents: Type.Integer(),
  currency: Type.String(),
});
export const PackagesView = Type.Object({
  enabled: Type.Boolean({ description: 'false: payments are not set up here.' }),
  packages: Type.Array(PackageView),
});

const Choice = Type.String({ minLength: 1, maxLength: 40 });
export const CheckoutBody = Type.Union([
  Type.Object({ package: Choice }, { additionalProperties: false }),
  Type.Object({ plan: Choice }, { additionalProperties: false }),
]);
export const CheckoutView = Type.Object({
  order: Type.String(),
  url: Type.String({ description: 'Where to pay.' }),
});

export const OrderView = Type.Object({
  id: Type.String(),
  kind: Type.String(),
  item: Type.String(),
  credits: Type.Integer(),
  amountCents: Type.Integer(),
  currency: Type.String(),
  status: Type.String({ description: 'open, paid, closed, refunded or disputed.' }),
  createdAt: Type.String(),
  paidAt: Nullable(Type.String()),
  refundedCents: Type.Integer(),
});
