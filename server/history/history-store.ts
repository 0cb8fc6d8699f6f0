import type { Database } from 'better-sqlite3';
import type { Vault } from '../secrets/vault.ts';

export interface KeptPrompts {
  readonly id: string;
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
  page(tenant: string, after: number | undefined, limit: number): HistoryItem[] {
    return this.#db
      .prepare<[string, number, number], Row>(
        `select sequence, id, user, feature, model, at, content from history
         where tenant = ? and sequence < ? order by sequence desc limit ?`,
      )
      .all(tenant, after ?? Number.MAX_SAFE_INTEGER, limit)
      .map(({ content, ...row }) => ({
        ...row,
        prompts: JSON.parse(this.#vault.open(tenant, content).toString()) as unknown,
      }));
  }

  /** Removes one, or all of a tenant. Returns how many. */
  remove(tenant: string, id: string | null): number {
    return this.#db
      .prepare('delete from history where tenant = ? and (? is null or id = ?)')
      .run(tenant, id, id).changes;
  }

  /** Removes what is older than a moment. Returns how many. */
  removeBefore(tenant: string, moment: number): number {
    return this.#db.prepare('delete from history where tenant = ? and at < ?').run(tenant, moment).changes;
  }

  removeOfUser(user: string): number {
    return this.#db.prepare('delete from history where user = ?').run(user).changes;
  }
}
