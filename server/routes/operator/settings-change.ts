import type { FastifyRequest } from 'fastify';
import { InvalidValue } from '../../config/checked.ts';
import type { WantedChange } from '../../config/edit.ts';
import { demandMeaning } from '../../config/meaning.ts';
import { ApiError } from '../../http/api-error.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

/**
 * Changes settings, by whichever route, and writes down who did. Rejects with an ApiError for what they cannot be, by
 * type or by meaning: what would stop the next start is refused here, where somebody can read why.
 */
export async function changeSettings(
  deps: Pick<OperatorDeps, 'configuration' | 'settingsWorld' | 'audit'>,
  request: FastifyRequest,
  wanted: WantedChange,
): Promise<void> {
  const { configuration, settingsWorld, audit } = deps;
  await told(async () => {
    const { config, changes } = configuration.plan(wanted);
    await demandMeaning(
      config,
      changes.map(({ path }) => path),
      settingsWorld(),
    );
  });
  // Planned anew: the file may have changed while the machine was asked.
  const planned = await told(async () => configuration.plan(wanted));
  if (planned.changes.length === 0) return;
  configuration.change(planned);
  const side = (name: 'before' | 'after'): object =>
    Object.fromEntries(planned.changes.map((change) => [change.path, change[name]]));
  audit.add(operatorOf(request), {
    action: 'settings.change',
    before: side('before'),
    after: side('after'),
  });
}

/** A fault in a value, or in the file, as an error that names the place. */
export async function told<Result>(work: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new ApiError('invalid_request', error.message, error.place === '' ? {} : { param: error.place });
  }
}
