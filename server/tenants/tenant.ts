import { allows, type Plan, type PlanOverrides } from '../offers/plans.ts';

/** Whom work is done for, with everything the plan and what was said for this tenant come to, resolved once. */
export interface Tenant {
  readonly id: string;
  readonly plan: string;
  readonly limits: Plan;
  readonly allowNSFW: boolean;
  readonly disabled: boolean;
  readonly blockedPhrases: readonly string[];
  /** The account that pays; null for tenants of the file that pay nothing. */
  readonly account: string | null;
  /** Whether requests are kept with their prompts. */
  readonly history: 'none' | 'encrypted';
  /** Whether everybody of the tenant sees everybody's jobs and uploads. */
  readonly sharesWork: boolean;
}

export type Role = 'admin' | 'member';

/** Who asks: a key or a person who signed in, and what that one may do for the tenant. */
export interface Identity {
  /** Names the key or person in usage and logs; does not help anyone to use it. */
  readonly id: string;
  readonly tenant: Tenant;
  /** The person, where one signed in. */
  readonly user: { readonly id: string; readonly role: Role; readonly session: string } | null;
  /** Whose it is: the person who signed in, or who made the key; null for keys that the operator made. */
  readonly person: string | null;
  /** Lists of patterns that must each allow a model: of the key, and of the person who made it (T6). */
  readonly models: readonly (readonly string[])[];
  readonly features: readonly (readonly string[])[];
  /** Wall-clock milliseconds; null for one that does not expire. */
  readonly expiresAt: number | null;
  /** The same one as it stands now, with its role, rights and tenant; undefined once it is revoked or has expired. */
  renewed(): Identity | undefined;
}

/** What a plan comes to for one tenant. */
export function resolveLimits(plan: Plan, overrides: PlanOverrides): Plan {
  return { ...plan, ...overrides };
}

/** Whether somebody would still be let in; false once it is revoked, expired or disabled. */
export function isCurrent(identity: Identity): boolean {
  return identity.renewed()?.tenant.disabled === false;
}

export function mayUseModel({ tenant, models }: Identity, model: string): boolean {
  return [tenant.limits.models, ...models].every((patterns) => allows(patterns, model));
}

export function mayUseFeature({ tenant, features }: Identity, feature: string): boolean {
  return [tenant.limits.features, ...features].every((patterns) => allows(patterns, feature));
}
