import { createHmac } from 'node:crypto';
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
 * forgiven: both get the same next token, so that there is never a second branch that nobody would miss.
 */
export class SessionStore {
  readonly #db: Database;
  readonly #secret: Uint8Array;

  /** `secret` is that of this installation: what follows on a token can be told by us alone. */
  constructor(db: Database, secret: Uint8Array) {
    this.#db = db;
    this.#secret = secret;
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
      const refreshToken = secretToken();
      this.#keep(refreshToken, session);
      return { session, refreshToken };
    })();
  }

  /** The session and next refresh token for one that is good; null for any other. */
  refresh(token: string): { session: string; refreshToken: string } | null {
    return this.#db
      .transaction(() => {
        const now = Date.now();
        const found = this.#db
          .prepare<[string, number], { session: string; used_at: number | null; created_at: number }>(
            `select token.session, token.used_at, session.created_at from refresh_tokens token
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
        // However often it is refreshed, a session has an end.
        const expiresAt = Math.min(
          now + limits.session.refreshMs,
          found.created_at + limits.session.absoluteMs,
        );
        if (expiresAt <= now) {
          this.end(found.session);
          return null;
        }
        this.#db.prepare('update sessions set expires_at = ? where id = ?').run(expiresAt, found.session);
        const refreshToken = this.#successor(token);
        this.#keep(refreshToken, found.session);
        return { session: found.session, refreshToken };
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

  /** Whether the person was signed in from an address before. */
  isKnown(user: string, address: string): boolean {
    return (
      this.#db.prepare('select 1 from sessions where user = ? and address = ? limit 1').get(user, address) !==
      undefined
    );
  }

  /** Removes sessions of a person, at most `most`. Returns how many. */
  removeOf(user: string, most: number): number {
    return this.#db
      .prepare('delete from sessions where id in (select id from sessions where user = ? limit ?)')
      .run(user, most).changes;
  }

  /** Forgets what ended long ago, and refresh tokens that were used long ago; at most `most`. */
  sweep(most: number): number {
    const now = Date.now();
    const past = now - limits.session.refreshMs;
    const tokens = this.#db
      .prepare(
        'delete from refresh_tokens where hash in (select hash from refresh_tokens where used_at < ? limit ?)',
      )
      .run(now - limits.session.usedTokenMs, most).changes;
    if (tokens > 0) return tokens;
    return this.#db
      .prepare(
        'delete from sessions where id in (select id from sessions where expires_at < ? or ended_at < ? limit ?)',
      )
      .run(past, past, most).changes;
  }

  /** The one token that follows on another. Whoever has that one cannot work it out. */
  #successor(token: string): string {
    return createHmac('sha256', this.#secret).update(`refresh token after ${token}`).digest('base64url');
  }

  #keep(token: string, session: string): void {
    this.#db
      .prepare(
        'insert into refresh_tokens (hash, session, created_at) values (?, ?, ?) on conflict (hash) do nothing',
      )
      .run(hashToken(token), session, Date.now());
  }
}
