import type { Database } from 'better-sqlite3';
import { newId } from '../db/ids.ts';
import { patterns } from '../tenants/key-store.ts';
import type { Role } from '../tenants/tenant.ts';

export interface UserRecord {
  readonly id: string;
  readonly tenant: string;
  readonly email: string;
  readonly name: string;
  readonly role: Role;
  readonly passwordHash: string;
  /** Patterns; null is everything the plan allows. */
  readonly models: readonly string[] | null;
  readonly features: readonly string[] | null;
  readonly emailVerifiedAt: number | null;
  readonly disabledAt: number | null;
  readonly createdAt: number;
}

export type UserChange = Partial<Omit<UserRecord, 'id' | 'tenant' | 'createdAt'>>;

/** People who can sign in. */
export class UserStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  create(
    user: Pick<UserRecord, 'tenant' | 'email' | 'name' | 'role' | 'passwordHash' | 'emailVerifiedAt'>,
  ): UserRecord {
    const id = newId('user');
    this.#db
      .prepare(
        `insert into users (id, tenant, email, name, role, password_hash, email_verified_at, created_at)
         values (?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        id,
        user.tenant,
        user.email,
        user.name,
        user.role,
        user.passwordHash,
        user.emailVerifiedAt,
        Date.now(),
      );
    return this.#record(id);
  }

  find(id: string): UserRecord | undefined {
    return this.#one('where id = ?', id);
  }

  byEmail(email: string): UserRecord | undefined {
    return this.#one('where email = ?', email);
  }

  ofTenant(tenant: string): UserRecord[] {
    return this.#db
      .prepare<[string], Row>(`${columns} where tenant = ? order by id`)
      .all(tenant)
      .map(recordOf);
  }

  /** Newest first over all tenants, from an id of an earlier page on. */
  page(after: string | undefined, limit: number): UserRecord[] {
    return this.#db
      .prepare<[string, number], Row>(`${columns} where id < ? order by id desc limit ?`)
      .all(after ?? '~', limit)
      .map(recordOf);
  }

  change(id: string, change: UserChange): UserRecord {
    const next = { ...this.#record(id), ...change };
    this.#db
      .prepare(
        `update users set email = ?, name = ?, role = ?, password_hash = ?, models = ?, features = ?,
           email_verified_at = ?, disabled_at = ? where id = ?`,
      )
      .run(
        next.email,
        next.name,
        next.role,
        next.passwordHash,
        next.models && JSON.stringify(next.models),
        next.features && JSON.stringify(next.features),
        next.emailVerifiedAt,
        next.disabledAt,
        id,
      );
    return next;
  }

  /** Sessions, tokens and keys of the person go with it. */
  remove(id: string): void {
    this.#db.prepare('delete from users where id = ?').run(id);
  }

  #one(where: string, value: string): UserRecord | undefined {
    const row = this.#db.prepare<[string], Row>(`${columns} ${where}`).get(value);
    return row && recordOf(row);
  }

  #record(id: string): UserRecord {
    const record = this.find(id);
    if (!record) throw new Error(`There is no user ${id}.`);
    return record;
  }
}

const columns = `select id, tenant, email, name, role, password_hash as passwordHash, models, features,
  email_verified_at as emailVerifiedAt, disabled_at as disabledAt, created_at as createdAt from users`;

interface Row extends Omit<UserRecord, 'models' | 'features'> {
  readonly models: string | null;
  readonly features: string | null;
}

function recordOf(row: Row): UserRecord {
  return { ...row, models: patterns(row.models), features: patterns(row.features) };
}
