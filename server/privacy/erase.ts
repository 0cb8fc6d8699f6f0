import type { AccountDeps } from '../accounts/account-deps.ts';
import type { UserRecord } from '../accounts/user-store.ts';
import type { Actor } from '../audit/audit-log.ts';
import type { HistoryStore } from '../history/history-store.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { WebhookStore } from '../webhooks/webhook-store.ts';
import type { Uploads } from '../files/uploads.ts';
import type { IdempotencyStore } from '../idempotency/idempotency-store.ts';

export interface ErasureDeps extends AccountDeps {
  readonly history: HistoryStore;
  readonly idempotency: IdempotencyStore;
  readonly jobs: Jobs;
  readonly uploads: Uploads;
  readonly webhooks: WebhookStore;
}

/**
 * Forgets a person: the account with its sessions, keys, tokens and kept prompts is removed. What was spent stays in
 * the ledger, and what was done in the audit log, under an id that now names nobody.
 */
export function erasePerson(deps: ErasureDeps, user: UserRecord, actor: Actor): void {
  deps.ledger.atomically(() => {
    deps.jobs.forget(user.tenant, user.id);
    deps.uploads.forget(user.tenant, user.id);
    deps.history.removeOfUser(user.id);
    forgetAddress(deps, user.email);
    deps.audit.forgetAddresses({ user: user.id });
    deps.users.remove(user.id);
    const { requestId } = actor;
    deps.audit.add(
      { ...actor, address: null, requestId },
      { action: 'user.erase', target: user.id, tenant: user.tenant },
    );
  });
  deps.directory.changed();
}

/** Forgets a company with all its people. Its account in the ledger stays, whole, under an id that names nobody. */
export function eraseCompany(deps: ErasureDeps, tenant: string, actor: Actor): void {
  deps.ledger.atomically(() => {
    for (const { email } of deps.users.ofTenant(tenant)) forgetAddress(deps, email);
    for (const { email } of deps.invitations.list(tenant)) forgetAddress(deps, email);
    deps.jobs.forget(tenant);
    deps.uploads.forget(tenant);
    deps.webhooks.removeOf(tenant);
    deps.audit.forgetAddresses({ tenant });
    deps.idempotency.removeOf(tenant);
    deps.tenants.remove(tenant);
    deps.audit.add({ ...actor, address: null }, { action: 'tenant.erase', target: tenant, tenant });
  });
  deps.directory.changed();
}

/** Messages and invitations to an address. */
function forgetAddress({ outbox, invitations }: ErasureDeps, email: string): void {
  outbox.removeTo(email);
  invitations.removeTo(email);
}
