import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { JobDetailView, OperatorJobView } from '../../contract/console.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { JobParams, JobsQuery } from '../../contract/jobs.ts';
import { limits } from '../../contract/limits.ts';
import { PageOf } from '../../contract/platform.ts';
import { ApiError } from '../../http/api-error.ts';
import { moment } from '../../http/envelope.ts';
import { jobView, pageOf } from '../../http/views.ts';
import type { JobRecord } from '../../jobs/job-store.ts';
import { isFinal } from '../../jobs/states.ts';
import type { Identity } from '../../tenants/tenant.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

/** The jobs of all tenants. What was asked in them is theirs, and not shown here. */
export const operatorJobRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { jobs, jobStore, jobDesk, features, directory, tenants, audit } = deps;

  app.get(
    '/api/jobs',
    {
      schema: {
        summary: 'Jobs, newest first',
        querystring: Type.Object(
          { ...JobsQuery.properties, tenant: Type.Optional(Type.String({ maxLength: 120 })) },
          { additionalProperties: false },
        ),
        response: { 200: PageOf(OperatorJobView), default: ErrorBody },
      },
    },
    async (request) => {
      const { limit = limits.page.default, ...filter } = request.query;
      return pageOf(jobStore.page({ ...filter, limit: limit + 1 }), limit, view);
    },
  );

  app.get(
    '/api/jobs/:id',
    {
      schema: {
        summary: 'One job, with what came out of it and what happened to it',
        params: JobParams,
        response: { 200: JobDetailView, default: ErrorBody },
      },
    },
    async (request) => {
      const job = jobStore.find(request.params.id);
      if (!job) throw new ApiError('not_found', 'There is no such job.');
      return {
        job: view(job),
        artefacts: jobStore.artefacts(job.id).map(({ id, name, contentType, bytes, createdAt }) => ({
          id,
          name,
          contentType,
          bytes,
          createdAt: moment(createdAt),
        })),
        events: jobStore
          .events(job.id, 0)
          .map(({ sequence, type, at }) => ({ sequence, type, at: moment(at) })),
      };
    },
  );

  app.post(
    '/api/jobs/:id/cancel',
    {
      schema: {
        summary: 'Cancel a job, for good; what it had finished is charged',
        params: JobParams,
        response: { 200: OperatorJobView, default: ErrorBody },
      },
    },
    async (request) => {
      const job = jobStore.find(request.params.id);
      if (!job) throw new ApiError('not_found', 'There is no such job.');
      const about = { action: 'job.cancel', target: job.id, tenant: job.tenant } as const;
      return view(jobs.cancel(job.id, () => audit.add(operatorOf(request), about)));
    },
  );

  app.post(
    '/api/jobs/:id/retry',
    {
      schema: {
        summary:
          'Ask for a job once more that failed, expired or was cancelled; its tenant pays as the first time',
        params: JobParams,
        response: { 201: OperatorJobView, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const job = jobStore.find(request.params.id);
      if (!job) throw new ApiError('not_found', 'There is no such job.');
      if (!isFinal(job.state) || job.state === 'succeeded')
        throw new ApiError('conflict', `It is ${job.state}: there is nothing to do again.`);
      const feature = features.get(job.feature);
      const tenant = directory.tenant(job.tenant);
      if (!feature || !tenant)
        throw new ApiError('conflict', 'Its feature or its tenant is not there any more.');
      const { askedBy: id, person } = job;
      const identity: Identity = {
        id,
        tenant,
        person,
        user: null,
        models: [],
        features: [],
        expiresAt: null,
        renewed: () => identity,
      };
      const order = await jobDesk.order(identity, feature, jobStore.input(job.id));
      const [again] = jobDesk.place(identity, [order], { retryOf: job.id }, ([made]) => {
        // The operator wants it, whether or not the first one's key is still good.
        if (made) jobStore.outliveAsker(made.tenant, made.id);
        audit.add(operatorOf(request), {
          action: 'job.retry',
          target: job.id,
          tenant: job.tenant,
          after: { job: made?.id },
        });
      });
      return reply.status(201).send(view(again ?? job));
    },
  );

  function view(job: JobRecord) {
    const { tenant, attempt: attempts, engineFailures, interruptions } = job;
    const tenantName = tenants.nameOf(tenant) ?? tenant;
    return { ...jobView(job, jobs), tenant, tenantName, attempts, engineFailures, interruptions };
  }
};
