import type { Database, Statement } from 'better-sqlite3';
import { newId } from '../db/ids.ts';
import type { Offers } from '../offers/offers.ts';
import type { PlanOverrides } from '../offers/plans.ts';
import { resolveLimits, type Tenant } from './tenant.ts';

/** A tenant with an account, as it is kept. */
export interface TenantRecord {
  readonly id: string;
  readonly name: string;
  readonly plan: string;
  readonly overrides: PlanOverrides;
  readonly allowNSFW: boolean;
  readonly blockedPhrases: readonly string[];
  readonly history: 'none' | 'encrypted';
  /** Whether everybody of the company sees everybody's jobs and uploads. */
  readonly sharesWork: boolean;
  readonly suspendedAt: number | null;
  readonly createdAt: number;
}

export type TenantChange = Partial<Omit<TenantRecord, 'id' | 'createdAt'>>;

interface Row {
  readonly id: string;
  readonly name: string;
  readonly plan: string;
  readonly overrides: string;
  readonly allow_nsfw: 0 | 1;
  readonly blocked_phrases: string;
  readonly history: 'none' | 'encrypted';
  readonly shares_work: 0 | 1;
  readonly suspended_at: number | null;
  readonly created_at: number;
  readonly version: number;
}

/** The tenants that have accounts. */
export class TenantStore {
  readonly #db: Database;
  readonly #offers: Offers;
  readonly #byId: Statement<[string], Row>;
  readonly #nameOf: Statement<[string], string>;
  /** Resolved tenants by id, believed only while the row's version is the one they were made of. */
  readonly #resolved = new Map<string, { version: number; tenant: Tenant }>();

  constructor(db: Database, offers: Offers) {
    this.#db = db;
    this.#offers = offers;
    this.#byId = db.prepare('select * from tenants where id = ?');
    this.#nameOf = db.prepare<[string], string>('select name from tenants where id = ?').pluck();
    db.function('folded', { deterministic: true }, (name) => folded(String(name)));
    offers.onChange(() => this.#resolved.clear());
  }

  create(tenant: { name: string; plan: string }): TenantRecord {
    const id = newId('tenant');
    this.#db
      .prepare('insert into tenants (id, name, plan, created_at) values (?, ?, ?, ?)')
      .run(id, tenant.name, tenant.plan, Date.now());
    return this.#record(id);
  }

  find(id: string): TenantRecord | undefined {
    const row = this.#byId.get(id);
    return row && recordOf(row);
  }

  /** Newest first, from an id of an earlier page on; with `search`, those whose name or id contains it. */
  page(after: string | undefined, limit: number, search = ''): TenantRecord[] {
    return this.#db
      .prepare<[{ after: string; limit: number; search: string }], Row>(
        `select * from tenants where id < :after and (:search = '' or id = :search or instr(folded(name), folded(:search)))
         order by id desc limit :limit`,
      )
      .all({ after: after ?? '~', limit, search })
      .map(recordOf);
  }

  /** What a tenant is called; undefined for one that has no account or was deleted. */
  nameOf(id: string): string | undefined {
    return this.#nameOf.get(id);
  }

  /** The names of tenants on a plan, oldest first, and how many there are. */
  onPlan(plan: string, limit: number): { count: number; names: string[] } {
    const count = this.#db
      .prepare<[string], number>('select count(*) from tenants where plan = ?')
      .pluck()
      .get(plan);
    const names = this.#db
      .prepare<[string, number], string>('select name from tenants where plan = ? order by id limit ?')
      .pluck()
      .all(plan, limit);
    return { count: count ?? 0, names };
  }

  change(id: string, change: TenantChange): TenantRecord {
    const next = { ...this.#record(id), ...change };
    this.#db
      .prepare(
        `update tenants set name = ?, plan = ?, overrides = ?, allow_nsfw = ?, blocked_phrases = ?, history = ?, shares_work = ?,
           suspended_at = ? where id = ?`,
      )
      .run(
        next.name,
        next.plan,
        JSON.stringify(next.overrides),
        next.allowNSFW ? 1 : 0,
        JSON.stringify(next.blockedPhrases),
        next.history,
        next.sharesWork ? 1 : 0,
        next.suspendedAt,
        id,
      );
    return next;
  }

  remove(id: string): void {
    this.#db.prepare('delete from tenants where id = ?').run(id);
    this.#resolved.delete(id);
  }

  /** The tenant as admission sees it, of this version of its row. */
  resolve(id: string, version: number): Tenant {
    const known = this.#resolved.get(id);
    if (known?.version === version) return known.tenant;
    const record = this.#record(id);
    // A plan that the operator took away leaves its tenants with the smallest one until they get another.
    const { plans } = this.#offers;
    const plan = plans[record.plan] ?? plans['free'] ?? Object.values(plans)[0];
    if (!plan) throw new Error('There are no plans.');
    const tenant: Tenant = {
      id,
      plan: record.plan,
      limits: resolveLimits(plan, record.overrides),
      allowNSFW: record.allowNSFW,
      disabled: record.suspendedAt !== null,
      blockedPhrases: record.blockedPhrases,
      account: id,
      history: record.history,
      sharesWork: record.sharesWork,
    };
    this.#resolved.set(id, { version, tenant });
    return tenant;
  }

  #record(id: string): TenantRecord {
    const record = this.find(id);
    if (!record) throw new Error(`There is no tenant ${id}.`);
    return record;
  }
}

/** A name as it is compared in a search: without case, and with one form for each accented letter. */
export function folded(name: string): string {
  return name.normalize('NFKC').toLowerCase();
}

function recordOf(row: Row): TenantRecord {
  return {
    id: row.id,
    name: row.name,
    plan: row.plan,
    overrides: JSON.parse(row.overrides) as PlanOverrides,
    allowNSFW: row.allow_nsfw === 1,
    blockedPhrases: JSON.parse(row.blocked_phrases) as string[],
    history: row.history,
    sharesWork: row.shares_work === 1,
    suspendedAt: row.suspended_at,
    createdAt: row.created_at,
  };
}
