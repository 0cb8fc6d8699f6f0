import type { Actor } from '../audit/audit-log.ts';
import { ApiError } from '../http/api-error.ts';
import type { AccountDeps } from './account-deps.ts';
import { normaliseEmail } from './email-address.ts';
import type { Origin } from './session-store.ts';
import type { UserRecord } from './user-store.ts';

/** A session that was just begun or refreshed. */
export interface SignedIn {
  readonly user: UserRecord;
  readonly accessToken: string;
  readonly accessExpiresAt: number;
  /** Good once, for the next access token. */
  readonly refreshToken: string;
}

/** In and out. What is wrong with a sign-in is never told apart: no such person, wrong password, disabled. */
export class SignIn {
  readonly #deps: AccountDeps;

  constructor(deps: AccountDeps) {
    this.#deps = deps;
  }

  async login(given: { email: string; password: string }, origin: Origin, actor: Actor): Promise<SignedIn> {
    const { users, sessions, attempts, passwords, settings, audit, tenants } = this.#deps;
    const email = normaliseEmail(given.email) ?? '';
    const user = users.byEmail(email);
    const succeeded = attempts.begin({
      email,
      passwordHash: user?.passwordHash ?? null,
      address: origin.address,
      isKnownAddress: user !== undefined && sessions.isKnown(user.id, origin.address),
    });
    const right = await passwords.check(user?.passwordHash ?? null, given.password);
    if (!user || !right || user.disabledAt !== null) {
      const target = user?.id ?? null;
      audit.add(actor, { action: 'session.refused', target, tenant: user?.tenant ?? null });
      throw new ApiError('invalid_credentials', 'The e-mail address or the password is wrong.');
    }
    succeeded();
    if (settings.verifyEmail && user.emailVerifiedAt === null) {
      throw new ApiError(
        'email_not_verified',
        'The e-mail address was not confirmed yet. Follow the message you were sent, or reset your password to get another.',
      );
    }
    if (tenants.find(user.tenant)?.suspendedAt !== null)
      throw new ApiError('tenant_disabled', 'This company is suspended; ask the operator.');
    return this.begin(user, origin, actor);
  }

  /** Begins a session for somebody who has proven who they are. */
  begin(user: UserRecord, origin: Origin, actor: Actor): Promise<SignedIn> {
    const { sessions, audit, ledger } = this.#deps;
    const { session, refreshToken } = ledger.atomically(() => {
      const begun = sessions.begin(user.id, origin);
      audit.add(
        { ...actor, kind: 'user', id: user.id },
        {
          action: 'session.begin',
          target: begun.session,
          tenant: user.tenant,
        },
      );
      return begun;
    });
    return this.#signedIn(user, session, refreshToken);
  }

  async refresh(token: string): Promise<SignedIn> {
    const next = this.#deps.sessions.refresh(token);
    const identity = next && this.#deps.directory.bySession(next.session);
    const user = identity?.user && this.#deps.users.find(identity.user.id);
    if (!next || !user) {
      // A token used twice has ended its session; what runs on it ends too.
      this.#deps.directory.changed();
      throw new ApiError('invalid_session', 'The session has ended. Sign in again.');
    }
    return this.#signedIn(user, next.session, next.refreshToken);
  }

  logout(session: string, user: UserRecord, actor: Actor): void {
    const { sessions, audit, ledger, directory } = this.#deps;
    ledger.atomically(() => {
      sessions.end(session);
      audit.add(actor, { action: 'session.end', target: session, tenant: user.tenant });
    });
    directory.changed();
  }

  async #signedIn(user: UserRecord, session: string, refreshToken: string): Promise<SignedIn> {
    const claims = { user: user.id, tenant: user.tenant, role: user.role, session };
    const { token, expiresAt } = await this.#deps.accessTokens.sign(claims);
    return { user, accessToken: token, accessExpiresAt: expiresAt, refreshToken };
  }
}
