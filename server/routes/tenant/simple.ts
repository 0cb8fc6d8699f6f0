import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { field } from '../../../gpu/engines/http.ts';
import { ErrorBody } from '../../contract/errors.ts';
import {
  GenerateImageBody,
  GenerateImageReply,
  GenerateTextBody,
  GenerateTextReply,
} from '../../contract/openai.ts';
import { checkedSize, imageRequest, makeImages } from '../../generation/images.ts';
import { completeText, modelFor } from '../../generation/text.ts';
import { ApiError } from '../../http/api-error.ts';
import { HeldReply } from '../../http/held-reply.ts';
import { admit, identityOf, type TenantDeps } from './tenant-context.ts';

/** Two calls for people without an SDK: a text for a prompt, a picture for a prompt. */
export const simpleRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { links } = deps;

  app.post(
    '/generate-text',
    {
      schema: {
        tags: ['Simple'],
        summary: 'A text for a prompt',
        body: GenerateTextBody,
        response: { 200: GenerateTextReply, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const { prompt, system, model: name, maxTokens, temperature } = request.body;
      const model = await modelFor(deps, identity, 'text', name);
      const wish = {
        feature: 'chat',
        model: model.id,
        prompts: [prompt, system],
        lane: 'interactive',
      } as const;
      const ticket = admit(deps, request, reply, wish);
      const held = new HeldReply(request, reply, 'json');
      const body = {
        messages: [
          ...(system === undefined ? [] : [{ role: 'system', content: system }]),
          { role: 'user', content: prompt },
        ],
        ...(maxTokens !== undefined && { max_tokens: maxTokens }),
        ...(temperature !== undefined && { temperature }),
      };
      try {
        const job = { model, endpoint: 'chat/completions', body, ticket } as const;
        const { body: answer, usage } = await completeText(deps, job, held);
        const { promptTokens, completionTokens } = usage;
        held.end(
          JSON.stringify({
            text: contentOf(answer),
            model: model.id,
            usage: { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens },
          }),
        );
      } catch (error) {
        held.fail(error);
      }
    },
  );

  app.post(
    '/generate-image',
    {
      schema: {
        tags: ['Simple'],
        summary: 'A picture for a prompt',
        body: GenerateImageBody,
        response: { 200: GenerateImageReply, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const { body } = request;
      const model = await modelFor(deps, identity, 'image', body.model);
      const size = checkedSize(body.width, body.height);
      const prompts = [body.prompt, body.negativePrompt];
      const ticket = admit(deps, request, reply, {
        feature: 'image',
        model: model.id,
        prompts,
        lane: 'interactive',
      });
      const held = new HeldReply(request, reply, 'json');
      try {
        const job = { model, count: 1, request: imageRequest(body, size), ticket };
        const [picture] = await makeImages(deps, job, held);
        if (!picture) throw new ApiError('engine_error', 'The engine made no picture.');
        const { seed } = picture;
        if (body.format !== 'url') {
          const image = Buffer.from(picture.png).toString('base64');
          return held.end(JSON.stringify({ image, seed, model: model.id }));
        }
        const link = await links.save(identity.tenant.id, picture.png);
        const url = (deps.publicUrl ?? `${request.protocol}://${request.host}`) + link.path;
        const expiresAt = new Date(link.expiresAt).toISOString();
        held.end(JSON.stringify({ url, expiresAt, seed, model: model.id }));
      } catch (error) {
        held.fail(error);
      }
    },
  );
};

/** The text of a chat completion. */
function contentOf(answer: string): string {
  const choices = field(JSON.parse(answer), 'choices');
  const content = field(field(Array.isArray(choices) ? choices[0] : null, 'message'), 'content');
  return typeof content === 'string' ? content : '';
}
