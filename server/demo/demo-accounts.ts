import { randomBytes } from 'node:crypto';
import type { AccountDeps } from '../accounts/account-deps.ts';
import { system } from '../audit/audit-log.ts';

/** People to try things out as. */
export interface DemoAccounts {
  readonly emails: readonly string[];
  readonly password: string;
}

const plans = ['free', 'pro', 'plus', 'enterprise'] as const;
const emailOf = (plan: string): string => `${plan}@demo.invalid`;
const credits = 100;

/**
 * One company a plan, each with somebody who administers it, a new password at every start, and credits. Not in a
 * folder that real people use: where the engines are just not found for once, nobody is let in that way.
 */
export async function openDemoAccounts(deps: AccountDeps): Promise<DemoAccounts | null> {
  const { users, tenants, passwords, ledger, sessions, audit } = deps;
  const isDemo = new Set(plans.map(emailOf));
  if (users.page(undefined, plans.length + 1).some(({ email }) => !isDemo.has(email)))
    return closeDemoAccounts(deps);
  const password = randomBytes(9).toString('base64url');
  const passwordHash = await passwords.hash(password);
  ledger.atomically(() => {
    for (const plan of plans) {
      const email = emailOf(plan);
      const known = users.byEmail(email);
      if (known) {
        users.change(known.id, { passwordHash, disabledAt: null });
        sessions.endAll(known.id);
        continue;
      }
      const tenant = tenants.create({ name: `Demo ${plan}`, plan });
      const emailVerifiedAt = Date.now();
      const name = `Demo ${plan}`;
      users.create({ tenant: tenant.id, email, name, role: 'admin', passwordHash, emailVerifiedAt });
      ledger.grant({ id: `demo:${tenant.id}`, account: tenant.id, credits, reason: 'demo' });
      audit.add(system, { action: 'tenant.create', target: tenant.id, tenant: tenant.id, after: { plan } });
    }
  });
  return { emails: plans.map(emailOf), password };
}

/** Where a folder was used for the demonstration before, its people are shut out, and their keys with them. */
export function closeDemoAccounts({ users, sessions, directory }: AccountDeps): null {
  for (const plan of plans) {
    const user = users.byEmail(emailOf(plan));
    if (!user || user.disabledAt !== null) continue;
    users.change(user.id, { disabledAt: Date.now() });
    sessions.endAll(user.id);
  }
  directory.changed();
  return null;
}
