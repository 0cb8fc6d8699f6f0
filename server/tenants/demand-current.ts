import { ApiError } from '../http/api-error.ts';
import type { Identity } from './tenant.ts';

/**
 * Who asks, as that one stands at this moment: with its role, its rights and its tenant's plan. Time passes between the
 * moment when somebody is let in and the moment when something is done (a body that comes slowly, engines that start),
 * so this is asked again whenever something is done. Throws an ApiError for whoever would not be let in any more.
 */
export function demandCurrent(identity: Identity): Identity {
  const now = identity.renewed();
  if (!now)
    throw identity.user
      ? new ApiError('invalid_session', 'The session has ended. Sign in again.')
      : new ApiError('invalid_api_key', 'The API key was revoked or has expired.');
  if (now.tenant.disabled)
    throw new ApiError('tenant_disabled', 'This tenant is disabled; ask the operator.');
  return now;
}
