import type { Actor } from '../audit/audit-log.ts';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';
import type { Role } from '../tenants/tenant.ts';
import type { AccountDeps } from './account-deps.ts';
import type { Invitation } from './invitation-store.ts';
import { checkedEmail } from './registration.ts';
import type { UserRecord } from './user-store.ts';

/** What may be changed of a person by those who administer the company. */
export interface PersonChange {
  readonly role?: Role;
  readonly disabled?: boolean;
  readonly models?: readonly string[] | null;
  readonly features?: readonly string[] | null;
}

/** The people of a company: invited, given a role and rights, disabled, removed. */
export class Company {
  readonly #deps: AccountDeps;

  constructor(deps: AccountDeps) {
    this.#deps = deps;
  }

  /** Invites by e-mail; the message lies in the outbox. With no company, it is to found one. */
  invite(
    wish: {
      tenant: string | null;
      email: string;
      role: Role;
      plan?: string | undefined;
      credits?: number | undefined;
    },
    actor: Actor,
  ): { invitation: Invitation; token: string } {
    const { invitations, users, outbox, audit, ledger, offers } = this.#deps;
    const { tenant, role, plan = null, credits = 0 } = wish;
    const email = checkedEmail(wish.email);
    if (plan !== null && !Object.hasOwn(offers.plans, plan))
      throw new ApiError('invalid_request', `There is no plan "${plan}".`, { param: 'plan' });
    const existing = users.byEmail(email);
    // Who is in their own company administrators see anyway; whether a stranger has an account is nobody's business.
    if (existing && (actor.kind === 'operator' || existing.tenant === tenant))
      throw new ApiError('conflict', 'There is an account with this e-mail address already.', {
        param: 'email',
      });
    if (invitations.list(tenant).length >= limits.accounts.openInvitations)
      throw new ApiError('conflict', 'Too many invitations are open; withdraw some.');
    return ledger.atomically(() => {
      const made = invitations.create(
        { tenant, email, role, plan, credits },
        limits.mailedToken.invitationMs,
      );
      outbox.send({
        tenant,
        to: email,
        subject: 'You are invited to Kilnhouse',
        text: existing
          ? 'Somebody invites you to their company on Kilnhouse. There is an account with this address already, and an account belongs to one company: have the invitation sent to another address of yours, or delete the account first.'
          : `To accept, send this token as "invitation" with your name and password to POST /api/v1/auth/register within two weeks:\n\n${made.token}\n`,
      });
      audit.add(actor, {
        action: 'invitation.create',
        target: made.invitation.id,
        tenant,
        after: { role, plan, credits },
      });
      return made;
    });
  }

  withdraw(invitation: Invitation, actor: Actor): void {
    const { invitations, outbox, audit, ledger } = this.#deps;
    ledger.atomically(() => {
      invitations.remove(invitation.id);
      // Others write to that address, too.
      outbox.removeFrom(invitation.tenant, invitation.email);
      audit.add(actor, { action: 'invitation.remove', target: invitation.id, tenant: invitation.tenant });
    });
  }

  /** Changes what a person may do, with whatever `alongside` writes. The last administrator stays one. */
  change(
    user: UserRecord,
    change: PersonChange,
    actor: Actor,
    alongside: () => void = () => undefined,
  ): UserRecord {
    const { users, sessions, audit, ledger, directory } = this.#deps;
    const next = {
      role: change.role ?? user.role,
      disabledAt:
        change.disabled === undefined
          ? user.disabledAt
          : change.disabled
            ? (user.disabledAt ?? Date.now())
            : null,
      models: change.models === undefined ? user.models : change.models,
      features: change.features === undefined ? user.features : change.features,
    };
    const changed = ledger.atomically(() => {
      if (next.role !== 'admin' || next.disabledAt !== null) this.#demandAnotherAdmin(user);
      const written = users.change(user.id, next);
      if (next.disabledAt !== null) sessions.endAll(user.id);
      alongside();
      audit.add(actor, {
        action: 'user.change',
        target: user.id,
        tenant: user.tenant,
        before: rightsOf(user),
        after: rightsOf(written),
      });
      return written;
    });
    directory.changed();
    return changed;
  }

  /** Throws where nobody would be left to administer the company. */
  #demandAnotherAdmin(user: UserRecord): void {
    if (user.role !== 'admin' || user.disabledAt !== null) return;
    const others = this.#deps.users
      .ofTenant(user.tenant)
      .filter(({ id, role, disabledAt }) => id !== user.id && role === 'admin' && disabledAt === null);
    if (others.length === 0)
      throw new ApiError(
        'conflict',
        'A company keeps at least one administrator. Make somebody else one first, or delete the company.',
      );
  }

  /** Throws where removing somebody would leave a company of several without an administrator. */
  demandRemovable(user: UserRecord): void {
    this.#demandAnotherAdmin(user);
  }
}

function rightsOf({ role, disabledAt, models, features }: UserRecord): object {
  return { role, disabled: disabledAt !== null, models, features };
}
