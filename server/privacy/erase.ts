import type { AccountDeps } from '../accounts/account-deps.ts';
import type { UserRecord } from '../accounts/user-store.ts';
import type { Actor } from '../audit/audit-log.ts';
import type { HistoryStore } from '../history/history-store.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { WebhookStore } from '../webhooks/webhook-store.ts';
import type { Uploads } from '../files/uploads.ts';
import { inTurns } from '../db/in-turns.ts';
import type { IdempotencyStore } from '../idempotency/idempotency-store.ts';
import type { Erasure, ErasureStore } from './erasure-store.ts';

export interface ErasureDeps extends AccountDeps {
  readonly erasures: ErasureStore;
  readonly history: HistoryStore;
  readonly idempotency: IdempotencyStore;
  readonly jobs: Jobs;
  readonly uploads: Uploads;
  readonly webhooks: WebhookStore;
}

/**
 * Forgets a person: the account with its sessions, keys, tokens and kept prompts is removed. What was spent stays in
 * the ledger, and what was done in the audit log, under an id that now names nobody. The person is shut out at once; the
 * rest is done a few rows in each turn of the event loop, and goes on at the next start if the appliance stops.
 */
export async function erasePerson(deps: ErasureDeps, user: UserRecord, actor: Actor): Promise<void> {
  const erasure: Erasure = { id: user.id, tenant: user.tenant, kind: 'person', actor };
  deps.ledger.atomically(() => {
    deps.erasures.begin(erasure);
    deps.users.change(user.id, { disabledAt: Date.now() });
  });
  deps.directory.changed();
  await goOn(deps, erasure);
}

/**
 * Forgets a company with all its people. Its account in the ledger stays, whole, under an id that names nobody. It is
 * shut out at once; the rest is done like that of a person.
 */
export async function eraseCompany(deps: ErasureDeps, tenant: string, actor: Actor): Promise<void> {
  const erasure: Erasure = { id: tenant, tenant, kind: 'company', actor };
  deps.ledger.atomically(() => {
    deps.erasures.begin(erasure);
    deps.tenants.change(tenant, { suspendedAt: Date.now() });
  });
  deps.directory.changed();
  await goOn(deps, erasure);
}

/** Goes on with what a crash interrupted. */
export async function finishErasures(deps: ErasureDeps): Promise<void> {
  for (const erasure of deps.erasures.open()) await goOn(deps, erasure);
}

function goOn(deps: ErasureDeps, erasure: Erasure): Promise<void> {
  return deps.erasures.once(erasure.id, async () => {
    if (erasure.kind === 'person') await forgetPerson(deps, erasure);
    else await forgetCompany(deps, erasure);
    deps.directory.changed();
  });
}

async function forgetPerson(deps: ErasureDeps, { id, tenant, actor }: Erasure): Promise<void> {
  await deps.jobs.forget(tenant, id);
  await deps.uploads.forget(tenant, id);
  await inTurns((most) => deps.history.removeOfUser(id, most));
  await inTurns((most) => deps.idempotency.removeOfPerson(id, most));
  await inTurns((most) => deps.audit.forgetAddresses({ user: id }, most));
  await inTurns((most) => deps.sessions.removeOf(id, most));
  deps.ledger.atomically(() => {
    const user = deps.users.find(id);
    if (user) {
      forgetAddress(deps, user.email);
      deps.users.remove(id);
      deps.audit.add({ ...actor, address: null }, { action: 'user.erase', target: id, tenant });
    }
    deps.erasures.end(id);
  });
}

async function forgetCompany(deps: ErasureDeps, { id, actor }: Erasure): Promise<void> {
  await deps.jobs.forget(id);
  await deps.uploads.forget(id);
  await inTurns((most) => deps.history.removeBefore(id, Number.MAX_SAFE_INTEGER, most));
  await inTurns((most) => deps.idempotency.removeOf(id, most));
  await inTurns((most) => deps.webhooks.removeDeliveriesOf(id, most));
  await inTurns((most) => deps.audit.forgetAddresses({ tenant: id }, most));
  for (const user of deps.users.ofTenant(id)) await inTurns((most) => deps.sessions.removeOf(user.id, most));
  deps.ledger.atomically(() => {
    for (const { email } of deps.users.ofTenant(id)) forgetAddress(deps, email);
    for (const { email } of deps.invitations.list(id)) forgetAddress(deps, email);
    deps.webhooks.removeOf(id);
    if (deps.tenants.find(id)) {
      deps.tenants.remove(id);
      deps.audit.add({ ...actor, address: null }, { action: 'tenant.erase', target: id, tenant: id });
    }
    deps.erasures.end(id);
  });
}

/** Messages and invitations to an address. */
function forgetAddress({ outbox, invitations }: ErasureDeps, email: string): void {
  outbox.removeTo(email);
  invitations.removeTo(email);
}
