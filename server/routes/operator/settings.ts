import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { recover } from '../../config/last-good.ts';
import { SettingsView } from '../../contract/console.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { ApiError } from '../../http/api-error.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';
import { changeSettings, told } from './settings-change.ts';

const Change = Type.Object(
  {
    set: Type.Optional(Type.Record(Type.String({ maxLength: 100 }), Type.Unknown())),
    reset: Type.Optional(Type.Array(Type.String({ maxLength: 100 }), { maxItems: 500 })),
  },
  { additionalProperties: false },
);

/** The settings in config.json: looked at and changed, checked as at a start. */
export const settingsRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { configuration } = deps;
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
      await changeSettings(deps, request, request.body);
      return view();
    },
  );

  app.post(
    '/api/settings/recover',
    {
      schema: {
        summary:
          'Put the settings of the last start that worked back into config.json; what is there is kept as config.refused.json',
        response: { 200: SettingsView, default: ErrorBody },
      },
    },
    async (request) => {
      if (configuration.fault === null)
        throw new ApiError(
          'conflict',
          'The settings in config.json are in effect: there is nothing to recover.',
        );
      recover(deps.dataFolder);
      deps.audit.add(operatorOf(request), { action: 'settings.recover', reason: configuration.fault });
      return view();
    },
  );

  async function view() {
    const states = await told(() => configuration.states());
    return states.map(({ isSecret, isPending, ...shown }) => ({
      ...shown,
      secret: isSecret,
      pending: isPending,
      atOnce: configuration.isAtOnce(shown.path),
    }));
  }
};
