import type { Statement, Database } from 'better-sqlite3';
import { limits } from '../contract/limits.ts';
import { hashApiKey, isApiKey } from './api-key.ts';
import { type FileTenants, isPast } from './file-tenants.ts';
import { type KeyStore, type LiveKey, patterns } from './key-store.ts';
import { type Identity, isCurrent, type Role, type Tenant } from './tenant.ts';
import type { TenantStore } from './tenant-store.ts';

/** The longest that a timer can wait. */
const longestTimerMs = 2 ** 31 - 1;

/** A person's session, if it may be used now. */
interface LiveSession {
  readonly user: string;
  readonly role: Role;
  readonly tenant: string;
  readonly version: number;
  readonly models: string | null;
  readonly features: string | null;
}

/** Who stands behind a key or a session, wherever they are kept. Asks the database each time: nothing is cached. */
export class Directory {
  readonly #files: FileTenants;
  readonly #tenants: TenantStore;
  readonly #keys: KeyStore;
  readonly #session: Statement<[string, number], LiveSession>;
  readonly #version: Statement<[string], number>;
  readonly #listeners = new Set<() => void>();

  constructor(parts: { db: Database; files: FileTenants; tenants: TenantStore; keys: KeyStore }) {
    this.#files = parts.files;
    this.#tenants = parts.tenants;
    this.#keys = parts.keys;
    this.#session = parts.db.prepare(
      `select person.id as user, person.role, person.tenant, tenant.version, person.models, person.features
       from sessions session join users person on person.id = session.user
         join tenants tenant on tenant.id = person.tenant
       where session.id = ? and session.ended_at is null and session.expires_at > ? and person.disabled_at is null`,
    );
    this.#version = parts.db.prepare<[string], number>('select version from tenants where id = ?').pluck();
    parts.files.onChange(() => this.changed());
  }

  /** Who a key belongs to; undefined for one that is unknown, expired or revoked. */
  byKey(key: string): Identity | undefined {
    if (key.length > limits.keyCharacters) return undefined;
    const hash = hashApiKey(key);
    const ofFile = this.#files.byHash(hash);
    if (ofFile) return isPast(ofFile.expiresAt) ? undefined : ofFile;
    // A text that cannot be one of our keys costs no look at the database.
    const live = isApiKey(key) ? this.#keys.live(hash) : undefined;
    if (!live) return undefined;
    this.#keys.used(live.id);
    return this.#ofKey(live, hash);
  }

  /** Who a session belongs to; undefined for one that has ended, or whose person was disabled. */
  bySession(id: string): Identity | undefined {
    const live = this.#session.get(id, Date.now());
    if (!live) return undefined;
    return {
      id: live.user,
      tenant: this.#tenants.resolve(live.tenant, live.version),
      user: { id: live.user, role: live.role, session: id },
      person: live.user,
      models: lists(live.models),
      features: lists(live.features),
      expiresAt: null,
      renewed: () => this.bySession(id),
    };
  }

  /** A tenant by its id, wherever it is kept. */
  tenant(id: string): Tenant | undefined {
    const version = this.#version.get(id);
    if (version !== undefined) return this.#tenants.resolve(id, version);
    return this.#files.all().find(({ tenant }) => tenant.id === id)?.tenant;
  }

  /** To be called after a change that may have taken a right from somebody: running work is looked at again. */
  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  /** The ids of keys that were taken out of tenants.json since the start. */
  removedKeys(): string[] {
    return this.#files.removed();
  }

  /** Returns how to be told no more. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls back once whoever asked would not be let in any more (A1). Returns how to stop that. */
  onEndOf(identity: Identity, end: () => void): () => void {
    const check = (): void => {
      if (isCurrent(identity)) return;
      stop();
      end();
    };
    const unwatch = this.onChange(check);
    const leftMs = identity.expiresAt === null ? Infinity : identity.expiresAt - Date.now();
    const expiry = leftMs <= longestTimerMs ? setTimeout(check, leftMs + 1).unref() : null;
    const stop = (): void => {
      unwatch();
      if (expiry) clearTimeout(expiry);
    };
    // It may have ended before anybody listened.
    check();
    return stop;
  }

  #ofKey(live: LiveKey, hash: string): Identity {
    return {
      id: live.id,
      tenant: this.#tenants.resolve(live.tenant, live.version),
      user: null,
      person: live.createdBy,
      models: lists(live.models, live.userModels),
      features: lists(live.features, live.userFeatures),
      expiresAt: live.expiresAt,
      renewed: () => {
        const now = this.#keys.live(hash);
        return now && this.#ofKey(now, hash);
      },
    };
  }
}

function lists(...texts: (string | null)[]): (readonly string[])[] {
  return texts.flatMap((text) => {
    const list = patterns(text);
    return list ? [list] : [];
  });
}
