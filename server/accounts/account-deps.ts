import type { AuditLog } from '../audit/audit-log.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Outbox } from '../mail/outbox.ts';
import type { Offers } from '../offers/offers.ts';
import type { Directory } from '../tenants/directory.ts';
import type { KeyStore } from '../tenants/key-store.ts';
import type { TenantStore } from '../tenants/tenant-store.ts';
import type { AccessTokens } from './access-token.ts';
import type { InvitationStore } from './invitation-store.ts';
import type { MailedTokens } from './mailed-tokens.ts';
import type { MailLimit } from './mail-limit.ts';
import type { PasswordAttempts } from './password-attempts.ts';
import type { Passwords } from './passwords.ts';
import type { SessionStore } from './session-store.ts';
import type { UserStore } from './user-store.ts';

interface AccountSettings {
  readonly registration: 'open' | 'invitation' | 'closed';
  readonly verifyEmail: boolean;
  readonly plan: string;
  readonly welcomeCredits: number;
  /** Calls of the sign-in routes that one network address has in 15 minutes. */
  readonly callsPerAddress: number;
}

/** What the flows of accounts work with. Every change of theirs is one transaction of the ledger's database. */
export interface AccountDeps {
  readonly settings: AccountSettings;
  readonly tenants: TenantStore;
  readonly users: UserStore;
  readonly keys: KeyStore;
  readonly sessions: SessionStore;
  readonly invitations: InvitationStore;
  readonly mailedTokens: MailedTokens;
  readonly mailLimit: MailLimit;
  readonly outbox: Outbox;
  readonly audit: AuditLog;
  readonly ledger: Ledger;
  readonly offers: Offers;
  readonly passwords: Passwords;
  readonly attempts: PasswordAttempts;
  readonly accessTokens: AccessTokens;
  readonly directory: Directory;
}
