import type { Database } from 'better-sqlite3';
import { limits } from '../contract/limits.ts';

/** Who acts, and from where. */
export interface Actor {
  readonly kind: 'operator' | 'user' | 'system';
  readonly id: string | null;
  readonly address: string | null;
  readonly requestId: string | null;
}

export const system: Actor = { kind: 'system', id: null, address: null, requestId: null };

export interface Act {
  /** What was done: `key.revoke`, `tenant.suspend`. */
  readonly action: string;
  readonly target?: string | null;
  readonly tenant?: string | null;
  /** What it was before and after. No names, addresses or secrets: this is kept for ever. */
  readonly before?: object | null;
  readonly after?: object | null;
  readonly reason?: string | null;
}

export interface AuditEntry {
  readonly sequence: number;
  readonly at: number;
  readonly actorKind: string;
  readonly actor: string | null;
  readonly address: string | null;
  readonly action: string;
  readonly target: string | null;
  readonly tenant: string | null;
  readonly before: string | null;
  readonly after: string | null;
  readonly reason: string | null;
  readonly requestId: string | null;
}

export interface AuditFilter {
  readonly tenant?: string | undefined;
  readonly actor?: string | undefined;
  /** An action, or with * at its end all that begin so. */
  readonly action?: string | undefined;
  readonly from?: number | undefined;
  readonly until?: number | undefined;
}

/** Who did what to whom, for every act that matters to security or money. Written with the act, never changed. */
export class AuditLog {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  add(actor: Actor, { action, target, tenant, before, after, reason }: Act): void {
    this.#db
      .prepare(
        `insert into audit (at, actor_kind, actor, address, action, target, tenant, before, after, reason, request_id)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        Date.now(),
        actor.kind,
        actor.id,
        actor.address,
        action,
        target ?? null,
        tenant ?? null,
        before ? JSON.stringify(before) : null,
        after ? JSON.stringify(after) : null,
        reason ?? null,
        actor.requestId,
      );
  }

  /** Newest first, from a sequence of an earlier page on. */
  page(filter: AuditFilter, after: number | undefined, limit: number): AuditEntry[] {
    const { tenant, actor, action, from, until } = filter;
    const isPrefix = action?.endsWith('*') ?? false;
    const prefix = isPrefix ? action?.slice(0, -1) : undefined;
    return this.#db
      .prepare<Record<string, string | number | null>, AuditEntry>(
        `select sequence, at, actor_kind as actorKind, actor, address, action, target, tenant, before, after, reason,
           request_id as requestId
         from audit
         where sequence < :after and (:tenant is null or tenant = :tenant) and (:actor is null or actor = :actor)
           and (:action is null or action = :action)
           and (:prefix is null or substr(action, 1, length(:prefix)) = :prefix)
           and at >= :from and at < :until
         order by sequence desc limit :limit`,
      )
      .all({
        after: after ?? Number.MAX_SAFE_INTEGER,
        tenant: tenant ?? null,
        actor: actor ?? null,
        action: isPrefix ? null : (action ?? null),
        prefix: prefix ?? null,
        from: from ?? 0,
        until: until ?? Number.MAX_SAFE_INTEGER,
        limit,
      });
  }

  /** Every entry of a filter, newest first, read a page at a time so that nothing else has to wait. */
  *all(filter: AuditFilter): Generator<AuditEntry> {
    let after: number | undefined;
    for (;;) {
      const page = this.page(filter, after, limits.turn.rows);
      yield* page;
      after = page.at(-1)?.sequence;
      if (page.length < limits.turn.rows) return;
    }
  }

  /**
   * Takes out the addresses of a person or a whole tenant to be forgotten, in at most `most` entries; what was done
   * stays. Returns how many there were.
   */
  forgetAddresses(whose: { readonly user: string } | { readonly tenant: string }, most: number): number {
    const isHis = 'tenant' in whose ? 'tenant = :id' : '(actor = :id or target = :id)';
    const id = 'tenant' in whose ? whose.tenant : whose.user;
    return this.#db
      .prepare(
        `update audit set address = null where sequence in
           (select sequence from audit where ${isHis} and address is not null limit :most)`,
      )
      .run({ id, most }).changes;
  }
}
