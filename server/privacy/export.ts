import { setImmediate as nextTurn } from 'node:timers/promises';
import { limits } from '../contract/limits.ts';
import type { UserRecord } from '../accounts/user-store.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { HistoryStore } from '../history/history-store.ts';
import type { UploadStore } from '../files/upload-store.ts';
import type { JobStore } from '../jobs/job-store.ts';
import { statement } from '../ledger/statement.ts';
import type { OrderStore } from '../payments/order-store.ts';
import type { UsageStore } from '../usage/usage-store.ts';
import type { ErasureDeps } from './erase.ts';
import type { Database } from 'better-sqlite3';

export interface ExportDeps extends ErasureDeps {
  readonly db: Database;
  readonly usage: UsageStore;
  readonly orders: OrderStore;
  readonly history: HistoryStore;
  readonly jobStore: JobStore;
  readonly uploadStore: UploadStore;
  readonly audit: AuditLog;
}

/** One line of an export: what it is, and the thing itself. */
export interface ExportLine {
  readonly type: string;
  readonly [name: string]: unknown;
}

/** Everything we hold about a person: the account, sessions, keys and what they did. */
export async function* exportOfPerson(deps: ExportDeps, user: UserRecord): AsyncGenerator<ExportLine> {
  yield { type: 'user', ...profileOf(user) };
  for (const session of deps.sessions.list(user.id)) yield { type: 'session', ...session };
  for (const key of deps.keys.list(user.tenant, user.id)) yield { type: 'key', ...key };
  for (const { before, after, ...entry } of deps.audit.all({ actor: user.id })) {
    yield { type: 'audit', ...entry, before: parsed(before), after: parsed(after) };
  }
  for (const upload of deps.uploadStore.all(user.tenant, user.id)) yield { type: 'upload', ...upload };
  yield* jobsOf(deps, user.tenant, user.id);
  yield* requestsOf(deps, user.tenant, user.id);
}

/** Everything we hold about a company, its people included. */
export async function* exportOfCompany(deps: ExportDeps, tenant: string): AsyncGenerator<ExportLine> {
  yield { type: 'company', ...deps.tenants.find(tenant), balance: deps.ledger.balance(tenant) };
  for (const user of deps.users.ofTenant(tenant)) {
    yield { type: 'user', ...profileOf(user) };
    for (const session of deps.sessions.list(user.id)) yield { type: 'session', user: user.id, ...session };
  }
  for (const invitation of deps.invitations.list(tenant)) yield { type: 'invitation', ...invitation };
  for (const key of deps.keys.list(tenant)) yield { type: 'key', ...key };
  for (const webhook of deps.webhooks.list(tenant)) yield { type: 'webhook', ...webhook };
  for (const order of deps.orders.all(tenant)) yield { type: 'order', ...order };
  for (const line of statement(deps.db, tenant)) yield { type: 'transaction', ...line };
  yield* requestsOf(deps, tenant);
  for (const upload of deps.uploadStore.all(tenant)) yield { type: 'upload', ...upload };
  yield* jobsOf(deps, tenant);
  for (const { before, after, ...entry } of deps.audit.all({ tenant })) {
    yield { type: 'audit', ...entry, before: parsed(before), after: parsed(after) };
  }
}

/** Jobs with what was asked, and what there is of results. */
async function* jobsOf(
  { jobStore }: ExportDeps,
  tenant: string,
  person?: string,
): AsyncGenerator<ExportLine> {
  let after: string | undefined;
  for (;;) {
    const page = jobStore.page({ tenant, after, limit: limits.turn.rows });
    for (const job of page) {
      if (person !== undefined && job.person !== person) continue;
      yield { type: 'job', ...job, input: jobStore.input(job.id), results: jobStore.artefacts(job.id) };
    }
    after = page.at(-1)?.id;
    if (page.length < limits.turn.rows) return;
    // Of all these, none may have been the person's: nothing was sent that would have left the loop to others.
    await nextTurn();
  }
}

/** Requests with what was asked, where that is kept. */
function* requestsOf({ usage, history }: ExportDeps, tenant: string, person?: string): Generator<ExportLine> {
  for (const row of usage.rows(tenant, person))
    yield { type: 'request', ...row, prompts: history.find(tenant, row.id) ?? null };
}

function profileOf({ passwordHash: _, ...profile }: UserRecord): object {
  return profile;
}

function parsed(text: string | null): unknown {
  return text === null ? null : JSON.parse(text);
}
