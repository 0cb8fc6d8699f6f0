import { hash } from 'node:crypto';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import type { Ticket } from '../../admission/admission.ts';
import { checked, InvalidValue } from '../../config/checked.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { dropIgnored } from '../../contract/given-fields.ts';
import { QuoteView } from '../../contract/money.ts';
import { ImageEditFields, ImageGenerationBody, ImageList, OpenAiQuery } from '../../contract/openai.ts';
import {
  answerImages,
  fittedSize,
  type ImageJob,
  imageRequest,
  imageSource,
  imageWork,
  parseSize,
} from '../../generation/images.ts';
import { modelFor } from '../../generation/models.ts';
import { noTimings } from '../../generation/timings.ts';
import { ApiError } from '../../http/api-error.ts';
import { limits } from '../../contract/limits.ts';
import { formParts } from '../../http/form.ts';
import { HeldReply } from '../../http/held-reply.ts';
import { once } from './once.ts';
import { addressOf, admit, identityOf, lookAgain, tellIgnored, type TenantDeps } from './tenant-context.ts';

/** The OpenAI routes that make pictures, and the links they are handed out by. */
export const imageRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { admission, links, pictures, moderation, room } = deps;

  app.post(
    '/v1/images/generations',
    {
      config: { counts: 'image', once: true },
      schema: {
        tags: ['OpenAI'],
        summary: 'Pictures from a text',
        body: ImageGenerationBody,
        querystring: OpenAiQuery,
        response: { 200: Type.Union([ImageList, QuoteView]), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const { body } = request;
      const model = await modelFor(deps, identity, 'image', body.model);
      const size = parseSize(body.size);
      if (body.response_format === 'url') room.demand(identity.tenant, 0);
      const count = body.n ?? 1;
      const wanted = imageRequest({ ...body, negativePrompt: body.negative_prompt }, size);
      const ticket = admit(deps, request, reply, {
        feature: 'image',
        model: model.id,
        prompts: [body.prompt, body.negative_prompt],
        images: count,
        lane: 'interactive',
        work: () => imageWork(count, wanted),
      });
      if (!ticket) return reply;
      await answer({ model, ticket, count, request: wanted }, body, request, reply);
    },
  );

  app.post(
    '/v1/images/edits',
    {
      config: { counts: 'image', heldBytes: limits.upload.heldBytes },
      bodyLimit: limits.upload.formBytes,
      schema: {
        tags: ['OpenAI'],
        summary: 'A picture changed by a text, wholly or inside a mask (multipart/form-data)',
        consumes: ['multipart/form-data'],
        querystring: OpenAiQuery,
        response: { 200: Type.Union([ImageList, QuoteView]), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const form = await readForm(request, reply);
      const identity = lookAgain(request);
      const { fields } = form;
      const files = [form.image, form.mask].map((file) => file && hash('sha256', file));
      if (once(deps, request, reply, { fields, files })) return reply;
      const model = await modelFor(deps, identity, 'image', fields.model);
      if (fields.response_format === 'url') room.demand(identity.tenant, 0);
      admission.demandMayAsk(identity, { feature: 'image', model: model.id });
      const isAuto = !fields.size || fields.size === 'auto';
      const { id: tenant } = identity.tenant;
      const size = isAuto
        ? fittedSize(await pictures.work({ kind: 'size', bytes: form.image }, 'image', tenant))
        : parseSize(fields.size);
      const count = fields.n ?? 1;
      const wanted = imageRequest({ ...fields, negativePrompt: fields.negative_prompt }, size);
      const wish = {
        feature: 'image',
        model: model.id,
        prompts: [fields.prompt, fields.negative_prompt],
        images: count,
        lane: 'interactive',
        work: () => imageWork(count, wanted),
      } as const;
      const ticket = admit(deps, request, reply, wish);
      if (!ticket) return reply;
      // Only now: decoding is work, and who asks for it has rights, a rate and credits (S11).
      const source = await sourceOf(ticket, form, size);
      await answer({ model, ticket, count, request: { ...wanted, source } }, fields, request, reply);
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
        response: { 200: Type.Unknown({ description: 'The picture.' }), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { owner, file } = request.params;
      const { expires, signature } = request.query;
      const picture = await links.open(owner, file, expires, signature);
      if (!picture) throw new ApiError('forbidden', 'The link is not valid, or has expired.');
      return reply
        .headers({
          'content-type': picture.contentType,
          'content-disposition': `attachment; filename="${file}"`,
          'x-content-type-options': 'nosniff',
          // Whoever has the link may show it in a page of another site.
          'cross-origin-resource-policy': 'cross-origin',
          'content-security-policy': "default-src 'none'; sandbox",
          'cache-control': 'private, max-age=3600',
        })
        .send(picture.bytes);
    },
  );

  /** The pictures of a form as the engine takes them. Gives the ticket back where they are refused. */
  async function sourceOf(
    ticket: Ticket,
    { image: sent, mask: sentMask, fields }: Awaited<ReturnType<typeof readForm>>,
    size: { width: number; height: number },
  ): Promise<ReturnType<typeof imageSource>> {
    const { tenant } = ticket.identity;
    const work = async (kind: 'source' | 'mask', bytes: Uint8Array, param: string): Promise<Uint8Array> =>
      (await pictures.work({ kind, bytes, size }, param, tenant.id)).bytes;
    try {
      const image = await work('source', sent, 'image');
      await moderation.demand(tenant, image, 'image');
      const mask = sentMask && (await work('mask', sentMask, 'mask'));
      return imageSource({ image, mask, strength: fields.strength });
    } catch (error) {
      ticket.void(error, {}, noTimings());
      throw error;
    }
  }

  /** Makes the pictures and answers in OpenAI's form. */
  async function answer(
    job: ImageJob,
    { response_format: as, output_format: format = 'png', output_compression: quality = 100 }: Outcome,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> {
    const held = new HeldReply(request, reply, 'json');
    const { width, height } = job.request;
    await answerImages(deps, job, held, async (made) => {
      const data = await Promise.all(
        made.map(async ({ png, seed }) => {
          const { id } = job.ticket.identity.tenant;
          const picture = format === 'png' ? png : await converted(png, format, quality, id);
          if (as !== 'url') return { b64_json: Buffer.from(picture).toString('base64'), seed };
          const link = await links.save(job.ticket.identity.tenant, picture, format, room);
          return { url: addressOf(deps, request) + link.path, seed };
        }),
      );
      const about = { size: `${width}x${height}`, output_format: format, background: 'opaque' };
      return { created: Math.floor(Date.now() / 1000), data, ...about };
    });
  }

  async function converted(
    png: Uint8Array,
    format: 'jpeg' | 'webp',
    quality: number,
    tenant: string,
  ): Promise<Uint8Array> {
    const work = { kind: 'converted', bytes: png, format, quality: Math.max(1, quality) } as const;
    try {
      return (await pictures.work(work, 'picture', tenant)).bytes;
    } catch (cause) {
      // The engine made it: whatever is wrong with it is not the caller's fault.
      throw new ApiError('engine_error', `The picture could not be written as ${format}.`, { cause });
    }
  }
};

/** What of a request says how its pictures are handed over. */
type Outcome = Pick<
  Static<typeof ImageGenerationBody>,
  'response_format' | 'output_format' | 'output_compression'
>;

/** `image`, and what clients in other languages write for a list: `image[]`, `image[0]`. */
const imageField = /^image(\[\d*\])?$/;
const maskField = /^mask(\[\d*\])?$/;

/** A multipart form as checked fields and at most one image and one mask, bounded while it streams. */
async function readForm(request: FastifyRequest, reply: FastifyReply) {
  const wanted = 'Send the form as multipart/form-data, with the file as "image".';
  const texts: Record<string, unknown> = {};
  let image: Buffer | null = null;
  let mask: Buffer | null = null;
  for await (const part of formParts(request, wanted)) {
    const { fieldname: name } = part;
    if (part.type === 'field') {
      // An empty field of a form is one that was not filled in.
      if (part.value !== '') texts[name] = part.value;
    } else if (imageField.test(name)) {
      if (image)
        throw new ApiError('invalid_request', 'One image at a time can be edited.', { param: 'image' });
      image = await part.toBuffer();
    } else if (maskField.test(name)) {
      if (mask) throw new ApiError('invalid_request', 'One mask at a time can be used.', { param: 'mask' });
      mask = await part.toBuffer();
    } else if (name in ImageEditFields.properties) {
      // Not a file, or one that is refused with the reason.
      texts[name] = part.filename;
      part.file.resume();
    } else throw new ApiError('invalid_request', `Unknown parameter: "${name}".`, { param: name });
  }
  if (!image) throw new ApiError('invalid_request', 'Missing parameter: "image".', { param: 'image' });
  tellIgnored(reply, dropIgnored(ImageEditFields, texts));
  try {
    return { fields: checked(ImageEditFields, texts, 'The form', { isForm: true }), image, mask };
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new ApiError('invalid_request', error.message, error.place === '' ? {} : { param: error.place });
  }
}
