import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { InvalidValue } from '../../config/checked.ts';
import { settingStates } from '../../config/edit.ts';
import { SettingsView } from '../../contract/console.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { ApiError } from '../../http/api-error.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

const Change = Type.Object(
  {
    set: Type.Optional(Type.Record(Type.String({ maxLength: 100 }), Type.Unknown())),
    reset: Type.Optional(Type.Array(Type.String({ maxLength: 100 }), { maxItems: 500 })),
  },
  { additionalProperties: false },
);

/** The settings in config.json: looked at and changed, checked as at a start. */
export const settingsRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (
  app,
  { configuration, audit },
) => {
  app.get(
    '/api/settings',
    {
      schema: {
        summary: 'Every setting, as it is and as it will be',
        response: { 200: SettingsView, default: ErrorBody },
      },
    },
    async () => view(),
  );

  app.patch(
    '/api/settings',
    {
      schema: {
        summary: 'Change settings, all of them or none; each says whether it waits for the next start',
        body: Change,
        response: { 200: SettingsView, default: ErrorBody },
      },
    },
    async (request) => {
      const changes = told(() => configuration.change(request.body));
      if (changes.length > 0) {
        const sides = ['before', 'after'] as const;
        const [before, after] = sides.map((side) =>
          Object.fromEntries(changes.map((one) => [one.path, one[side]])),
        );
        audit.add(operatorOf(request), {
          action: 'settings.change',
          before: before ?? {},
          after: after ?? {},
        });
      }
      return view();
    },
  );

  function view() {
    return told(() => settingStates(configuration.file, configuration.config)).map(
      ({ isSecret, isPending, ...shown }) => ({
        ...shown,
        secret: isSecret,
        pending: isPending,
        atOnce: configuration.isAtOnce(shown.path),
      }),
    );
  }
};

/** A fault in a value, or in the file, as an error that names the place. */
function told<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new ApiError('invalid_request', error.message, error.place === '' ? {} : { param: error.place });
  }
}
