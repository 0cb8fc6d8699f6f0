import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { ChatBody, CompletionBody, EmbeddingBody } from '../../contract/openai.ts';
import { modelFor, relayText, settled } from '../../generation/text.ts';
import { HeldReply } from '../../http/held-reply.ts';
import { admit, identityOf, type TenantDeps } from './tenant-context.ts';

const engineAnswer = Type.Unknown({
  description: 'The engine’s answer in OpenAI’s form, passed through unchanged.',
});
const response = { 200: engineAnswer, default: ErrorBody };

/** The OpenAI routes that make text and vectors. */
export const textRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { gpu } = deps;

  app.post(
    '/v1/chat/completions',
    { schema: { tags: ['OpenAI'], summary: 'Chat, streamed or whole', body: ChatBody, response } },
    async (request, reply) => {
      const identity = identityOf(request);
      const { body } = request;
      const model = await modelFor(deps, identity, 'text', body.model);
      const prompts = [body.messages, body.tools, body.response_format];
      const ticket = admit(deps, request, reply, {
        feature: 'chat',
        model: model.id,
        prompts,
        lane: 'interactive',
      });
      await relayText(deps, { model, endpoint: 'chat/completions', body, ticket }, request, reply);
    },
  );

  app.post(
    '/v1/completions',
    { schema: { tags: ['OpenAI'], summary: 'Continue a text', body: CompletionBody, response } },
    async (request, reply) => {
      const identity = identityOf(request);
      const { body } = request;
      const model = await modelFor(deps, identity, 'text', body.model);
      const wish = {
        feature: 'completion',
        model: model.id,
        prompts: body.prompt,
        lane: 'interactive',
      } as const;
      const ticket = admit(deps, request, reply, wish);
      await relayText(deps, { model, endpoint: 'completions', body, ticket }, request, reply);
    },
  );

  app.post(
    '/v1/embeddings',
    { schema: { tags: ['OpenAI'], summary: 'Vectors of texts', body: EmbeddingBody, response } },
    async (request, reply) => {
      const identity = identityOf(request);
      const { body } = request;
      const model = await modelFor(deps, identity, 'embedding', body.model);
      const wish = {
        feature: 'embedding',
        model: model.id,
        prompts: body.input,
        lane: 'interactive',
      } as const;
      const ticket = admit(deps, request, reply, wish);
      const held = new HeldReply(request, reply, 'json');
      try {
        const task = gpu.embed(model.id, { body }, ticket.caller, held.signal);
        held.end((await settled(task, ticket, held)).body);
      } catch (error) {
        held.fail(error);
      }
    },
  );
};
