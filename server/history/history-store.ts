import type { Database } from 'better-sqlite3';
import type { Vault } from '../secrets/vault.ts';

export interface KeptPrompts {
  readonly id: string;
  /** Who asked, or made the key that did. */
  readonly user: string | null;
  readonly feature: string;
  readonly model: string;
  readonly at: number;
  /** What was asked, as the request said it. */
  readonly prompts: unknown;
}

export interface HistoryItem extends KeptPrompts {
  /** Where the next page begins. */
  readonly sequence: number;
}

/** A tenant's, or of those what one person asked; null is nobody who is known. */
export interface Whose {
  readonly tenant: string;
  readonly user?: string | null;
}

interface Row extends Omit<HistoryItem, 'prompts'> {
  readonly content: Buffer;
}

/** Prompts of tenants who want them kept: encrypted, for as long as their plan says. Nothing is kept of the others. */
export class HistoryStore {
  readonly #db: Database;
  readonly #vault: Vault;

  constructor(db: Database, vault: Vault) {
    this.#db = db;
    this.#vault = vault;
  }

  add(tenant: string, { id, user, feature, model, at, prompts }: KeptPrompts): void {
    const content = this.#vault.seal(tenant, JSON.stringify(prompts));
    this.#db
      .prepare(
        'insert into history (id, tenant, user, feature, model, at, content) values (?, ?, ?, ?, ?, ?, ?)',
      )
      .run(id, tenant, user, feature, model, at, content);
  }

  /** Newest first, from a sequence of an earlier page on. */
  page({ tenant, user }: Whose, after: number | undefined, limit: number): HistoryItem[] {
    return this.#db
      .prepare<[string, number, 0 | 1, string | null, number], Row>(
        `select sequence, id, user, feature, model, at, content from history
         where tenant = ? and sequence < ? and (? or user is ?) order by sequence desc limit ?`,
      )
      .all(tenant, after ?? Number.MAX_SAFE_INTEGER, user === undefined ? 1 : 0, user ?? null, limit)
      .map(({ content, ...row }) => ({
        ...row,
        prompts: JSON.parse(this.#vault.open(tenant, content).toString()) as unknown,
      }));
  }

  /** Removes one, or all. Returns how many. */
  remove({ tenant, user }: Whose, id: string | null): number {
    return this.#db
      .prepare('delete from history where tenant = ? and (? or user is ?) and (? is null or id = ?)')
      .run(tenant, user === undefined ? 1 : 0, user ?? null, id, id).changes;
  }

  /** Removes what is older than a moment. Returns how many. */
  removeBefore(tenant: string, moment: number): number {
    return this.#db.prepare('delete from history where tenant = ? and at < ?').run(tenant, moment).changes;
  }

  removeOfUser(user: string): number {
    return this.#db.prepare('delete from history where user = ?').run(user).changes;
  }
}
