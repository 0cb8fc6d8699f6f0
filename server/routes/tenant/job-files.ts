import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { ErrorBody, ErrorEnvelope } from '../../contract/errors.ts';
import { ArtefactView, FileParams, JobParams } from '../../contract/jobs.ts';
import { limits } from '../../contract/limits.ts';
import { Envelope } from '../../contract/platform.ts';
import type { FileName } from '../../files/file-store.ts';
import { uploadGroup } from '../../files/upload-store.ts';
import { json } from '../../generation/text.ts';
import { ApiError } from '../../http/api-error.ts';
import { rangeOf } from '../../http/byte-range.ts';
import { archive } from '../../http/archive.ts';
import { moment, success } from '../../http/envelope.ts';
import type { Artefact, JobRecord } from '../../jobs/job-store.ts';
import { isFinal } from '../../jobs/states.ts';
import { identityOf, linkTo, ownJob, type TenantDeps } from './tenant-context.ts';

const tags = ['Jobs'];
const file = Type.Unknown({ description: 'The file.' });

/** Results of jobs: listed, fetched by whoever has the key or a link, all at once, and looked at while they are made. */
export const jobFileRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { directory, jobs, jobStore, fileStore, signedLinks, moderation, windows } = deps;

  app.get(
    '/api/v1/download/:id/files',
    {
      schema: {
        tags,
        summary: 'The results of a job, also those it has while it runs',
        params: JobParams,
        response: { 200: Envelope(Type.Array(ArtefactView)), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { id } = ownJob(deps, request, request.params.id);
      return success(jobStore.artefacts(id).map((artefact) => view(request, artefact)));
    },
  );

  app.get(
    '/api/v1/download/:id/files/:file',
    {
      schema: {
        tags,
        summary: 'One result',
        params: FileParams,
        response: { 200: file, default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const job = ownJob(deps, request, request.params.id);
      const artefact = jobStore.artefacts(job.id).find((one) => one.id === request.params.file);
      if (!artefact) throw new ApiError('not_found', 'There is no such file.');
      return send(request, reply, nameOf(artefact), artefact.name, artefact.contentType);
    },
  );

  app.get(
    '/api/v1/jobs/:id/download',
    {
      schema: {
        tags,
        summary: 'All results of a job as one ZIP archive, with what they were made with',
        params: JobParams,
        response: { 200: file, default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const job = ownJob(deps, request, request.params.id);
      const artefacts = jobStore.artefacts(job.id);
      if (artefacts.length === 0) throw new ApiError('conflict', `It is ${job.state}, and has no results.`);
      countDownload(job.tenant, 0);
      return reply
        .headers({ ...fileHeaders(`${job.id}.zip`), 'content-type': 'application/zip' })
        .send(packed(artefacts));
    },
  );

  app.get(
    '/api/v1/jobs/:id/preview',
    {
      schema: {
        tags,
        summary: 'How the picture that a job makes looks at the moment',
        params: JobParams,
        response: { 200: Type.Unknown({ description: 'A small picture.' }), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const job = ownJob(deps, request, request.params.id);
      const preview = jobs.preview(job.id);
      const { tenant } = identityOf(request);
      if (!preview || !(await moderation.allows(tenant, preview.bytes)))
        throw new ApiError('not_found', 'There is nothing to be seen of it at the moment.');
      return reply
        .headers({
          ...fileHeaders('preview'),
          'content-type': typeOf(preview.bytes),
          'cache-control': 'no-store',
        })
        .send(Buffer.from(preview.bytes));
    },
  );

  app.get(
    '/api/v1/inference/:id/result',
    {
      schema: {
        tags,
        summary: 'The answer of an inference, in OpenAI’s form',
        params: JobParams,
        response: { 200: Type.Unknown(), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const job = ownJob(deps, request, request.params.id);
      if (job.feature !== 'inference') throw new ApiError('not_found', 'There is no such inference.');
      countDownload(job.tenant, 0);
      return reply.type(json).send(fileStore.read(nameOf(answerOf(job))));
    },
  );

  app.get(
    '/files/:job/:file',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'One result or upload behind a link that expires; ranges of it can be asked for',
        params: Type.Object({ job: Type.String({ maxLength: 60 }), file: Type.String({ maxLength: 60 }) }),
        querystring: Type.Object(
          { expires: Type.String({ maxLength: 20 }), signature: Type.String({ maxLength: 100 }) },
          { additionalProperties: false },
        ),
        response: { 200: file, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { job: group, file: id } = request.params;
      const { expires, signature } = request.query;
      const found = fileBehind(group, id);
      const target = { tenant: found?.name.tenant ?? '', object: `/files/${group}/${id}` };
      if (!signedLinks.isGood(target, expires, signature) || !found)
        throw new ApiError('forbidden', 'The link is not valid, or has expired.');
      // Whoever has the link may show it in a page of another site.
      reply.header('cross-origin-resource-policy', 'cross-origin');
      return send(request, reply, found.name, found.shownAs, found.contentType);
    },
  );

  /** A result, its small picture, or an upload. */
  function fileBehind(
    group: string,
    id: string,
  ): { name: FileName; shownAs: string; contentType: string } | null {
    if (group === uploadGroup) {
      const upload = deps.uploadStore.findAny(id);
      if (!upload) return null;
      const { tenant, name, contentType } = upload;
      return { name: { tenant, group, id }, shownAs: name, contentType };
    }
    for (const artefact of jobStore.artefacts(group)) {
      const name = nameOf(artefact);
      if (artefact.id === id) return { name, shownAs: artefact.name, contentType: artefact.contentType };
      if (artefact.thumbnail === id)
        return { name: { ...name, id }, shownAs: `${artefact.name}.webp`, contentType: 'image/webp' };
    }
    return null;
  }

  /** A result as a file to keep, or a range of it: never shown as a page of ours, whatever is in it. */
  async function send(
    request: FastifyRequest,
    reply: FastifyReply,
    name: FileName,
    shownAs: string,
    contentType: string,
  ): Promise<FastifyReply> {
    const bytes = await fileStore.bytesOf(name);
    if (bytes === null) throw new ApiError('not_found', 'There is no such file any more.');
    // A file of a name never changes.
    const etag = `"${name.id}"`;
    const { 'if-none-match': known, 'if-range': condition, range } = request.headers;
    void reply.headers({
      ...fileHeaders(shownAs),
      'content-type': contentType,
      'accept-ranges': 'bytes',
      etag,
    });
    if (known === etag) return reply.status(304).send();
    const part = condition === undefined || condition === etag ? rangeOf(range, bytes) : null;
    if (part === 'unsatisfiable') {
      void reply.header('content-range', `bytes */${bytes}`);
      throw new ApiError('range_not_satisfiable', `The file has ${bytes} bytes.`);
    }
    countDownload(name.tenant, part?.start ?? 0);
    if (!part) return reply.header('content-length', bytes).send(fileStore.read(name));
    return reply
      .status(206)
      .headers({
        'content-range': `bytes ${part.start}-${part.end - 1}/${bytes}`,
        'content-length': part.end - part.start,
      })
      .send(fileStore.read(name, part));
  }

  /** Counts a file once, however many ranges it is fetched in. */
  function countDownload(id: string, start: number): void {
    const tenant = start === 0 ? directory.tenant(id) : undefined;
    if (tenant) windows.take('downloads', tenant);
  }

  function view(request: FastifyRequest, artefact: Artefact) {
    const { job, tenant, createdAt, thumbnail, ...shown } = artefact;
    const expiresAt = Date.now() + limits.jobs.linkMs;
    const link = (id: string): string => linkTo(deps, request, { tenant, group: job, id }, expiresAt);
    return {
      ...shown,
      metadata: { ...artefact.metadata },
      url: link(artefact.id),
      thumbnailUrl: thumbnail === null ? null : link(thumbnail),
      expiresAt: moment(expiresAt),
      createdAt: moment(createdAt),
    };
  }

  function answerOf(job: JobRecord): Artefact {
    if (!isFinal(job.state))
      throw new ApiError('conflict', `It is ${job.state} yet. Ask again later.`, { retryAfterMs: 2_000 });
    const [answer] = jobStore.artefacts(job.id);
    if (!answer || job.state !== 'succeeded')
      throw new ApiError('conflict', `It has ${job.state}: ${job.errorMessage ?? 'there is no answer'}.`);
    return answer;
  }

  /** Pictures are stored as they are: they are packed already. */
  function packed(artefacts: readonly Artefact[]) {
    return archive((add) => {
      for (const artefact of artefacts) {
        const { name, createdAt, bytes } = artefact;
        const about = { mtime: new Date(createdAt), isPacked: true, sizeBytes: bytes };
        add.file(name, () => fileStore.read(nameOf(artefact)), about);
      }
      const about = artefacts.map(({ name, contentType, bytes, metadata }) => ({
        name,
        contentType,
        bytes,
        metadata,
      }));
      add.json('about.json', about);
    });
  }
};

function nameOf({ tenant, job, id }: Artefact): FileName {
  return { tenant, group: job, id };
}

function fileHeaders(name: string): Record<string, string> {
  const ascii = name.replaceAll(/[^\x20-\x7e]|["\\]/g, '_');
  const whole = ascii === name ? '' : `; filename*=UTF-8''${encodeURIComponent(name).replaceAll("'", '%27')}`;
  return {
    'content-disposition': `attachment; filename="${ascii}"${whole}`,
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; sandbox",
  };
}

/** Engines send previews as PNG or JPEG. */
function typeOf(bytes: Uint8Array): string {
  return bytes[0] === 0x89 ? 'image/png' : 'image/jpeg';
}
