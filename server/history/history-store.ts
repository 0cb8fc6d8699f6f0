import type { Database } from 'better-sqlite3';
import { fitting } from '../db/in-turns.ts';
import { distinct, Statements } from '../db/statements.ts';
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

interface Sized {
  readonly sequence: number;
  readonly bytes: number;
}

/** A tenant's, or of those what one person asked; null is nobody who is known. */
export interface Whose {
  readonly tenant: string;
  readonly user?: string | null;
}

/** Prompts of tenants who want them kept: encrypted, for as long as their plan says. Nothing is kept of the others. */
export class HistoryStore {
  readonly #sql: Statements;
  readonly #vault: Vault;

  constructor(db: Database, vault: Vault) {
    this.#sql = new Statements(db);
    this.#vault = vault;
  }

  /**
   * Keeps what was asked. Does nothing when that is not to be kept by now: the tenant, or whoever asked, is gone or being
   * forgotten, or the tenant has its history no longer kept.
   */
  add(tenant: string, { id, user, feature, model, at, prompts }: KeptPrompts): void {
    const content = this.#vault.seal(tenant, JSON.stringify(prompts));
    this.#sql
      .prepare(
        `insert into history (id, tenant, user, feature, model, at, content)
         select :id, :tenant, :user, :feature, :model, :at, :content
         where exists (select 1 from tenants where id = :tenant and history = 'encrypted')
           and (:user is null or exists (select 1 from users where id = :user))
           and not exists (select 1 from erasures where id = :tenant or id = :user)`,
      )
      .run({ id, tenant, user, feature, model, at, content });
  }

  /** What was asked with a request; undefined where it is not kept. */
  find(tenant: string, id: string): unknown {
    const content = this.#sql
      .prepare<[string, string], Buffer>('select content from history where id = ? and tenant = ?')
      .pluck()
      .get(id, tenant);
    return content && (JSON.parse(this.#vault.open(tenant, content).toString()) as unknown);
  }

  remove(tenant: string, id: string): void {
    this.#sql.prepare('delete from history where id = ? and tenant = ?').run(id, tenant);
  }

  /** Removes what is older than a moment, at most `most`. Returns how many. */
  removeBefore(tenant: string, moment: number, most: number): number {
    const found = this.#sql.prepare<[string, number, number], Sized>(
      `select sequence, length(content) as bytes from history where tenant = ? and at < ? order by at limit ?`,
    );
    return this.#removeSome(found.all(tenant, moment, most));
  }

  /** Removes what a person asked, at most `most`. Returns how many. */
  removeOfUser(user: string, most: number): number {
    const found = this.#sql.prepare<[string, number], Sized>(
      `select sequence, length(content) as bytes from history where user = ? limit ?`,
    );
    return this.#removeSome(found.all(user, most));
  }

  /** The tenants that have prompts kept. */
  tenants(): string[] {
    return this.#sql.prepare<[], string>(distinct('history', 'tenant')).pluck().all();
  }

  /** As many as one turn of the event loop may. */
  #removeSome(found: readonly Sized[]): number {
    const some = fitting(found).map(({ sequence }) => sequence);
    this.#sql
      .prepare('delete from history where sequence in (select value from json_each(?))')
      .run(JSON.stringify(some));
    return some.length;
  }
}
