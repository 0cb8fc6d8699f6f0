import { setTimeout as delay } from 'node:timers/promises';
import staticFiles from '@fastify/static';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { ErrorBody, ErrorEnvelope } from '../../contract/errors.ts';
import { ArtefactView, FileParams, JobParams, JobsQuery, JobView, NewJobQuery } from '../../contract/jobs.ts';
import { limits } from '../../contract/limits.ts';
import { QuoteView } from '../../contract/money.ts';
import { Envelope, PageOf } from '../../contract/platform.ts';
import { newId } from '../../db/ids.ts';
import { json, modelFor } from '../../generation/text.ts';
import { ApiError } from '../../http/api-error.ts';
import { moment, success } from '../../http/envelope.ts';
import { HeldReply } from '../../http/held-reply.ts';
import { jobView, pageOf } from '../../http/views.ts';
import type { Feature } from '../../jobs/feature.ts';
import type { Artefact, JobRecord } from '../../jobs/job-store.ts';
import { isFinal } from '../../jobs/states.ts';
import {
  addressOf,
  identityOf,
  isDryRun,
  sendKept,
  takeKey,
  tellLimits,
  type TenantDeps,
} from './tenant-context.ts';

const tags = ['Jobs'];
/** Progress comes often; so often is enough for whoever looks. */
const progressEveryMs = 200;

/** Work that goes on without its caller: asked for, watched, cancelled, and its results fetched. */
export const jobRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { jobs, jobStore, jobFiles, features, admission, idempotency, signedLinks } = deps;
  await app.register(staticFiles, { root: jobFiles.root, serve: false });

  for (const feature of features.values()) {
    app.post(
      feature.path,
      {
        schema: {
          tags,
          summary: `${feature.summary}, as a job`,
          body: feature.body,
          querystring: NewJobQuery,
          response: {
            200: Type.Union([Envelope(JobView), QuoteView]),
            202: Envelope(JobView),
            default: ErrorEnvelope,
          },
        },
      },
      async (request, reply) => {
        const job = await create(feature, request, reply);
        if (!job) return reply;
        jobs.wake();
        const waited = await waitFor(job, request);
        if (isFinal(waited.state)) return reply.status(200).send(success(view(waited)));
        return reply
          .status(202)
          .header('location', `/api/v1/jobs/${job.id}`)
          .send(success(view(waited)));
      },
    );
  }

  app.get(
    '/api/v1/jobs',
    {
      schema: {
        tags,
        summary: 'Jobs, newest first',
        querystring: JobsQuery,
        response: { 200: Envelope(PageOf(JobView)), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { state, feature, after, limit = limits.page.default } = request.query;
      const tenant = identityOf(request).tenant.id;
      const found = jobStore.page({ tenant, state, feature, after, limit: limit + 1 });
      return success(pageOf(found, limit, view));
    },
  );

  for (const path of ['/api/v1/jobs/:id', '/api/v1/jobs/:id/status', '/api/v1/inference/:id']) {
    app.get(
      path,
      {
        schema: {
          tags,
          summary: 'How a job stands',
          params: JobParams,
          response: { 200: Envelope(JobView), default: ErrorEnvelope },
        },
      },
      async (request) => success(view(own(request, request.params.id))),
    );
  }

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
      const job = own(request, request.params.id);
      const [answer] = jobStore.artefacts(job.id);
      if (job.feature !== 'inference') throw new ApiError('not_found', 'There is no such inference.');
      if (!isFinal(job.state))
        throw new ApiError('conflict', `It is ${job.state} yet. Ask again later.`, { retryAfterMs: 2_000 });
      if (!answer || job.state !== 'succeeded')
        throw new ApiError('conflict', `It has ${job.state}: ${job.errorMessage ?? 'there is no answer'}.`);
      return reply.type(json).send(jobFiles.read(answer));
    },
  );

  // POST as well: quick tunnels hold back what a GET streams.
  app.route({
    method: ['GET', 'POST'],
    url: '/api/v1/jobs/:id/events',
    schema: {
      tags,
      summary: 'What happens to a job, as server-sent events; Last-Event-ID goes on where one was',
      params: JobParams,
      response: { 200: Type.Unknown({ description: 'text/event-stream' }), default: ErrorEnvelope },
    },
    handler: async (request, reply) => {
      const { id } = own(request, request.params.id);
      const last = Number(request.headers['last-event-id'] ?? 0);
      if (!Number.isSafeInteger(last) || last < 0)
        throw new ApiError('invalid_request', 'The Last-Event-ID is not one of ours.', {
          param: 'last-event-id',
        });
      const held = new HeldReply(request, reply, 'events');
      try {
        await sendEvents(id, last, held);
        held.end();
      } catch (error) {
        held.fail(error);
      }
    },
  });

  app.post(
    '/api/v1/jobs/:id/cancel',
    {
      schema: {
        tags,
        summary: 'Cancel a job, for good; what it had finished is charged',
        params: JobParams,
        response: { 200: Envelope(JobView), default: ErrorEnvelope },
      },
    },
    async (request) => success(view(jobs.cancel(own(request, request.params.id).id))),
  );

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
      const { id } = own(request, request.params.id);
      return success(
        jobStore.artefacts(id).map(({ job, tenant, createdAt, ...artefact }) => {
          const expiresAt = Date.now() + limits.jobs.linkMs;
          const path = `/files/${job}/${artefact.id}`;
          const signature = signedLinks.sign({ tenant, object: path }, expiresAt);
          return {
            ...artefact,
            metadata: { ...artefact.metadata },
            url: `${addressOf(deps, request)}${path}?expires=${expiresAt}&signature=${signature}`,
            expiresAt: moment(expiresAt),
            createdAt: moment(createdAt),
          };
        }),
      );
    },
  );

  app.get(
    '/api/v1/download/:id/files/:file',
    {
      schema: {
        tags,
        summary: 'One result',
        params: FileParams,
        response: { 200: Type.Unknown({ description: 'The file.' }), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { id } = own(request, request.params.id);
      const artefact = jobStore.artefacts(id).find((one) => one.id === request.params.file);
      if (!artefact) throw new ApiError('not_found', 'There is no such file.');
      return send(reply, artefact);
    },
  );

  app.get(
    '/files/:job/:file',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'One result behind a link that expires; ranges of it can be asked for',
        params: Type.Object({ job: Type.String({ maxLength: 60 }), file: Type.String({ maxLength: 60 }) }),
        querystring: Type.Object(
          { expires: Type.String({ maxLength: 20 }), signature: Type.String({ maxLength: 100 }) },
          { additionalProperties: false },
        ),
        response: { 200: Type.Unknown({ description: 'The file.' }), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { job, file } = request.params;
      const { expires, signature } = request.query;
      const artefact = jobStore.artefacts(job).find(({ id }) => id === file);
      const target = { tenant: artefact?.tenant ?? '', object: `/files/${job}/${file}` };
      if (!signedLinks.isGood(target, expires, signature) || !artefact)
        throw new ApiError('forbidden', 'The link is not valid, or has expired.');
      return send(reply, artefact);
    },
  );

  /** A result as a file to keep: never shown as a page of ours, whatever is in it. */
  function send(reply: FastifyReply, artefact: Artefact): FastifyReply {
    const { folder, name } = jobFiles.locate(artefact);
    return reply
      .headers({
        'content-type': artefact.contentType,
        'content-disposition': `attachment; filename="${artefact.name}"`,
        'x-content-type-options': 'nosniff',
        'content-security-policy': "default-src 'none'; sandbox",
      })
      .sendFile(name, folder, { contentType: false, cacheControl: false, dotfiles: 'deny' });
  }

  /** Puts a job down with everything that is held for it. Null when the request is answered already. */
  async function create(
    feature: Feature<unknown>,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<JobRecord | null> {
    const identity = identityOf(request);
    const asked = request.body as { model?: string };
    const model = await modelFor(deps, identity, feature.modality, asked.model);
    const wish = {
      feature: feature.name,
      model: model.id,
      lane: 'batch',
      ...feature.wish(asked, model),
    } as const;
    if (isDryRun(request)) {
      const { credits, available } = admission.quote(identity, wish);
      await reply.send({
        dryRun: true,
        credits,
        available,
        enough: available === null || credits <= available,
      });
      return null;
    }
    const keyed = takeKey(deps, request, asked);
    if (keyed && 'body' in keyed) {
      await sendKept(reply, keyed);
      return null;
    }
    try {
      if (jobStore.openOf(identity.tenant.id) >= limits.jobs.openPerTenant) {
        throw new ApiError(
          'tenant_queue_full',
          `${limits.jobs.openPerTenant} jobs are open already (limit: queue). Wait for some to end.`,
          { retryAfterMs: 30_000 },
        );
      }
      const id = newId('job');
      const { start_within: within } = request.query as { start_within?: number };
      let made: JobRecord | null = null;
      admission.admitJob(identity, wish, id, (creditsHeld, prices) => {
        made = jobStore.create(
          {
            id,
            tenant: identity.tenant.id,
            askedBy: identity.id,
            person: identity.person,
            feature: feature.name,
            model: model.id,
            creditsHeld,
            startBy: within === undefined ? null : Date.now() + within * 1000,
          },
          feature.prepare(asked),
          prices,
        );
        if (keyed)
          idempotency.finish(keyed, {
            status: 202,
            contentType: json,
            body: JSON.stringify(success(view(made))),
          });
      });
      return made;
    } catch (error) {
      if (keyed) idempotency.forget(keyed);
      throw error;
    } finally {
      tellLimits(reply, deps, identity);
    }
  }

  /** `Prefer: wait=n`: the answer is held back until the job has ended, for so many seconds at the most. */
  async function waitFor(job: JobRecord, request: FastifyRequest): Promise<JobRecord> {
    const wanted = /\bwait=(\d{1,4})\b/.exec(String(request.headers['prefer'] ?? ''))?.[1];
    if (wanted === undefined) return job;
    const until = Date.now() + Math.min(Number(wanted), limits.jobs.waitSeconds) * 1000;
    const current = (): JobRecord => jobStore.find(job.id) ?? job;
    while (!isFinal(current().state) && Date.now() < until && !request.socket.destroyed)
      await changeOf(job.id, until - Date.now());
    return current();
  }

  /** Resolves when something happened to a job, or the time is over. */
  function changeOf(id: string, withinMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        unwatch();
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, Math.max(0, withinMs));
      const unwatch = jobs.watch(id, done);
      signal?.addEventListener('abort', done);
    });
  }

  async function sendEvents(id: string, from: number, held: HeldReply): Promise<void> {
    let last = from;
    let told = -1;
    for (;;) {
      held.signal.throwIfAborted();
      for (const { sequence, type, data, at } of jobStore.events(id, last)) {
        last = sequence;
        await held.write(eventOf(type, { ...data, at: moment(at) }, sequence));
      }
      const job = jobStore.find(id);
      if (!job || isFinal(job.state)) {
        if (job) await held.write(eventOf('end', view(job)));
        return;
      }
      const progress = jobs.progress(job);
      if (progress !== told) {
        told = progress;
        await held.write(eventOf('progress', { progress, queue: jobs.standing(job) }));
      }
      await changeOf(id, limits.heartbeatMs, held.signal);
      await delay(progressEveryMs, undefined, { signal: held.signal });
    }
  }

  function own(request: FastifyRequest, id: string): JobRecord {
    const job = jobStore.find(id);
    if (!job || job.tenant !== identityOf(request).tenant.id)
      throw new ApiError('not_found', 'There is no such job.');
    return job;
  }

  function view(job: JobRecord) {
    return jobView(job, jobs);
  }
};

function eventOf(type: string, data: object, id?: number): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
}
