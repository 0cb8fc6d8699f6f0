import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { ChatBody, CompletionBody, EmbeddingBody, OpenAiQuery } from '../../contract/openai.ts';
import {
  answerTask,
  boundedBody,
  embeddingWork,
  mostTokensOf,
  relayText,
  textWork,
} from '../../generation/text.ts';
import { engineChat, engineCompletion, promptsOf } from '../../generation/engine-body.ts';
import { modelFor } from '../../generation/models.ts';
import { demandFits } from '../../generation/prompt-size.ts';
import { HeldReply } from '../../http/held-reply.ts';
import { admit, identityOf, type TenantDeps } from './tenant-context.ts';

const engineAnswer = Type.Unknown({
  description: 'The engine’s answer in OpenAI’s form, passed through unchanged.',
});
const response = { 200: engineAnswer, default: ErrorBody };
const querystring = OpenAiQuery;

/** The OpenAI routes that make text and vectors. */
export const textRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { gpu } = deps;

  app.post(
    '/v1/chat/completions',
    {
      config: { counts: 'chat', once: true },
      bodyLimit: limits.body.picturesBytes,
      schema: { tags: ['OpenAI'], summary: 'Chat, streamed or whole', body: ChatBody, querystring, response },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const body = boundedBody(deps, identity, engineChat(request.body));
      const model = await modelFor(deps, identity, 'text', body.model);
      demandFits(model, body);
      const prompts = promptsOf(body);
      const ticket = admit(deps, request, reply, {
        feature: 'chat',
        model: model.id,
        prompts,
        lane: 'interactive',
        work: () => textWork(model, prompts, mostTokensOf(body)),
      });
      if (!ticket) return reply;
      await relayText(deps, { model, endpoint: 'chat/completions', body, ticket }, request, reply);
    },
  );

  app.post(
    '/v1/completions',
    {
      config: { counts: 'completion', once: true },
      bodyLimit: limits.body.textsBytes,
      schema: { tags: ['OpenAI'], summary: 'Continue a text', body: CompletionBody, querystring, response },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const body = boundedBody(deps, identity, engineCompletion(request.body));
      const model = await modelFor(deps, identity, 'text', body.model);
      demandFits(model, body);
      const prompts = body.suffix === undefined ? body.prompt : [body.prompt, body.suffix];
      const wish = {
        feature: 'completion',
        model: model.id,
        prompts,
        lane: 'interactive',
        work: () => textWork(model, prompts, mostTokensOf(body)),
      } as const;
      const ticket = admit(deps, request, reply, wish);
      if (!ticket) return reply;
      await relayText(deps, { model, endpoint: 'completions', body, ticket }, request, reply);
    },
  );

  app.post(
    '/v1/embeddings',
    {
      config: { counts: 'embedding', once: true },
      bodyLimit: limits.body.textsBytes,
      schema: { tags: ['OpenAI'], summary: 'Vectors of texts', body: EmbeddingBody, querystring, response },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const { body } = request;
      const model = await modelFor(deps, identity, 'embedding', body.model);
      // Each is a prompt of its own.
      for (const input of [body.input].flat()) demandFits(model, input);
      const wish = {
        feature: 'embedding',
        model: model.id,
        prompts: body.input,
        lane: 'interactive',
        work: () => embeddingWork(model, body.input),
      } as const;
      const ticket = admit(deps, request, reply, wish);
      if (!ticket) return reply;
      const held = new HeldReply(request, reply, 'json');
      const task = gpu.embed(model.id, { body }, ticket.caller, held.signal);
      await answerTask(task, body.input, ticket, held);
    },
  );
};
