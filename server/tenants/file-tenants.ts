import { type Static, Type } from 'typebox';
import { hashApiKey, keyId } from './api-key.ts';
import { Plan } from './plans.ts';

/** What tenants.json says of a key. */
export const TenantEntry = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
    plan: Type.Optional(Type.String({ description: 'free when missing.' })),
    allowNSFW: Type.Optional(Type.Boolean()),
    disabled: Type.Optional(Type.Boolean()),
    expires: Type.Optional(Type.String({ description: 'ISO date and time after which the key is refused.' })),
    models: Type.Optional(Type.Array(Type.String())),
    blockedPhrases: Type.Optional(Type.Array(Type.String({ maxLength: 200 }), { maxItems: 2_000 })),
    limits: Type.Optional(
      Type.Partial(Type.Pick(Plan, ['requestsPerMinute', 'concurrent', 'queued', 'weight'])),
    ),
  },
  { additionalProperties: false },
);
export type TenantEntry = Static<typeof TenantEntry>;

const keyPattern = /^(sha256:[0-9a-f]{64}|.{12,256})$/;

/** By key: the key itself, or `sha256:` and its hash in hexadecimal for those who do not want it in a file. */
export const TenantsFile = Type.Record(Type.String(), TenantEntry);
export type TenantsFile = Static<typeof TenantsFile>;

/** Who a key acts for, with everything the plan and the entry say, resolved once. */
export interface Tenant {
  readonly id: string;
  readonly plan: string;
  readonly limits: Plan;
  readonly allowNSFW: boolean;
  readonly disabled: boolean;
  readonly blockedPhrases: readonly string[];
}

export interface Identity {
  readonly tenant: Tenant;
  readonly keyHash: string;
  readonly keyId: string;
  /** Wall-clock milliseconds; null for a key that does not expire. */
  readonly expiresAt: number | null;
}

/** A tenants file that names a plan we do not have, or another thing that cannot be. */
export class InvalidTenants extends Error {
  override readonly name = 'InvalidTenants';
}

/** Entries as identities by key hash. Raw keys go no further than this. */
export function identitiesOf(file: TenantsFile, plans: ReadonlyMap<string, Plan>): Map<string, Identity> {
  const identities = new Map<string, Identity>();
  for (const [key, entry] of Object.entries(file)) {
    if (!keyPattern.test(key)) {
      throw new InvalidTenants(
        `"${key.slice(0, 20)}" is no key: 12 characters at least, or sha256: and 64 hexadecimal digits.`,
      );
    }
    const hash = key.startsWith('sha256:') ? key.slice('sha256:'.length) : hashApiKey(key);
    identities.set(hash, identityOf(hash, entry, plans));
  }
  return identities;
}

export function identityOf(hash: string, entry: TenantEntry, plans: ReadonlyMap<string, Plan>): Identity {
  const planName = entry.plan ?? 'free';
  const plan = plans.get(planName);
  const id = entry.name ?? `tenant-${keyId(hash)}`;
  if (!plan)
    throw new InvalidTenants(`${id} has the plan "${planName}"; there are ${[...plans.keys()].join(', ')}.`);
  const expiresAt = entry.expires === undefined ? null : Date.parse(entry.expires);
  if (expiresAt !== null && Number.isNaN(expiresAt)) {
    throw new InvalidTenants(`${id} expires at "${entry.expires}", which is no date.`);
  }
  return {
    keyHash: hash,
    keyId: keyId(hash),
    expiresAt,
    tenant: {
      id,
      plan: planName,
      limits: { ...plan, ...(entry.models && { models: entry.models }), ...entry.limits },
      allowNSFW: entry.allowNSFW ?? false,
      disabled: entry.disabled ?? false,
      blockedPhrases: entry.blockedPhrases ?? [],
    },
  };
}

/** The tenants as they are now. Whoever holds on to an identity asks `isCurrent` before believing it again. */
export class Tenants {
  #file: ReadonlyMap<string, Identity> = new Map();
  readonly #own = new Map<string, Identity>();
  readonly #listeners: (() => void)[] = [];

  /** Replaces all that came from the file, at once. */
  replace(identities: ReadonlyMap<string, Identity>): void {
    this.#file = identities;
    for (const listener of this.#listeners) listener();
  }

  /** Adds a tenant of ours that no file knows (the demonstration's). */
  add(identity: Identity): void {
    this.#own.set(identity.keyHash, identity);
  }

  byKey(key: string): Identity | undefined {
    return this.byHash(hashApiKey(key));
  }

  byHash(hash: string): Identity | undefined {
    return this.#own.get(hash) ?? this.#file.get(hash);
  }

  all(): Identity[] {
    return [...this.#own.values(), ...this.#file.values()];
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
}
