import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type TSchema, Type } from 'typebox';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { Style } from '../../contract/image-generation.ts';
import { BatchView, JobParams, JobsQuery, JobView, NewJobQuery } from '../../contract/jobs.ts';
import { limits } from '../../contract/limits.ts';
import { QuoteView } from '../../contract/money.ts';
import { Envelope, PageOf } from '../../contract/platform.ts';
import { newId } from '../../db/ids.ts';
import { json } from '../../generation/text.ts';
import { ApiError } from '../../http/api-error.ts';
import { success } from '../../http/envelope.ts';
import { preferenceOf } from '../../http/preferences.ts';
import { jobView, pageOf } from '../../http/views.ts';
import type { Order } from '../../jobs/job-desk.ts';
import type { JobRecord } from '../../jobs/job-store.ts';
import { isFinal } from '../../jobs/states.ts';
import { eyesOf } from '../../tenants/eyes.ts';
import { identityOf, isDryRun, ownJob, tellLimits, type TenantDeps } from './tenant-context.ts';

const tags = ['Jobs'];

/** Work that goes on without its caller: asked for, looked up, cancelled, forgotten. */
export const jobRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { jobs, jobStore, jobDesk, features, idempotency, styles } = deps;

  for (const feature of features.values()) {
    app.post(
      feature.path,
      {
        config: { counts: feature.name, once: true },
        ...(feature.modality === 'text' && { bodyLimit: limits.body.picturesBytes }),
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
        const identity = identityOf(request);
        const order = await jobDesk.order(identity, feature, request.body);
        const made = await place(request, reply, [order], null, ([job]) => job && view(job));
        const [job] = made ?? [];
        if (!job) return reply;
        const waited = await waitFor(job, request, reply);
        if (isFinal(waited.state)) return reply.status(200).send(success(view(waited)));
        return reply
          .status(202)
          .header('location', `/api/v1/jobs/${job.id}`)
          .send(success(view(waited)));
      },
    );
  }

  app.post(
    '/api/v1/jobs/batch',
    {
      config: { counts: 'batch', once: true },
      bodyLimit: limits.body.picturesBytes,
      schema: {
        tags,
        summary: `Up to ${limits.jobs.batch} jobs with one receipt: all of them are taken, or none`,
        body: batchBody([...features.values()]),
        querystring: NewJobQuery,
        response: {
          200: Type.Union([Envelope(BatchView), QuoteView]),
          202: Envelope(BatchView),
          default: ErrorEnvelope,
        },
      },
    },
    async (request, reply) => {
      const identity = identityOf(request);
      const { items } = request.body as { items: { feature: string; input: unknown }[] };
      const orders: Order[] = [];
      for (const [index, { feature: name, input }] of items.entries()) {
        const feature = features.get(name);
        if (!feature) throw new ApiError('invalid_request', `There is no feature "${name}".`);
        orders.push(await naming(`items.${index}.input`, () => jobDesk.order(identity, feature, input)));
      }
      const id = newId('batch');
      const made = await place(request, reply, orders, id, (all) => batchView(id, all));
      if (!made) return reply;
      return reply
        .status(202)
        .header('location', `/api/v1/jobs/batch/${id}`)
        .send(success(batchView(id, made)));
    },
  );

  app.get(
    '/api/v1/jobs/batch/:id',
    {
      schema: {
        tags,
        summary: 'How a batch stands',
        params: JobParams,
        response: { 200: Envelope(BatchView), default: ErrorEnvelope },
      },
    },
    async (request) => success(batchView(request.params.id, ownBatch(request, request.params.id))),
  );

  app.post(
    '/api/v1/jobs/batch/:id/cancel',
    {
      schema: {
        tags,
        summary: 'Cancel what has not ended of a batch, for good; what was finished is charged',
        params: JobParams,
        response: { 200: Envelope(BatchView), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { id } = request.params;
      await jobs.cancelAll(ownBatch(request, id).map((job) => job.id));
      return success(batchView(id, ownBatch(request, id)));
    },
  );

  app.get(
    '/api/v1/jobs',
    {
      schema: {
        tags,
        summary:
          'Jobs, newest first: one’s own; for administrators, keys of the company, and where the company shares its work, all',
        querystring: JobsQuery,
        response: { 200: Envelope(PageOf(JobView)), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { limit = limits.page.default, ...filter } = request.query;
      const identity = identityOf(request);
      const whose = { tenant: identity.tenant.id, person: eyesOf(identity) ?? undefined };
      const found = jobStore.page({ ...filter, ...whose, limit: limit + 1 });
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
      async (request) => success(view(ownJob(deps, request, request.params.id))),
    );
  }

  app.delete(
    '/api/v1/jobs/:id',
    {
      schema: {
        tags,
        summary: 'Forget a job that has ended, with its results',
        params: JobParams,
        response: { 200: Envelope(JobView), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const job = ownJob(deps, request, request.params.id);
      const last = view(job);
      jobs.remove(job);
      return success(last);
    },
  );

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
    async (request) => success(view(jobs.cancel(ownJob(deps, request, request.params.id).id))),
  );

  app.get(
    '/api/v1/styles',
    {
      schema: {
        tags,
        summary: 'Styles that a picture can be asked for in',
        response: { 200: Envelope(Type.Array(Style)), default: ErrorEnvelope },
      },
    },
    async () => success([...styles]),
  );

  /** Puts jobs down with everything that is held for them. Null when the request is answered already. */
  async function place(
    request: FastifyRequest,
    reply: FastifyReply,
    orders: readonly Order[],
    batch: string | null,
    receipt: (made: readonly JobRecord[]) => unknown,
  ): Promise<JobRecord[] | null> {
    const identity = identityOf(request);
    if (isDryRun(request)) {
      const { credits, available } = jobDesk.quote(identity, orders);
      const enough = available === null || credits <= available;
      await reply.send({ dryRun: true, credits, available, enough });
      return null;
    }
    const { keyed } = request;
    try {
      const { start_within: startWithin } = request.query as { start_within?: number };
      return jobDesk.place(identity, orders, { batch, startWithin }, (made) => {
        if (!keyed) return;
        const body = JSON.stringify(success(receipt(made)));
        idempotency.finish(
          keyed,
          { status: 202, contentType: json, body },
          made.map(({ feature, model }) => ({ feature, model })),
        );
      });
    } finally {
      tellLimits(reply, deps, identity);
    }
  }

  /** `Prefer: wait=n`: the answer is held back until the job has ended, for so many seconds at the most. */
  async function waitFor(job: JobRecord, request: FastifyRequest, reply: FastifyReply): Promise<JobRecord> {
    const wanted = preferenceOf(request.headers['prefer'], 'wait');
    if (wanted === null || !/^\d+$/.test(wanted)) return job;
    const seconds = Math.min(Number(wanted), limits.jobs.waitSeconds);
    reply.header('preference-applied', `wait=${seconds}`);
    const until = Date.now() + seconds * 1000;
    const current = (): JobRecord => jobStore.find(job.id) ?? job;
    const changes = jobs.changesOf(job.id);
    while (!isFinal(current().state) && Date.now() < until && !request.socket.destroyed)
      await changes.next(until - Date.now());
    changes.stop();
    return current();
  }

  function ownBatch(request: FastifyRequest, batch: string): JobRecord[] {
    const identity = identityOf(request);
    const whose = { tenant: identity.tenant.id, person: eyesOf(identity) ?? undefined };
    const found = jobStore.page({ ...whose, batch, limit: limits.jobs.batch });
    if (found.length === 0) throw new ApiError('not_found', 'There is no such batch.');
    return found.toReversed();
  }

  function batchView(id: string, all: readonly JobRecord[]) {
    const shown = all.map(view);
    const states: Record<string, number> = {};
    for (const { state } of all) states[state] = (states[state] ?? 0) + 1;
    const sum = (of: (one: (typeof shown)[number]) => number): number =>
      shown.reduce((total, one) => total + of(one), 0);
    return {
      id,
      states,
      progress: sum((one) => (one.finishedAt === null ? one.progress : 1)) / shown.length,
      credits: { held: sum((one) => one.credits.held), charged: sum((one) => one.credits.charged ?? 0) },
      jobs: shown,
    };
  }

  function view(job: JobRecord) {
    return jobView(job, jobs);
  }
};

/** A list of jobs of any kinds. */
function batchBody(features: readonly { name: string; body: TSchema }[]) {
  const kinds = features.map(({ name, body }) =>
    Type.Object({ feature: Type.Literal(name), input: body }, { additionalProperties: false }),
  );
  return Type.Object(
    { items: Type.Array(Type.Union(kinds), { minItems: 1, maxItems: limits.jobs.batch }) },
    { additionalProperties: false },
  );
}

/** Puts the place in front of the parameter that an error names. */
async function naming<Result>(place: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const param = error.param === null ? place : `${place}.${error.param}`;
    throw new ApiError(error.code, `${place}: ${error.message}`, { param, cause: error.cause });
  }
}
