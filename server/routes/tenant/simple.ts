import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { field } from '../../../gpu/engines/http.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import {
  GenerateImageBody,
  GenerateImageReply,
  GenerateTextBody,
  GenerateTextReply,
} from '../../contract/openai.ts';
import { DryRunQuery, QuoteView } from '../../contract/money.ts';
import { answerImages, checkedSize, imageRequest, imageWork } from '../../generation/images.ts';
import { answerText, boundedBody, mostTokensOf, textWork } from '../../generation/text.ts';
import { demandFits } from '../../generation/prompt-size.ts';
import { ApiError } from '../../http/api-error.ts';
import { modelFor } from '../../generation/models.ts';
import { HeldReply } from '../../http/held-reply.ts';
import { addressOf, admit, identityOf, type TenantDeps } from './tenant-context.ts';

/** Two calls for people without an SDK: a text for a prompt, a picture for a prompt. */
export const simpleRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { links, room } = deps;

  app.post(
    '/generate-text',
    {
      config: { counts: 'chat', once: true },
      bodyLimit: limits.body.textsBytes,
      schema: {
        tags: ['Simple'],
        summary: 'A text for a prompt',
        body: GenerateTextBody,
        querystring: DryRunQuery,
        response: { 200: Type.Union([GenerateTextReply, QuoteView]), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const { prompt, system, model: name, maxTokens, temperature } = request.body;
      const model = await modelFor(deps, identity, 'text', name);
      demandFits(model, [system, prompt]);
      const body = boundedBody(deps, identity, {
        messages: [
          ...(system === undefined ? [] : [{ role: 'system', content: system }]),
          { role: 'user', content: prompt },
        ],
        ...(maxTokens !== undefined && { max_tokens: maxTokens }),
        ...(temperature !== undefined && { temperature }),
      });
      const ticket = admit(deps, request, reply, {
        feature: 'chat',
        model: model.id,
        prompts: [prompt, system],
        lane: 'interactive',
        work: () => textWork(model, body.messages, mostTokensOf(body)),
      });
      if (!ticket) return reply;
      const held = new HeldReply(request, reply, 'json');
      const job = { model, endpoint: 'chat/completions', body, ticket } as const;
      await answerText(deps, job, held, ({ body: answer, usage }) => {
        const { promptTokens, completionTokens } = usage;
        const totalTokens = promptTokens + completionTokens;
        return JSON.stringify({
          text: contentOf(answer),
          model: model.id,
          usage: { promptTokens, completionTokens, totalTokens },
        });
      });
    },
  );

  app.post(
    '/generate-image',
    {
      config: { counts: 'image', once: true },
      schema: {
        tags: ['Simple'],
        summary: 'A picture for a prompt',
        body: GenerateImageBody,
        querystring: DryRunQuery,
        response: { 200: Type.Union([GenerateImageReply, QuoteView]), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const { body } = request;
      const model = await modelFor(deps, identity, 'image', body.model);
      const size = checkedSize(body.width, body.height);
      if (body.format === 'url') room.demand(identity.tenant, 0);
      const wanted = imageRequest(body, size);
      const ticket = admit(deps, request, reply, {
        feature: 'image',
        model: model.id,
        prompts: [body.prompt, body.negativePrompt],
        images: 1,
        lane: 'interactive',
        work: () => imageWork(1, wanted),
      });
      if (!ticket) return reply;
      const held = new HeldReply(request, reply, 'json');
      await answerImages(deps, { model, count: 1, request: wanted, ticket }, held, async ([picture]) => {
        if (!picture) throw new ApiError('engine_error', 'The engine made no picture.');
        const { seed } = picture;
        if (body.format !== 'url') {
          return { image: Buffer.from(picture.png).toString('base64'), seed, model: model.id };
        }
        const link = await links.save(identity.tenant, picture.png, 'png', room);
        const expiresAt = new Date(link.expiresAt).toISOString();
        return { url: addressOf(deps, request) + link.path, expiresAt, seed, model: model.id };
      });
    },
  );
};

/** The text of a chat completion. */
function contentOf(answer: string): string {
  const choices = field(JSON.parse(answer), 'choices');
  const content = field(field(Array.isArray(choices) ? choices[0] : null, 'message'), 'content');
  return typeof content === 'string' ? content : '';
}
