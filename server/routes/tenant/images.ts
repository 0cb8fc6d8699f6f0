import { hash } from 'node:crypto';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { checked, InvalidValue } from '../../config/checked.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { DryRunQuery, QuoteView } from '../../contract/money.ts';
import { ImageGenerationBody, ImageList } from '../../contract/openai.ts';
import {
  answerImages,
  fittedSize,
  type ImageJob,
  imageRequest,
  imageSource,
  imageWork,
  parseSize,
} from '../../generation/images.ts';
import { modelFor } from '../../generation/text.ts';
import { ApiError } from '../../http/api-error.ts';
import { HeldReply } from '../../http/held-reply.ts';
import { limits } from '../../contract/limits.ts';
import { addressOf, admit, identityOf, type TenantDeps } from './tenant-context.ts';

/** The OpenAI routes that make pictures, and the links they are handed out by. */
export const imageRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { links, pictures, moderation } = deps;

  app.post(
    '/v1/images/generations',
    {
      schema: {
        tags: ['OpenAI'],
        summary: 'Pictures from a text',
        body: ImageGenerationBody,
        querystring: DryRunQuery,
        response: { 200: Type.Union([ImageList, QuoteView]), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const { body } = request;
      const model = await modelFor(deps, identity, 'image', body.model);
      const size = parseSize(body.size);
      const count = body.n ?? 1;
      const wanted = imageRequest({ ...body, negativePrompt: body.negative_prompt }, size);
      const ticket = admit(deps, request, reply, {
        feature: 'image',
        model: model.id,
        prompts: [body.prompt, body.negative_prompt],
        lane: 'interactive',
        work: () => imageWork(count, wanted),
      });
      if (!ticket) return reply;
      await answer({ model, ticket, count, request: wanted }, body.response_format === 'url', request, reply);
    },
  );

  app.post(
    '/v1/images/edits',
    {
      schema: {
        tags: ['OpenAI'],
        summary: 'A picture changed by a text, wholly or inside a mask (multipart/form-data)',
        consumes: ['multipart/form-data'],
        querystring: DryRunQuery,
        response: { 200: Type.Union([ImageList, QuoteView]), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const form = await readForm(request);
      const { fields } = form;
      const model = await modelFor(deps, identity, 'image', fields.model);
      const isAuto = !fields.size || fields.size === 'auto';
      const size = isAuto
        ? fittedSize(await pictures.work({ kind: 'size', bytes: form.image }, 'image'))
        : parseSize(fields.size);
      const { bytes: image } = await pictures.work({ kind: 'source', bytes: form.image, size }, 'image');
      await moderation.demand(identity.tenant, image, 'image');
      const mask = form.mask && (await pictures.work({ kind: 'mask', bytes: form.mask, size }, 'mask')).bytes;
      const count = fields.n ?? 1;
      const source = imageSource({ image, mask, strength: fields.strength });
      const wanted = imageRequest({ ...fields, negativePrompt: fields.negative_prompt }, size, source);
      const wish = {
        feature: 'image',
        model: model.id,
        prompts: [fields.prompt, fields.negative_prompt],
        lane: 'interactive',
        work: () => imageWork(count, wanted),
      } as const;
      const files = [form.image, form.mask].map((file) => file && hash('sha256', file));
      const ticket = admit(deps, request, reply, wish, { fields, files });
      if (!ticket) return reply;
      await answer(
        { model, ticket, count, request: wanted },
        fields.response_format === 'url',
        request,
        reply,
      );
    },
  );

  app.get(
    '/images/:owner/:file',
    {
      config: { open: true },
      schema: {
        tags: ['Simple'],
        summary: 'A picture behind a link that expires',
        params: Type.Object({ owner: Type.String(), file: Type.String() }),
        querystring: Type.Object(
          { expires: Type.String({ maxLength: 20 }), signature: Type.String({ maxLength: 100 }) },
          { additionalProperties: false },
        ),
        response: { 200: Type.Unknown({ description: 'A PNG.' }), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { owner, file } = request.params;
      const { expires, signature } = request.query;
      const id = file.endsWith('.png') ? file.slice(0, -'.png'.length) : '';
      const png = await links.open(owner, id, expires, signature);
      if (!png) throw new ApiError('forbidden', 'The link is not valid, or has expired.');
      return reply
        .headers({
          'content-type': 'image/png',
          'content-disposition': `attachment; filename="${id}.png"`,
          'x-content-type-options': 'nosniff',
          'content-security-policy': "default-src 'none'; sandbox",
          'cache-control': 'private, max-age=3600',
        })
        .send(png);
    },
  );

  /** Makes the pictures and answers in OpenAI's form. */
  async function answer(
    job: ImageJob,
    asLinks: boolean,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> {
    const held = new HeldReply(request, reply, 'json');
    await answerImages(deps, job, held, async (pictures) => {
      const data = await Promise.all(
        pictures.map(async ({ png, seed }) => {
          if (!asLinks) return { b64_json: Buffer.from(png).toString('base64'), seed };
          const link = await links.save(job.ticket.identity.tenant.id, png);
          return { url: addressOf(deps, request) + link.path, seed };
        }),
      );
      return { created: Math.floor(Date.now() / 1000), data };
    });
  }
};

const EditFields = Type.Object(
  {
    ...Type.Omit(ImageGenerationBody, ['n', 'steps', 'guidance', 'seed']).properties,
    n: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.image.maxCount })),
    steps: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.image.maxSteps })),
    guidance: Type.Optional(Type.Number({ minimum: 0, maximum: limits.image.maxGuidance })),
    seed: Type.Optional(Type.Integer({ minimum: -1, maximum: 2 ** 32 - 1 })),
    strength: Type.Optional(Type.Number({ minimum: 0.05, maximum: 1 })),
    input_fidelity: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);

const imageFields = new Set(['image', 'image[]']);

/** A multipart form as checked fields and at most one image and one mask, bounded while it streams. */
async function readForm(request: FastifyRequest) {
  if (!request.isMultipart()) {
    throw new ApiError(
      'unsupported_media_type',
      'Send the form as multipart/form-data, with the file as "image".',
    );
  }
  const texts: Record<string, unknown> = {};
  let image: Buffer | null = null;
  let mask: Buffer | null = null;
  for await (const part of request.parts()) {
    if (part.type === 'field') texts[part.fieldname] = part.value;
    else if (imageFields.has(part.fieldname)) {
      if (image)
        throw new ApiError('invalid_request', 'One image at a time can be edited.', { param: 'image' });
      image = await part.toBuffer();
    } else if (part.fieldname === 'mask') mask = await part.toBuffer();
    else
      throw new ApiError('invalid_request', `Unknown parameter: "${part.fieldname}".`, {
        param: part.fieldname,
      });
  }
  if (!image) throw new ApiError('invalid_request', 'Missing parameter: "image".', { param: 'image' });
  try {
    return { fields: checked(EditFields, texts, 'The form', { isForm: true }), image, mask };
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new ApiError('invalid_request', error.message, error.place === '' ? {} : { param: error.place });
  }
}
