import type { Database } from 'better-sqlite3';
import { limits } from '../contract/limits.ts';
import { newId } from '../db/ids.ts';
import { hashToken, secretToken } from '../secrets/secret-token.ts';

export interface Origin {
  readonly address: string;
  readonly agent: string | null;
}

export interface SessionRecord {
  readonly id: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly address: string | null;
  readonly agent: string | null;
}

/**
 * Sessions and their refresh tokens. A refresh token is good once and gives the next one; one that comes a second
 * time was stolen, by whichever of the two came, and ends the session. Two tabs that refresh at the same moment are
 * forgiven.
 */
export class SessionStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Begins a session; the refresh token can be seen only here. */
  begin(user: string, { address, agent }: Origin): { session: string; refreshToken: string } {
    return this.#db.transaction(() => {
      const session = newId('session');
      const now = Date.now();
      this.#db
        .prepare(
          'insert into sessions (id, user, created_at, expires_at, address, agent) values (?, ?, ?, ?, ?, ?)',
        )
        .run(session, user, now, now + limits.session.refreshMs, address, agent?.slice(0, 200) ?? null);
      return { session, refreshToken: this.#issue(session) };
    })();
  }

  /** The session and next refresh token for one that is good; null for any other. */
  refresh(token: string): { session: string; refreshToken: string } | null {
    return this.#db
      .transaction(() => {
        const now = Date.now();
        const found = this.#db
          .prepare<[string, number], { session: string; used_at: number | null }>(
            `select token.session, token.used_at from refresh_tokens token
               join sessions session on session.id = token.session
             where token.hash = ? and session.ended_at is null and session.expires_at > ?`,
          )
          .get(hashToken(token), now);
        if (!found) return null;
        if (found.used_at !== null && found.used_at < now - limits.session.refreshGraceMs) {
          this.end(found.session);
          return null;
        }
        this.#db
          .prepare('update refresh_tokens set used_at = coalesce(used_at, ?) where hash = ?')
          .run(now, hashToken(token));
        this.#db
          .prepare('update sessions set expires_at = ? where id = ?')
          .run(now + limits.session.refreshMs, found.session);
        return { session: found.session, refreshToken: this.#issue(found.session) };
      })
      .immediate();
  }

  end(session: string): void {
    this.#db
      .prepare('update sessions set ended_at = ? where id = ? and ended_at is null')
      .run(Date.now(), session);
  }

  /** Ends every session of a person, but for one where that is asked. Returns how many. */
  endAll(user: string, except: string | null = null): number {
    return this.#db
      .prepare('update sessions set ended_at = ? where user = ? and ended_at is null and id is not ?')
      .run(Date.now(), user, except).changes;
  }

  /** The sessions of a person that go on, newest first. */
  list(user: string): SessionRecord[] {
    return this.#db
      .prepare<[string, number], SessionRecord>(
        `select id, created_at as createdAt, expires_at as expiresAt, address, agent from sessions
         where user = ? and ended_at is null and expires_at > ? order by id desc`,
      )
      .all(user, Date.now());
  }

  /** Forgets what ended long ago. */
  /** Removes sessions of a person, at most so many. Returns how many. */
  removeOf(user: string, most: number): number {
    return this.#db
      .prepare('delete from sessions where id in (select id from sessions where user = ? limit ?)')
      .run(user, most).changes;
  }

  sweep(most: number): number {
    const past = Date.now() - limits.session.refreshMs;
    return this.#db
      .prepare(
        'delete from sessions where id in (select id from sessions where expires_at < ? or ended_at < ? limit ?)',
      )
      .run(past, past, most).changes;
  }

  #issue(session: string): string {
    const token = secretToken();
    this.#db
      .prepare('insert into refresh_tokens (hash, session, created_at) values (?, ?, ?)')
      .run(hashToken(token), session, Date.now());
    return token;
  }
}
