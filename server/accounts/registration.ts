import { type Actor, system } from '../audit/audit-log.ts';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';
import type { AccountDeps } from './account-deps.ts';
import { normaliseEmail } from './email-address.ts';
import type { Invitation } from './invitation-store.ts';
import type { Origin } from './session-store.ts';
import type { SignedIn, SignIn } from './sign-in.ts';
import type { UserRecord } from './user-store.ts';

export interface RegistrationForm {
  readonly email: string;
  readonly password: string;
  readonly name: string;
  readonly company?: string | undefined;
  readonly invitation?: string | undefined;
}

/** Somebody who has just come in: a session, and the first key where one was made. */
export interface Welcome extends SignedIn {
  readonly apiKey: string | null;
}

/** How people come in: freely, by invitation, or not at all, as the operator has it. */
export class Registration {
  readonly #deps: AccountDeps;
  readonly #signIn: SignIn;

  constructor(deps: AccountDeps, signIn: SignIn) {
    this.#deps = deps;
    this.#signIn = signIn;
  }

  /**
   * Makes an account. Null when the e-mail address has to be confirmed first, which is also all that is said where
   * there is an account with that address already: the message tells its owner.
   */
  async register(form: RegistrationForm, origin: Origin, actor: Actor): Promise<Welcome | null> {
    const { settings, users, passwords, outbox, mailLimit } = this.#deps;
    const email = checkedEmail(form.email);
    const invitation = this.#invitationFor(form.invitation, email);
    // Before anything is looked up, so that the answer takes as long either way.
    const passwordHash = await passwords.hash(form.password);
    const isProven = invitation !== null;
    if (users.byEmail(email)) {
      if (!settings.verifyEmail || isProven)
        throw new ApiError(
          'conflict',
          'There is an account with this e-mail address. Sign in, or reset the password.',
          {
            param: 'email',
          },
        );
      if (!mailLimit.takes(email)) return null;
      outbox.send({
        tenant: null,
        to: email,
        subject: 'You already have an account',
        text: 'Somebody, perhaps you, wanted to make a Kilnhouse account with this address. There is one already: sign in, or reset its password. If it was not you, nothing has to be done.',
      });
      return null;
    }
    const user = this.#create(form, email, passwordHash, invitation, actor);
    if (settings.verifyEmail && !isProven) return null;
    return this.#welcome(user, origin, actor);
  }

  /** Confirms an e-mail address with the token that was sent there, and lets its owner in. */
  verifyEmail(token: string, origin: Origin, actor: Actor): Promise<Welcome> {
    const { users, mailedTokens, ledger, audit } = this.#deps;
    const user = ledger.atomically(() => {
      const id = mailedTokens.redeem(token, 'verify');
      if (id === null)
        throw new ApiError('invalid_request', 'The token is wrong, was used, or has expired.', {
          param: 'token',
        });
      const verified = users.change(id, { emailVerifiedAt: Date.now() });
      audit.add(
        { ...actor, kind: 'user', id },
        { action: 'user.verify', target: id, tenant: verified.tenant },
      );
      return verified;
    });
    return this.#welcome(user, origin, actor);
  }

  /** The account, its company where it founds one, and first credits: all of it or nothing. */
  #create(
    form: RegistrationForm,
    email: string,
    passwordHash: string,
    invitation: Invitation | null,
    actor: Actor,
  ): UserRecord {
    const { ledger, invitations, users, audit, mailedTokens, outbox, settings } = this.#deps;
    const name = form.name.trim();
    return ledger.atomically(() => {
      if (invitation && !invitations.accept(invitation.id))
        throw new ApiError('invalid_request', 'The invitation was used already.', { param: 'invitation' });
      // Somebody may have been faster while the password was being hashed.
      if (users.byEmail(email))
        throw new ApiError('conflict', 'There is an account with this e-mail address.', { param: 'email' });
      const joins = invitation?.tenant ?? null;
      const tenant = joins ?? this.#found(form.company?.trim() || name, invitation);
      if (joins !== null && users.ofTenant(joins).length >= limits.accounts.users)
        throw new ApiError('conflict', `A company has at most ${limits.accounts.users} people.`);
      const user = users.create({
        tenant,
        email,
        name,
        role: joins === null ? 'admin' : (invitation?.role ?? 'member'),
        passwordHash,
        emailVerifiedAt: invitation ? Date.now() : null,
      });
      const by = { ...actor, kind: 'user', id: user.id } as const;
      audit.add(by, { action: 'user.register', target: user.id, tenant, after: { role: user.role } });
      if (settings.verifyEmail && !invitation) {
        const token = mailedTokens.issue(user.id, 'verify', limits.mailedToken.verifyMs);
        outbox.send({
          tenant,
          to: email,
          subject: 'Confirm your e-mail address',
          text: `Welcome to Kilnhouse. To confirm this address, send this token to POST /api/v1/auth/verify-email within three days:\n\n${token}\n`,
        });
      }
      return user;
    });
  }

  #found(name: string, invitation: Invitation | null): string {
    const { tenants, settings, ledger, audit } = this.#deps;
    const plan = invitation?.plan ?? settings.plan;
    const tenant = tenants.create({ name, plan });
    audit.add(system, { action: 'tenant.create', target: tenant.id, tenant: tenant.id, after: { plan } });
    const credits = invitation?.credits || settings.welcomeCredits;
    if (credits > 0) {
      const reason = 'welcome';
      ledger.grant({ id: `welcome:${tenant.id}`, account: tenant.id, credits, reason });
      audit.add(system, {
        action: 'credits.grant',
        target: tenant.id,
        tenant: tenant.id,
        after: { credits },
        reason,
      });
    }
    return tenant.id;
  }

  async #welcome(user: UserRecord, origin: Origin, actor: Actor): Promise<Welcome> {
    const { keys, audit, ledger } = this.#deps;
    const apiKey = ledger.atomically(() => {
      if (keys.list(user.tenant, user.id).length > 0) return null;
      const { key, record } = keys.create({ tenant: user.tenant, createdBy: user.id, name: 'First key' });
      const by = { ...actor, kind: 'user', id: user.id } as const;
      audit.add(by, { action: 'key.create', target: record.id, tenant: user.tenant });
      return key;
    });
    return { ...(await this.#signIn.begin(user, origin, actor)), apiKey };
  }

  #invitationFor(token: string | undefined, email: string): Invitation | null {
    const { registration } = this.#deps.settings;
    if (registration === 'closed') throw new ApiError('registration_closed', 'Registration is closed here.');
    if (token === undefined) {
      if (registration === 'open') return null;
      throw new ApiError(
        'registration_closed',
        'Registration is by invitation here. Send the token of your invitation as "invitation".',
      );
    }
    const invitation = this.#deps.invitations.byToken(token);
    if (!invitation || invitation.email !== email) {
      throw new ApiError(
        'invalid_request',
        'The invitation is wrong, was used, has expired, or is for another e-mail address.',
        { param: 'invitation' },
      );
    }
    return invitation;
  }
}

export function checkedEmail(text: string): string {
  const email = normaliseEmail(text);
  if (email !== null) return email;
  throw new ApiError('invalid_request', 'This is no e-mail address.', { param: 'email' });
}
