import type { Database } from 'better-sqlite3';
import { newId } from '../db/ids.ts';
import type { Role } from '../tenants/tenant.ts';
import { hashToken, secretToken } from '../secrets/secret-token.ts';

export interface Invitation {
  readonly id: string;
  /** The company one is invited to; null invites to found one. */
  readonly tenant: string | null;
  readonly email: string;
  readonly role: Role;
  /** For a company that is yet to be: its plan and first credits. */
  readonly plan: string | null;
  readonly credits: number;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** Invitations that are open: to a company, or to found one. */
export class InvitationStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** A new invitation, and the token that accepts it, which can be seen only here. */
  create(
    invitation: Omit<Invitation, 'id' | 'createdAt' | 'expiresAt'>,
    lifetimeMs: number,
  ): { invitation: Invitation; token: string } {
    const token = secretToken();
    const createdAt = Date.now();
    const made = { ...invitation, id: newId('invitation'), createdAt, expiresAt: createdAt + lifetimeMs };
    this.#db
      .prepare(
        `insert into invitations (id, hash, tenant, email, role, plan, credits, created_at, expires_at)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        made.id,
        hashToken(token),
        made.tenant,
        made.email,
        made.role,
        made.plan,
        made.credits,
        createdAt,
        made.expiresAt,
      );
    return { invitation: made, token };
  }

  /** The open invitation behind a token. */
  byToken(token: string): Invitation | undefined {
    return this.#db
      .prepare<[string, number], Invitation>(`${columns} and hash = ? and expires_at > ?`)
      .get(hashToken(token), Date.now());
  }

  find(id: string): Invitation | undefined {
    return this.#db.prepare<[string], Invitation>(`${columns} and id = ?`).get(id);
  }

  /** Those of a company, newest first; with null, those to found one. */
  list(tenant: string | null): Invitation[] {
    return this.#db
      .prepare<[string | null], Invitation>(`${columns} and tenant is ? order by id desc`)
      .all(tenant);
  }

  /** Marks it as used. False when somebody was faster. */
  accept(id: string): boolean {
    return (
      this.#db
        .prepare('update invitations set accepted_at = ? where id = ? and accepted_at is null')
        .run(Date.now(), id).changes === 1
    );
  }

  remove(id: string): boolean {
    return this.#db.prepare('delete from invitations where id = ?').run(id).changes === 1;
  }

  /** Removes those to an address, also those that were accepted. */
  removeTo(email: string): void {
    this.#db.prepare('delete from invitations where email = ?').run(email);
  }

  sweep(most: number): number {
    return this.#db
      .prepare(
        'delete from invitations where id in (select id from invitations where expires_at <= ? limit ?)',
      )
      .run(Date.now(), most).changes;
  }
}

const columns = `select id, tenant, email, role, plan, credits, created_at as createdAt, expires_at as expiresAt
  from invitations where accepted_at is null`;
