import type { Database } from 'better-sqlite3';
import type { Actor } from '../audit/audit-log.ts';

/** A person or a company that is being forgotten. */
export interface Erasure {
  readonly id: string;
  readonly tenant: string;
  readonly kind: 'person' | 'company';
  readonly actor: Actor;
}

/** Erasures that have begun and not ended: what a crash interrupts is taken up at the next start. */
export class ErasureStore {
  readonly #db: Database;
  readonly #running = new Map<string, Promise<void>>();

  constructor(db: Database) {
    this.#db = db;
  }

  begin({ id, tenant, kind, actor }: Erasure): void {
    this.#db
      .prepare('insert or ignore into erasures (id, tenant, kind, actor, at) values (?, ?, ?, ?, ?)')
      .run(id, tenant, kind, JSON.stringify({ ...actor, address: null }), Date.now());
  }

  end(id: string): void {
    this.#db.prepare('delete from erasures where id = ?').run(id);
  }

  open(): Erasure[] {
    return this.#db
      .prepare<[], Omit<Erasure, 'actor'> & { actor: string }>('select id, tenant, kind, actor from erasures')
      .all()
      .map((row) => ({ ...row, actor: JSON.parse(row.actor) as Actor }));
  }

  /** Does the work of an erasure, or waits for whoever does it already. */
  once(id: string, work: () => Promise<void>): Promise<void> {
    let running = this.#running.get(id);
    if (!running) {
      running = work().finally(() => this.#running.delete(id));
      this.#running.set(id, running);
    }
    return running;
  }
}
