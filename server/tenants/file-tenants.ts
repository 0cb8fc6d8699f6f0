import { type Static, Type } from 'typebox';
import { limits } from '../contract/limits.ts';
import type { Plan } from '../offers/plans.ts';
import { PlanOverrides } from '../offers/plans.ts';
import { hashApiKey, keyId } from './api-key.ts';
import { type Identity, resolveLimits } from './tenant.ts';

/** What tenants.json says of a key. */
export const TenantEntry = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
    plan: Type.Optional(Type.String({ description: 'free when missing.' })),
    allowNSFW: Type.Optional(Type.Boolean()),
    disabled: Type.Optional(Type.Boolean()),
    expires: Type.Optional(Type.String({ description: 'ISO date and time after which the key is refused.' })),
    credits: Type.Optional(
      Type.Boolean({
        description: 'true: pays from credits that the operator grants; otherwise nothing is charged.',
      }),
    ),
    models: Type.Optional(Type.Array(Type.String())),
    blockedPhrases: Type.Optional(Type.Array(Type.String({ maxLength: 200 }), { maxItems: 2_000 })),
    limits: Type.Optional(PlanOverrides),
  },
  { additionalProperties: false },
);
export type TenantEntry = Static<typeof TenantEntry>;

/** Hashes in either case: `Get-FileHash` of PowerShell writes capitals. */
const hashPattern = /^sha256:\s*([0-9a-f]{64})$/i;
/** Ids of tenants with accounts begin like this, so no entry may. */
const reserved = /^ten_/;

/** By key: the key itself, or `sha256:` and its hash in hexadecimal for those who do not want it in a file. */
export const TenantsFile = Type.Record(Type.String(), TenantEntry);
export type TenantsFile = Static<typeof TenantsFile>;

/** A tenants file that names a plan we do not have, or another thing that cannot be. */
class InvalidTenants extends Error {
  override readonly name = 'InvalidTenants';
}

type FileIdentity = Omit<Identity, 'renewed'>;
type Plans = Readonly<Record<string, Plan>>;

/** Entries as identities by key hash. Raw keys go no further than this. */
export function identitiesOf(file: TenantsFile, plans: Plans): Map<string, FileIdentity> {
  const identities = new Map<string, FileIdentity>();
  for (const [key, entry] of Object.entries(file)) {
    const hash = hashOf(key.trim());
    if (identities.has(hash))
      throw new InvalidTenants(`"${key.slice(0, 20)}" stands there twice, once perhaps as its hash.`);
    identities.set(hash, identityOf(hash, entry, plans));
  }
  return identities;
}

/** The SHA-256 of the key that an entry names, in small hexadecimal letters. */
function hashOf(key: string): string {
  const given = hashPattern.exec(key)?.[1];
  if (given !== undefined) return given.toLowerCase();
  if (!/^sha256:/i.test(key) && key.length >= 12 && key.length <= limits.keyCharacters)
    return hashApiKey(key);
  throw new InvalidTenants(
    `"${key.slice(0, 20)}" is not a key. Use 12 to ${limits.keyCharacters} characters, or sha256: and 64 hexadecimal digits.`,
  );
}

export function identityOf(hash: string, entry: TenantEntry, plans: Plans): FileIdentity {
  const planName = entry.plan ?? 'free';
  const plan = Object.hasOwn(plans, planName) ? plans[planName] : undefined;
  const id = entry.name ?? `tenant-${keyId(hash)}`;
  if (reserved.test(id)) throw new InvalidTenants(`${id} is not allowed as a name: it begins with ten_.`);
  if (!plan)
    throw new InvalidTenants(`${id} has the plan "${planName}"; there are ${Object.keys(plans).join(', ')}.`);
  const expiresAt = entry.expires === undefined ? null : Date.parse(entry.expires);
  if (expiresAt !== null && Number.isNaN(expiresAt)) {
    throw new InvalidTenants(`${id} expires at "${entry.expires}", which is no date.`);
  }
  return {
    id: keyId(hash),
    user: null,
    person: null,
    models: [],
    features: [],
    expiresAt,
    tenant: {
      id,
      plan: planName,
      limits: resolveLimits(plan, { ...(entry.models && { models: entry.models }), ...entry.limits }),
      allowNSFW: entry.allowNSFW ?? false,
      disabled: entry.disabled ?? false,
      blockedPhrases: entry.blockedPhrases ?? [],
      account: entry.credits === true ? `file:${id}` : null,
      history: 'none',
      // Its keys are the company's own; there are no people.
      sharesWork: true,
    },
  };
}

/** The tenants that have no accounts: those of tenants.json, and the demonstration's. */
export class FileTenants {
  #file: ReadonlyMap<string, Identity> = new Map();
  readonly #own = new Map<string, Identity>();
  readonly #removed = new Set<string>();
  readonly #listeners: (() => void)[] = [];

  /** Replaces all that came from the file, at once. */
  replace(identities: ReadonlyMap<string, FileIdentity>): void {
    for (const { id } of this.#file.values()) this.#removed.add(id);
    for (const { id } of identities.values()) this.#removed.delete(id);
    this.#file = new Map([...identities].map(([hash, identity]) => [hash, this.#asked(hash, identity)]));
    for (const listener of this.#listeners) listener();
  }

  /** Adds a tenant of ours that no file knows (the demonstration's). */
  add(hash: string, identity: FileIdentity): void {
    this.#own.set(hash, this.#asked(hash, identity));
  }

  /** The ids of keys that were there since the start, and are not now. */
  removed(): string[] {
    return [...this.#removed];
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

  /** The identity, which asks here anew whether it is still good. */
  #asked(hash: string, identity: FileIdentity): Identity {
    const renewed = (): Identity | undefined => {
      const now = this.byHash(hash);
      return now && !isPast(now.expiresAt) ? now : undefined;
    };
    return { ...identity, renewed };
  }
}

export function isPast(expiresAt: number | null): boolean {
  return expiresAt !== null && expiresAt <= Date.now();
}
