import type { Database } from 'better-sqlite3';
import { hashToken, secretToken } from '../secrets/secret-token.ts';

export type Purpose = 'reset' | 'verify';

/** Tokens that go out in e-mails: good once and for one thing, kept by their hash. */
export class MailedTokens {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** A new token; what was sent before for the same purpose is no longer good. */
  issue(user: string, purpose: Purpose, lifetimeMs: number): string {
    const token = secretToken();
    this.#db.prepare('delete from mailed_tokens where user = ? and purpose = ?').run(user, purpose);
    this.#db
      .prepare('insert into mailed_tokens (hash, user, purpose, expires_at) values (?, ?, ?, ?)')
      .run(hashToken(token), user, purpose, Date.now() + lifetimeMs);
    return token;
  }

  /** The person a token was sent to, who can use it this one time; null for one that is not good. */
  redeem(token: string, purpose: Purpose): string | null {
    const found = this.#db
      .prepare<[string, string, number], string>(
        'delete from mailed_tokens where hash = ? and purpose = ? and expires_at > ? returning user',
      )
      .pluck()
      .get(hashToken(token), purpose, Date.now());
    return found ?? null;
  }

  sweep(most: number): number {
    return this.#db
      .prepare(
        'delete from mailed_tokens where hash in (select hash from mailed_tokens where expires_at <= ? limit ?)',
      )
      .run(Date.now(), most).changes;
  }
}
