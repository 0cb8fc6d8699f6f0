import type { Identity } from './tenant.ts';

/**
 * Whose work somebody sees and may change: jobs with their events and results, uploads, inference results, answers kept
 * for an Idempotency-Key. Null is the whole company's; otherwise the person whose work it is.
 *
 * - An administrator who signed in sees the whole company's.
 * - A member sees its own.
 * - A key that a person made sees what that person did, with any of its keys or signed in. It never sees more, even when
 *   an administrator made it: what an administrator may do wants a session.
 * - A key of the company itself (made by the operator, or from tenants.json) sees the whole company's.
 * - Where the company shares its work, everybody sees the whole company's.
 */
export function eyesOf({ user, person, tenant }: Identity): string | null {
  if (tenant.sharesWork || user?.role === 'admin') return null;
  return person;
}

/** Whether somebody sees the work of a person of its tenant; null is work that a key of the company did. */
export function maySeeWorkOf(identity: Identity, person: string | null): boolean {
  const eyes = eyesOf(identity);
  return eyes === null || eyes === person;
}
