import type { FastifyRequest } from 'fastify';
import { InvalidValue } from '../../config/checked.ts';
import type { LiveSettings } from '../../config/live-settings.ts';
import { ApiError } from '../../http/api-error.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

/** Changes settings, by whichever route, and writes down who did. Throws an ApiError for what they cannot be. */
export function changeSettings(
  { configuration, audit }: Pick<OperatorDeps, 'configuration' | 'audit'>,
  request: FastifyRequest,
  wanted: Parameters<LiveSettings['change']>[0],
): void {
  const changes = told(() => configuration.change(wanted));
  if (changes.length === 0) return;
  const side = (name: 'before' | 'after'): object =>
    Object.fromEntries(changes.map((change) => [change.path, change[name]]));
  audit.add(operatorOf(request), {
    action: 'settings.change',
    before: side('before'),
    after: side('after'),
  });
}

/** A fault in a value, or in the file, as an error that names the place. */
export function told<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new ApiError('invalid_request', error.message, error.place === '' ? {} : { param: error.place });
  }
}
