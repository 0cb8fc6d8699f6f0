import type { Database, Statement } from 'better-sqlite3';
import { newId } from '../db/ids.ts';
import { hashApiKey, newApiKey } from './api-key.ts';

/** A key as its owner sees it: everything but the key. */
export interface KeyRecord {
  readonly id: string;
  readonly tenant: string;
  readonly createdBy: string | null;
  readonly name: string;
  readonly prefix: string;
  readonly lastFour: string;
  /** Patterns; null is everything that whoever made it may use. */
  readonly models: readonly string[] | null;
  readonly features: readonly string[] | null;
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
  readonly rotatedTo: string | null;
  readonly lastUsedAt: number | null;
}

export interface NewKey {
  readonly tenant: string;
  readonly createdBy: string | null;
  readonly name: string;
  readonly models?: readonly string[] | null;
  readonly features?: readonly string[] | null;
  readonly expiresAt?: number | null;
}

/** A key that was just made: the one time that it can be seen. */
export interface MadeKey {
  readonly key: string;
  readonly record: KeyRecord;
}

/** What stands behind a key that may be used now. */
export interface LiveKey {
  readonly id: string;
  readonly tenant: string;
  readonly createdBy: string | null;
  readonly version: number;
  readonly models: string | null;
  readonly features: string | null;
  readonly userModels: string | null;
  readonly userFeatures: string | null;
  readonly expiresAt: number | null;
}

const flushMs = 5_000;

/** The API keys of tenants with accounts. A key is looked up anew each time it is used, so nothing can be stale (A1). */
export class KeyStore {
  readonly #db: Database;
  readonly #live: Statement<[string, number], LiveKey>;
  readonly #used = new Map<string, number>();
  readonly #onError: (error: unknown) => void;
  readonly #timer: NodeJS.Timeout;

  /** `onError` is told when the times of use could not be written; they are statistics, and serving goes on. */
  constructor(db: Database, onError: (error: unknown) => void) {
    this.#db = db;
    this.#onError = onError;
    this.#live = db.prepare(
      `select key.id, key.tenant, key.created_by as createdBy, tenant.version, key.models, key.features, key.expires_at as expiresAt,
         maker.models as userModels, maker.features as userFeatures
       from api_keys key join tenants tenant on tenant.id = key.tenant
         left join users maker on maker.id = key.created_by
       where key.hash = ? and key.revoked_at is null and maker.disabled_at is null
         and (key.expires_at is null or key.expires_at > ?)`,
    );
    this.#timer = setInterval(() => this.flush(), flushMs).unref();
  }

  create({ tenant, createdBy, name, models = null, features = null, expiresAt = null }: NewKey): MadeKey {
    const key = newApiKey();
    const id = newId('key');
    this.#db
      .prepare(
        `insert into api_keys (id, tenant, created_by, name, hash, prefix, last_four, models, features, created_at, expires_at)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        id,
        tenant,
        createdBy,
        name,
        hashApiKey(key),
        key.slice(0, 7),
        key.slice(-4),
        models && JSON.stringify(models),
        features && JSON.stringify(features),
        Date.now(),
        expiresAt,
      );
    return { key, record: this.#record(id) };
  }

  /** The key behind a hash, if it may be used at this moment. */
  live(hash: string): LiveKey | undefined {
    return this.#live.get(hash, Date.now());
  }

  find(id: string): KeyRecord | undefined {
    const row = this.#db.prepare<[string], Row>(`${columns} where id = ?`).get(id);
    return row && recordOf(row);
  }

  /** The keys of a tenant, newest first; of one person where one is named. */
  list(tenant: string, createdBy?: string): KeyRecord[] {
    this.flush();
    return this.#db
      .prepare<[string, string | null, string | null], Row>(
        `${columns} where tenant = ? and (? is null or created_by = ?) order by id desc`,
      )
      .all(tenant, createdBy ?? null, createdBy ?? null)
      .map(recordOf);
  }

  /** Refused from this moment on. False for one that was revoked before. */
  revoke(id: string): boolean {
    const { changes } = this.#db
      .prepare('update api_keys set revoked_at = ? where id = ? and revoked_at is null')
      .run(Date.now(), id);
    return changes === 1;
  }

  /** A new key with the rights of an old one, which goes on working until the grace is over. */
  rotate(old: KeyRecord, graceMs: number): MadeKey {
    return this.#db.transaction(() => {
      const made = this.create({ ...old, expiresAt: old.expiresAt });
      const until = Date.now() + graceMs;
      this.#db
        .prepare(
          'update api_keys set rotated_to = ?, expires_at = min(coalesce(expires_at, ?), ?) where id = ?',
        )
        .run(made.record.id, until, until, old.id);
      return made;
    })();
  }

  /** Remembers that a key was used; written down every few seconds, for a commit a request would be too many. */
  used(id: string): void {
    this.#used.set(id, Date.now());
  }

  flush(): void {
    if (this.#used.size === 0) return;
    const used = [...this.#used];
    this.#used.clear();
    const write = this.#db.prepare('update api_keys set last_used_at = ? where id = ?');
    try {
      this.#db.transaction(() => {
        for (const [id, at] of used) write.run(at, id);
      })();
    } catch (error) {
      this.#onError(error);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.flush();
  }

  #record(id: string): KeyRecord {
    const record = this.find(id);
    if (!record) throw new Error(`There is no key ${id}.`);
    return record;
  }
}

const columns = `select id, tenant, created_by as createdBy, name, prefix, last_four as lastFour, models, features,
  created_at as createdAt, expires_at as expiresAt, revoked_at as revokedAt, rotated_to as rotatedTo,
  last_used_at as lastUsedAt from api_keys`;

interface Row extends Omit<KeyRecord, 'models' | 'features'> {
  readonly models: string | null;
  readonly features: string | null;
}

function recordOf(row: Row): KeyRecord {
  return { ...row, models: patterns(row.models), features: patterns(row.features) };
}

/** A list of patterns as it is kept. */
export function patterns(text: string | null): readonly string[] | null {
  return text === null ? null : (JSON.parse(text) as string[]);
}
