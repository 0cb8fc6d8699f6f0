import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { ApiError } from '../../http/api-error.ts';
import { Packages } from '../../offers/packages.ts';
import { Plans } from '../../offers/plans.ts';
import { Prices } from '../../offers/prices.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

/** What is offered: plans, prices and packages, read and replaced as a whole. */
export const offerRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { offers, audit, directory } = deps;
  for (const [name, schema] of [
    ['plans', Plans],
    ['prices', Prices],
    ['packages', Packages],
  ] as const) {
    app.get(
      `/api/${name}`,
      { schema: { summary: `The ${name} in force`, response: { 200: schema, default: ErrorBody } } },
      async () => offers[name],
    );
    app.put(
      `/api/${name}`,
      {
        schema: {
          summary: `Put other ${name} in their place, from now on`,
          body: schema,
          response: { 200: schema, default: ErrorBody },
        },
      },
      async (request) => {
        const before = offers[name];
        const { plan } = deps.settings;
        if (name === 'plans' && !Object.hasOwn(request.body, plan)) {
          throw new ApiError(
            'invalid_request',
            `"${plan}" is the plan of new companies (accounts.plan) and has to stay.`,
            { param: plan },
          );
        }
        offers.replace(name, request.body, () =>
          audit.add(operatorOf(request), { action: `offers.${name}`, before, after: request.body }),
        );
        directory.changed();
        return offers[name];
      },
    );
  }
};
