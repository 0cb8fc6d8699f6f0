import { Type } from 'typebox';
import { History, InvitationView, KeyView, Name, Role, UserView } from './accounts.ts';
import { limits } from './limits.ts';
import { BalanceView, OrderView } from './money.ts';
import { Nullable, PageOf, PageQuery } from './platform.ts';

const closed = { additionalProperties: false } as const;
/** Beside the id of a tenant wherever a person reads it. */
export const TenantName = Type.String({
  description: 'What the tenant is called; its id when it was deleted.',
});
const PlanName = Type.String({ minLength: 1, maxLength: 40 });
const Reason = Type.String({
  minLength: 3,
  maxLength: 500,
  description: 'Why; it is kept in the audit log.',
});

export const TenantView = Type.Object({
  id: Type.String(),
  kind: Type.String({ description: 'account, or file for those of tenants.json.' }),
  name: Type.String(),
  plan: Type.String(),
  disabled: Type.Boolean(),
  allowNSFW: Type.Boolean(),
  history: Type.String(),
  keys: Type.Integer(),
  open: Type.Integer({ description: 'Requests open now.' }),
  available: Nullable(Type.Integer({ description: 'Credits; null for one that pays nothing.' })),
});
export const TenantsQuery = Type.Object(
  {
    ...PageQuery.properties,
    search: Type.Optional(
      Type.String({
        maxLength: 100,
        description: 'Only tenants whose name contains this, or whose id it is.',
      }),
    ),
  },
  closed,
);
export const TenantsView = Type.Object({
  ...PageOf(TenantView).properties,
  file: Type.Object({ path: Type.String(), problem: Nullable(Type.String()) }),
});

/** Parts of a plan, said for one tenant; checked against the plan's own schema where it is used. */
const Overrides = Type.Record(Type.String({ maxLength: 40 }), Type.Unknown());

export const TenantDetail = Type.Object({
  ...TenantView.properties,
  overrides: Overrides,
  blockedPhrases: Type.Array(Type.String()),
  createdAt: Type.String(),
  balance: BalanceView,
  users: Type.Array(UserView),
  apiKeys: Type.Array(KeyView),
  invitations: Type.Array(InvitationView),
});

export const NewTenantBody = Type.Object({ name: Name, plan: Type.Optional(PlanName) }, closed);
export const TenantChangeBody = Type.Object(
  {
    name: Type.Optional(Name),
    plan: Type.Optional(PlanName),
    overrides: Type.Optional(Overrides),
    allowNSFW: Type.Optional(Type.Boolean()),
    blockedPhrases: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 200 }), { maxItems: 2_000 }),
    ),
    history: Type.Optional(History),
    suspended: Type.Optional(Type.Boolean()),
    reason: Type.Optional(Reason),
  },
  { ...closed, minProperties: 1 },
);

export const CreditsBody = Type.Object(
  {
    credits: Type.Integer({
      minimum: -limits.ledger.credits,
      maximum: limits.ledger.credits,
      description: 'Negative takes credits back, as far as there are any.',
    }),
    reason: Reason,
    reference: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9._:-]{1,100}$',
        'x-form': 'up to 100 letters, digits, dots, colons, hyphens and underscores',
        description: 'Your own mark. The same one a second time changes nothing.',
      }),
    ),
    expiresAt: Type.Optional(Type.String({ maxLength: 40 })),
  },
  closed,
);
export const CreditsView = Type.Object({
  moved: Type.Integer({ description: 'Credits that moved; 0 when this very change was made before.' }),
  balance: BalanceView,
});

export const OperatorInvitationBody = Type.Object(
  {
    email: Type.String({ minLength: 3, maxLength: 320 }),
    tenant: Type.Optional(Nullable(Type.String({ maxLength: 60 }))),
    role: Type.Optional(Role),
    plan: Type.Optional(PlanName),
    credits: Type.Optional(Type.Integer({ minimum: 0, maximum: limits.ledger.credits })),
  },
  closed,
);
export const MadeInvitationView = Type.Object({
  ...InvitationView.properties,
  token: Type.String({ description: 'What accepts it; shown only now, and in the message in the outbox.' }),
});

const OperatorOrderView = Type.Object({
  ...OrderView.properties,
  tenant: Type.String(),
  tenantName: TenantName,
  given: Type.Integer(),
  uncollected: Type.Integer({ description: 'Credits that were refunded or disputed, and spent before.' }),
  problem: Nullable(Type.String()),
});
export const OrdersPage = PageOf(OperatorOrderView);

export const ProofView = Type.Object({
  ok: Type.Boolean(),
  entries: Type.Integer(),
  accounts: Type.Integer(),
  granted: Type.Integer(),
  spent: Type.Integer(),
  takenBack: Type.Integer(),
  expired: Type.Integer(),
  balances: Type.Integer(),
  held: Type.Integer(),
  faults: Type.Array(Type.String()),
});

const Moment = Type.String({ maxLength: 40, description: 'ISO date and time.' });
export const AuditQuery = Type.Object(
  {
    tenant: Type.Optional(Type.String({ maxLength: 120 })),
    actor: Type.Optional(Type.String({ maxLength: 120 })),
    action: Type.Optional(
      Type.String({
        pattern: '^[a-z._*]{1,80}$',
        'x-form': 'an action, or key.* for all of a kind',
        description: 'An action, or key.* for all of a kind.',
      }),
    ),
    from: Type.Optional(Moment),
    until: Type.Optional(Moment),
    after: Type.Optional(Type.Integer({ minimum: 1 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
    format: Type.Optional(
      Type.Union([Type.Literal('json'), Type.Literal('csv'), Type.Literal('jsonl')], {
        default: 'json',
        description: 'csv and jsonl give all of them at once.',
      }),
    ),
  },
  closed,
);
const AuditView = Type.Object({
  sequence: Type.Integer(),
  at: Type.String(),
  actorKind: Type.String(),
  actor: Nullable(Type.String()),
  address: Nullable(Type.String()),
  action: Type.String(),
  target: Nullable(Type.String()),
  tenant: Nullable(Type.String()),
  before: Type.Unknown(),
  after: Type.Unknown(),
  reason: Nullable(Type.String()),
  requestId: Nullable(Type.String()),
});
export const AuditPage = PageOf(AuditView);

const MessageView = Type.Object({
  id: Type.String(),
  recipient: Type.String(),
  subject: Type.String(),
  body: Type.String(),
  createdAt: Type.String(),
  sentAt: Nullable(Type.String()),
  attempts: Type.Integer(),
  error: Nullable(Type.String()),
});
export const OutboxView = Type.Object({
  delivered: Type.Boolean({ description: 'false: there is no mail server; pass the messages on by hand.' }),
  ...PageOf(MessageView).properties,
});
