import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { ModelList } from '../../contract/openai.ts';
import { foundModel, noSuchModel } from '../../generation/models.ts';
import { type Identity, mayUseModel } from '../../tenants/tenant.ts';
import { identityOf, type TenantDeps } from './tenant-context.ts';

/** GET /v1/models: what this tenant may ask for, loaded or not. */
export const modelRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, { gpu, admission }) => {
  const listed = (identity: Identity) =>
    gpu
      .models()
      .filter(({ id }) => mayUseModel(identity, id))
      .map(({ id, engineId, modality, phase, contextLength }) => ({
        id,
        object: 'model' as const,
        created: 0,
        owned_by: engineId,
        modality,
        loaded: phase === 'ready' || phase === 'draining',
        context_length: contextLength,
      }));

  app.get(
    '/v1/models',
    {
      schema: { tags: ['OpenAI'], summary: 'List models', response: { 200: ModelList, default: ErrorBody } },
    },
    async (request) => {
      // Just after the start the engines may not have said yet what they have.
      await gpu.settled(limits.engineStartMs);
      return { object: 'list' as const, data: listed(identityOf(request)) };
    },
  );

  const response = { 200: ModelList.properties.data.items, default: ErrorBody };
  app.get(
    '/v1/models/:id',
    {
      schema: {
        tags: ['OpenAI'],
        summary: 'One model',
        params: Type.Object({ id: Type.String() }),
        response,
      },
    },
    async (request) => one(identityOf(request), request.params.id),
  );
  // Names of models hold slashes, and not every client encodes them.
  app.get(
    '/v1/models/*',
    { schema: { hide: true, params: Type.Object({ '*': Type.String() }), response } },
    async (request) => one(identityOf(request), request.params['*']),
  );

  async function one(identity: Identity, name: string) {
    await foundModel({ gpu, admission }, identity, name);
    const found = listed(identity).find(({ id }) => id === name);
    if (!found) throw noSuchModel({ gpu }, identity, name);
    return found;
  }
};
