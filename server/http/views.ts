import type { Invitation } from '../accounts/invitation-store.ts';
import type { UserRecord } from '../accounts/user-store.ts';
import type { JobRecord } from '../jobs/job-store.ts';
import type { Jobs } from '../jobs/jobs.ts';
import { isFinal } from '../jobs/states.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { StatementLine } from '../ledger/statement.ts';
import type { Order } from '../payments/order-store.ts';
import type { KeyRecord } from '../tenants/key-store.ts';
import { moment, momentOrNull } from './envelope.ts';

/* What is kept, as both APIs show it: moments in words, and nothing that is nobody's business. */

export function userView(user: UserRecord) {
  return {
    id: user.id,
    email: user.email,
    name: user.name,
    role: user.role,
    company: user.tenant,
    models: user.models && [...user.models],
    features: user.features && [...user.features],
    emailVerified: user.emailVerifiedAt !== null,
    disabled: user.disabledAt !== null,
    createdAt: moment(user.createdAt),
  };
}

export function invitationView({ id, email, role, plan, credits, createdAt, expiresAt }: Invitation) {
  return { id, email, role, plan, credits, createdAt: moment(createdAt), expiresAt: moment(expiresAt) };
}

export function keyView(key: KeyRecord) {
  const { tenant: _, models, features, ...shown } = key;
  return {
    ...shown,
    models: models && [...models],
    features: features && [...features],
    createdAt: moment(key.createdAt),
    expiresAt: momentOrNull(key.expiresAt),
    revokedAt: momentOrNull(key.revokedAt),
    lastUsedAt: momentOrNull(key.lastUsedAt),
  };
}

export function balanceView(ledger: Ledger, account: string | null) {
  if (account === null) return { metered: false, posted: 0, held: 0, available: 0 };
  return { metered: true, ...ledger.balance(account) };
}

export function transactionView(line: StatementLine) {
  return { ...line, about: { ...line.about } };
}

export const transactionColumns: readonly (keyof StatementLine)[] = [
  'id',
  'at',
  'kind',
  'credits',
  'held',
  'holdId',
  'reason',
  'expiresAt',
  'about',
];

export function orderView(order: Order) {
  const { id, kind, item, credits, amountCents, currency, createdAt, paidAt, refundedCents } = order;
  return {
    id,
    kind,
    item,
    credits,
    amountCents,
    currency,
    status: statusOf(order),
    createdAt: moment(createdAt),
    paidAt: momentOrNull(paidAt),
    refundedCents,
  };
}

function statusOf({ disputed, refundedCents, paidAt, closedAt }: Order): string {
  if (disputed) return 'disputed';
  if (refundedCents > 0) return 'refunded';
  if (closedAt !== null) return 'closed';
  return paidAt === null ? 'open' : 'paid';
}

export function jobView(job: JobRecord, jobs: Jobs) {
  const { id, feature, model, state, step, errorCode, errorMessage } = job;
  const hasEnded = isFinal(state);
  return {
    id,
    feature,
    model,
    state,
    progress: jobs.progress(job),
    step,
    queue: hasEnded ? null : jobs.standing(job),
    credits: { held: hasEnded ? 0 : job.creditsHeld, charged: hasEnded ? job.credits : null },
    error: errorCode === null ? null : { code: errorCode, message: errorMessage ?? '' },
    createdAt: moment(job.createdAt),
    startedAt: momentOrNull(job.startedAt),
    finishedAt: momentOrNull(job.finishedAt),
    gpuSeconds: job.gpuMs / 1000,
    batch: job.batch,
    retryOf: job.retryOf,
    preview: jobs.preview(id)?.version ?? null,
    urls: {
      get: `/api/v1/jobs/${id}`,
      events: `/api/v1/jobs/${id}/events`,
      cancel: `/api/v1/jobs/${id}/cancel`,
      files: `/api/v1/download/${id}/files`,
      preview: `/api/v1/jobs/${id}/preview`,
      download: `/api/v1/jobs/${id}/download`,
    },
  };
}

/** One page of a list that was read with one item more than asked for. */
export function pageOf<Item extends { id: string }, View>(
  found: readonly Item[],
  limit: number,
  view: (item: Item) => View,
): { items: View[]; next: string | null } {
  const items = found.slice(0, limit);
  const next = found.length > limit ? (items.at(-1)?.id ?? null) : null;
  return { items: items.map(view), next };
}
