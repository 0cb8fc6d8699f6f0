import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { ApiError } from '../../http/api-error.ts';
import { Packages } from '../../offers/packages.ts';
import { Plans } from '../../offers/plans.ts';
import { Prices } from '../../offers/prices.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';
import { told } from './settings-change.ts';

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
        if (name === 'plans') demandUsedPlans(deps, request.body);
        await told(() =>
          offers.replace(name, request.body, () =>
            audit.add(operatorOf(request), { action: `offers.${name}`, before, after: request.body }),
          ),
        );
        directory.changed();
        return offers[name];
      },
    );
  }
};

/** Refuses to take away a plan that somebody is on, or will be on: they would be left with the limits of another. */
function demandUsedPlans(deps: OperatorDeps, plans: object): void {
  const { offers, tenants, files, invitations, settings } = deps;
  for (const plan of Object.keys(offers.plans)) {
    if (Object.hasOwn(plans, plan)) continue;
    if (plan === settings.plan)
      throw refusal(plan, 'it is the plan of new companies (setting accounts.plan)', 'Change that setting');
    const { count, names } = tenants.onPlan(plan, 3);
    const more = count > names.length ? ` and ${count - names.length} more` : '';
    if (count > 0)
      throw refusal(
        plan,
        `${count} ${count === 1 ? 'tenant is' : 'tenants are'} on it: ${names.join(', ')}${more}`,
        'Give them another plan',
      );
    const inFile = files.all().find(({ tenant }) => tenant.plan === plan);
    if (inFile)
      throw refusal(plan, `"${inFile.tenant.id}" in tenants.json is on it`, 'Name another plan there');
    const invited = invitations.list(null).find((invitation) => invitation.plan === plan);
    if (invited)
      throw refusal(plan, `the invitation of ${invited.email} promises it`, 'Withdraw the invitation');
  }
}

function refusal(plan: string, why: string, advice: string): ApiError {
  return new ApiError('conflict', `The plan "${plan}" cannot be removed: ${why}. ${advice} first.`, {
    param: plan,
  });
}
