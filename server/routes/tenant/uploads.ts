import type { MultipartFile } from '@fastify/multipart';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { UploadView } from '../../contract/jobs.ts';
import { limits } from '../../contract/limits.ts';
import { Envelope, PageOf } from '../../contract/platform.ts';
import { type Upload, uploadGroup } from '../../files/upload-store.ts';
import type { Taken } from '../../files/uploads.ts';
import { json } from '../../generation/text.ts';
import { ApiError } from '../../http/api-error.ts';
import { formParts } from '../../http/form.ts';
import { moment, success } from '../../http/envelope.ts';
import { pageOf } from '../../http/views.ts';
import type { Identity } from '../../tenants/tenant.ts';
import { eyesOf, maySeeWorkOf } from '../../tenants/eyes.ts';
import { once } from './once.ts';
import { identityOf, linkTo, lookAgain, type TenantDeps } from './tenant-context.ts';

const tags = ['Uploads'];
const Params = Type.Object({ id: Type.String({ minLength: 1, maxLength: 60 }) });

/** Pictures that tenants send, for jobs that begin from one. */
export const uploadRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { uploads, uploadStore, idempotency, windows } = deps;

  app.post(
    '/api/v1/upload',
    {
      config: { heldBytes: limits.upload.bytes },
      bodyLimit: limits.upload.formBytes,
      schema: {
        tags,
        summary: 'Send a picture (PNG, JPEG or WebP, as multipart/form-data, field "file")',
        consumes: ['multipart/form-data'],
        response: { 201: Envelope(UploadView), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const taken = await receive(request, 1);
      const [upload] = taken;
      if (!upload) throw noFile();
      if ('error' in upload) throw upload.error;
      return answerOnce(request, reply, taken, success(view(request, upload)));
    },
  );

  app.post(
    '/api/v1/upload/batch',
    {
      config: { heldBytes: limits.upload.bytes },
      bodyLimit: limits.upload.batchBytes,
      schema: {
        tags,
        summary: `Send up to ${limits.upload.files} pictures in one form; what cannot be taken is said for each`,
        consumes: ['multipart/form-data'],
        response: { 201: Envelope(Type.Array(Type.Union([UploadView, Refused]))), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const all = await receive(request, limits.upload.files);
      if (all.length === 0) throw noFile();
      const shown = all.map((one) => ('error' in one ? refusal(one) : view(request, one)));
      return answerOnce(request, reply, all, success(shown));
    },
  );

  app.get(
    '/api/v1/uploads',
    {
      schema: {
        tags,
        summary: 'Pictures that were sent, newest first: those that one may see the jobs of',
        querystring: Type.Object(
          {
            after: Type.Optional(
              Type.String({ pattern: '^upl_[0-9a-f]{32}$', 'x-form': 'the "next" of the page before' }),
            ),
            limit: Type.Optional(
              Type.Integer({ minimum: 1, maximum: limits.page.max, default: limits.page.default }),
            ),
          },
          { additionalProperties: false },
        ),
        response: { 200: Envelope(PageOf(UploadView)), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { after, limit = limits.page.default } = request.query;
      const identity = identityOf(request);
      const found = uploadStore.page(identity.tenant.id, eyesOf(identity), after, limit + 1);
      return success(pageOf(found, limit, (upload) => view(request, upload)));
    },
  );

  app.get(
    '/api/v1/uploads/:id',
    {
      schema: {
        tags,
        summary: 'One of them',
        params: Params,
        response: { 200: Envelope(UploadView), default: ErrorEnvelope },
      },
    },
    async (request) => success(view(request, own(request, request.params.id))),
  );

  app.delete(
    '/api/v1/uploads/:id',
    {
      schema: {
        tags,
        summary: 'Forget one of them',
        params: Params,
        response: { 200: Envelope(UploadView), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const upload = own(request, request.params.id);
      const last = view(request, upload);
      uploads.remove(upload);
      return success(last);
    },
  );

  /**
   * Answers, or says again what was answered to the first request with this Idempotency-Key; what came a second time is
   * forgotten then.
   */
  async function answerOnce(
    request: FastifyRequest,
    reply: FastifyReply,
    taken: readonly (Taken | Refusal)[],
    body: object,
  ): Promise<FastifyReply> {
    try {
      lookAgain(request);
      const digests = taken.map((one) => ('error' in one ? one.name : one.digest));
      if (once(deps, request, reply, digests)) {
        forget(taken);
        return reply;
      }
      if (request.keyed)
        idempotency.finish(request.keyed, { status: 201, contentType: json, body: JSON.stringify(body) });
    } catch (error) {
      forget(taken);
      throw error;
    }
    return reply.status(201).send(body);
  }

  function forget(taken: readonly (Taken | Refusal)[]): void {
    for (const one of taken) if (!('error' in one)) uploads.remove(one);
  }

  /** Takes the files of a form one after the other, at most `most`. Of a form that is refused, none is kept. */
  async function receive(request: FastifyRequest, most: number): Promise<(Taken | Refusal)[]> {
    const identity = identityOf(request);
    windows.take('uploads', identity.tenant);
    const taken: (Taken | Refusal)[] = [];
    try {
      const wanted = 'Send the picture as multipart/form-data, in the field "file".';
      for await (const part of formParts(request, wanted)) {
        if (part.type === 'field' || taken.length === most) {
          throw new ApiError('invalid_request', `Send ${most} file(s) and nothing else.`, {
            param: part.fieldname,
          });
        }
        taken.push(await takePart(identity, part));
      }
    } catch (error) {
      forget(taken);
      throw error;
    }
    return taken;
  }

  async function takePart(identity: Identity, { filename, file }: MultipartFile): Promise<Taken | Refusal> {
    try {
      return await uploads.take(identity, filename, file);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // What follows in the form can only be read when this file is out of the way.
      file.resume();
      return { name: filename, error };
    }
  }

  function own(request: FastifyRequest, id: string): Upload {
    const identity = identityOf(request);
    const upload = uploadStore.find(identity.tenant.id, id);
    if (!upload || !maySeeWorkOf(identity, upload.person))
      throw new ApiError('not_found', 'There is no such upload.');
    return upload;
  }

  function view(request: FastifyRequest, upload: Upload) {
    const { id, name, contentType, width, height, bytes, tenant } = upload;
    const urlExpiresAt = Date.now() + limits.jobs.linkMs;
    return {
      id,
      name,
      contentType,
      width,
      height,
      bytes,
      url: linkTo(deps, request, { tenant, group: uploadGroup, id }, urlExpiresAt),
      urlExpiresAt: moment(urlExpiresAt),
      createdAt: moment(upload.createdAt),
      expiresAt: moment(upload.expiresAt),
    };
  }
};

const Refused = Type.Object({
  name: Type.String(),
  error: Type.Object({ code: Type.String(), message: Type.String() }),
});

function noFile(): ApiError {
  return new ApiError('invalid_request', 'Missing parameter: "file".', { param: 'file' });
}

interface Refusal {
  readonly name: string;
  readonly error: ApiError;
}

function refusal({ name, error }: Refusal) {
  return { name, error: { code: error.code, message: error.message } };
}
