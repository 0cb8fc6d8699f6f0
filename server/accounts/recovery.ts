import type { Actor } from '../audit/audit-log.ts';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';
import type { AccountDeps } from './account-deps.ts';
import { normaliseEmail } from './email-address.ts';
import type { UserRecord } from './user-store.ts';

/** New passwords: for who knows the old one, and for who can read the mailbox. Either ends all sessions (A5). */
export class Recovery {
  readonly #deps: AccountDeps;
  readonly #onError: (error: unknown) => void;

  constructor(deps: AccountDeps, onError: (error: unknown) => void) {
    this.#deps = deps;
    this.#onError = onError;
  }

  /** Sends a token if there is such an account. Says nothing either way, and takes no time to. */
  forgot(address: string, actor: Actor): void {
    setImmediate(() => {
      try {
        this.#sendToken(address, actor);
      } catch (error) {
        // The answer is out already.
        this.#onError(error);
      }
    });
  }

  #sendToken(address: string, actor: Actor): void {
    const { users, mailedTokens, mailLimit, outbox, audit, ledger } = this.#deps;
    const user = users.byEmail(normaliseEmail(address) ?? '');
    if (!user || user.disabledAt !== null || !mailLimit.takes(user.email)) return;
    ledger.atomically(() => {
      const token = mailedTokens.issue(user.id, 'reset', limits.mailedToken.resetMs);
      outbox.send({
        tenant: user.tenant,
        to: user.email,
        subject: 'Set a new password',
        text: `To set a new password, send this token and the password to POST /api/v1/auth/reset-password within the hour:\n\n${token}\n\nIf you did not ask for it, nothing has to be done.\n`,
      });
      audit.add(actor, { action: 'password.forgot', target: user.id, tenant: user.tenant });
    });
  }

  async reset(token: string, password: string, actor: Actor): Promise<void> {
    const { passwords, mailedTokens, ledger, users } = this.#deps;
    const passwordHash = await passwords.hash(password);
    ledger.atomically(() => {
      const id = mailedTokens.redeem(token, 'reset');
      const user = id === null ? undefined : users.find(id);
      if (!user)
        throw new ApiError('invalid_request', 'The token is wrong, was used, or has expired.', {
          param: 'token',
        });
      // Whoever has the token can read the mailbox.
      const emailVerifiedAt = user.emailVerifiedAt ?? Date.now();
      this.#set(user, { passwordHash, emailVerifiedAt }, null, { ...actor, kind: 'user', id: user.id });
    });
    this.#deps.directory.changed();
  }

  /** Every other session ends; this one goes on. */
  async change(
    user: UserRecord,
    session: string,
    { current, next }: { current: string; next: string },
    actor: Actor,
  ): Promise<void> {
    const { passwords, ledger, directory } = this.#deps;
    await this.demandPassword(user, session, current, actor);
    const passwordHash = await passwords.hash(next);
    ledger.atomically(() => this.#set(user, { passwordHash }, session, actor));
    directory.changed();
  }

  /**
   * Throws unless it is the person's password. Whoever has a session may guess as little as somebody who signs in, and
   * loses it after ten wrong ones.
   */
  async demandPassword(user: UserRecord, session: string, password: string, actor: Actor): Promise<void> {
    const { passwords, attempts, sessions } = this.#deps;
    const { email, passwordHash } = user;
    const address = actor.address ?? 'unknown';
    const isKnownAddress = sessions.isKnown(user.id, address);
    const succeeded = attempts.begin({ email, passwordHash, address, isKnownAddress });
    if (await passwords.check(passwordHash, password)) return succeeded();
    if (attempts.endsSession(session)) {
      this.#endSession(user, session, actor);
      throw new ApiError(
        'invalid_session',
        'The password was wrong too often, and the session has ended. Sign in again.',
      );
    }
    throw new ApiError('invalid_credentials', 'The password is wrong.', { param: 'password' });
  }

  #endSession(user: UserRecord, session: string, actor: Actor): void {
    const { sessions, audit, ledger, directory } = this.#deps;
    ledger.atomically(() => {
      sessions.end(session);
      audit.add(actor, {
        action: 'session.end',
        target: session,
        tenant: user.tenant,
        reason: 'wrong passwords',
      });
    });
    directory.changed();
  }

  #set(
    user: UserRecord,
    change: { passwordHash: string; emailVerifiedAt?: number },
    except: string | null,
    actor: Actor,
  ): void {
    const { users, sessions, audit } = this.#deps;
    users.change(user.id, change);
    const ended = sessions.endAll(user.id, except);
    audit.add(actor, {
      action: 'password.change',
      target: user.id,
      tenant: user.tenant,
      after: { sessionsEnded: ended },
    });
  }
}
