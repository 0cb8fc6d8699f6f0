import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { Type } from 'typebox';
import type { OperatorDeps } from './operator-context.ts';

/** GET /metrics in Prometheus' text format. */
export const metricsRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, { gpu, writes }) => {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: 'kilnhouse_' });
  const memory = new Gauge({
    name: 'kilnhouse_vram_bytes',
    help: 'Video memory: total, budget, reserved by us, used by others, used by our engines beside their models',
    labelNames: ['of'],
    registers,
  });
  const waiting = new Gauge({
    name: 'kilnhouse_queue_waiting',
    help: 'Requests that wait, by model',
    labelNames: ['model'],
    registers,
  });
  const running = new Gauge({
    name: 'kilnhouse_leases_running',
    help: 'Requests that run, by model',
    labelNames: ['model'],
    registers,
  });
  const resident = new Gauge({
    name: 'kilnhouse_model_resident',
    help: '1 for a model that is loaded',
    labelNames: ['model'],
    registers,
  });
  const decisions = new Counter({
    name: 'kilnhouse_decisions_total',
    help: 'Decisions of the scheduler, by type',
    labelNames: ['type'],
    registers,
  });
  const swaps = new Histogram({
    name: 'kilnhouse_swap_seconds',
    help: 'How long loads and releases took, by model',
    labelNames: ['model', 'what'],
    buckets: [0.5, 1, 2, 5, 10, 20, 60, 120],
    registers,
  });
  const writesWaiting = new Gauge({
    name: 'kilnhouse_writes_waiting',
    help: 'Records that wait for the disk to take them',
    registers,
  });
  const writesLost = new Counter({
    name: 'kilnhouse_writes_lost_total',
    help: 'Records that can never be written, by what they were to record',
    labelNames: ['what'],
    registers,
  });
  const unsubscribe = gpu.scheduler.onDecision(({ type, modelId, tookMs }) => {
    if (tookMs !== null && modelId !== null) swaps.observe({ model: modelId, what: type }, tookMs / 1000);
  });
  app.addHook('onClose', async () => unsubscribe());

  app.get(
    '/metrics',
    {
      schema: {
        summary: 'Metrics for Prometheus',
        produces: ['text/plain'],
        response: { 200: Type.String() },
      },
    },
    async (_request, reply) => {
      const { totalBytes, budgetBytes, reservedBytes, othersBytes, excessBytes } = gpu.status();
      memory.set({ of: 'total' }, totalBytes);
      memory.set({ of: 'budget' }, budgetBytes);
      memory.set({ of: 'reserved' }, reservedBytes);
      memory.set({ of: 'others' }, othersBytes);
      memory.set({ of: 'engines' }, excessBytes);
      const { waiting: notYetWritten, lost } = writes.status();
      writesWaiting.set(notYetWritten);
      writesLost.reset();
      for (const [what, count] of Object.entries(lost)) writesLost.inc({ what }, count);
      decisions.reset();
      for (const [type, count] of gpu.scheduler.counts()) decisions.inc({ type }, count);
      for (const model of gpu.models()) {
        waiting.set({ model: model.id }, model.waiting);
        running.set({ model: model.id }, model.running);
        resident.set({ model: model.id }, model.phase === 'ready' || model.phase === 'draining' ? 1 : 0);
      }
      return reply.type(registry.contentType).send(await registry.metrics());
    },
  );
};
