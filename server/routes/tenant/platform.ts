import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { RateState } from '../../admission/rate-window.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { Envelope, Health, RateLimit, Readiness, UsageQuery, UsageReport } from '../../contract/platform.ts';
import { success } from '../../http/envelope.ts';
import { usageReport } from '../../usage/usage-report.ts';
import { identityOf, type TenantDeps } from './tenant-context.ts';

/** Health for machines, limits and usage for tenants. */
export const platformRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { db, gpu, admission, usage, days, windows, version, demo } = deps;

  app.get(
    '/health',
    {
      config: { open: true },
      schema: { tags: ['Health'], summary: 'Whether the appliance lives', response: { 200: Health } },
    },
    async () => ({ status: 'ok', version, demo }),
  );

  app.get(
    '/ready',
    {
      config: { open: true },
      schema: {
        tags: ['Health'],
        summary: 'Whether work can be done',
        response: { 200: Readiness, 503: Readiness, default: ErrorBody },
      },
    },
    async (_request, reply) => {
      const paused = gpu.status().mode === 'paused';
      const text = gpu.canServe('text');
      const image = gpu.canServe('image');
      const ready = (text || image) && !paused;
      return reply
        .status(ready ? 200 : 503)
        .send({ status: ready ? 'ready' : 'not ready', text, image, paused });
    },
  );

  app.get(
    '/openapi.json',
    {
      config: { open: true },
      schema: {
        tags: ['Health'],
        summary: 'This API as an OpenAPI document',
        response: { 200: Type.Unknown() },
      },
    },
    async () => app.swagger(),
  );

  app.get(
    '/api/v1/rate-limit',
    {
      schema: {
        tags: ['Platform'],
        summary: 'Limits as they stand',
        response: { 200: Envelope(RateLimit), default: ErrorBody },
      },
    },
    async (request) => {
      const { tenant } = identityOf(request);
      const window = ({ limit, remaining, resetMs }: RateState) => ({ limit, remaining, resetMs });
      const { concurrent, queued } = tenant.limits;
      return success({
        plan: tenant.plan,
        requestsPerMinute: window(admission.rate(tenant)),
        uploadsPerMinute: window(windows.peek('uploads', tenant)),
        imagesPerHour: window(windows.peek('images', tenant)),
        downloadsPerHour: window(windows.peek('downloads', tenant)),
        concurrency: { running: concurrent, queued, open: admission.open(tenant.id) },
      });
    },
  );

  app.get(
    '/api/v1/usage',
    {
      schema: {
        tags: ['Platform'],
        summary: 'What was used, in all and by day, model, key and feature',
        querystring: UsageQuery,
        response: { 200: Envelope(UsageReport), default: ErrorBody },
      },
    },
    async (request) => {
      const { tenant } = identityOf(request);
      const { from, until } = days.last(request.query.days ?? 30);
      usage.flush();
      const report = usageReport(db, tenant.id, from);
      const { byDay, byModel, byKey, byFeature, totals } = report;
      return success({
        from,
        until,
        timeZone: days.timeZone,
        totals,
        byDay: [...byDay],
        byModel: [...byModel],
        byKey: [...byKey],
        byFeature: [...byFeature],
      });
    },
  );
};
