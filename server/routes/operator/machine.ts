import { randomInt } from 'node:crypto';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { findInstalls } from '../../config/installs.ts';
import { Alert, FoundView, HistoryView, TrafficView, TryBody, TryView } from '../../contract/console.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { Done } from '../../contract/operator.ts';
import { ApiError } from '../../http/api-error.ts';
import { ClientGone } from '../../http/held-reply.ts';
import { refusalsOf, trafficOf } from '../../usage/traffic.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';
import { currentAlerts } from './snapshot.ts';

/** The operator's own work: it waits its turn like a tenant's. */
const operator = {
  tenant: '(operator)',
  weight: 1,
  concurrency: 1,
  lane: 'interactive',
  feature: 'try-out',
} as const;

/** The machine: what it did lately, what there is on it, whether it works, and starting anew. */
export const machineRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { gpu, db, usage, modelsFolder, discover, restart, audit } = deps;

  app.get(
    '/api/alerts',
    {
      schema: {
        summary: 'What needs attention now, and what to do about it; the same as in the console',
        response: { 200: Type.Array(Alert), default: ErrorBody },
      },
    },
    async () => currentAlerts(deps),
  );

  app.get(
    '/api/traffic',
    {
      schema: {
        summary: 'Requests, tokens and pictures by the minute, of the last hour',
        response: { 200: TrafficView, default: ErrorBody },
      },
    },
    async () => {
      usage.flush();
      const now = Date.now();
      return { minutes: trafficOf(db, now), refusals: refusalsOf(db, now) };
    },
  );

  app.get(
    '/api/telemetry',
    {
      schema: {
        summary: 'The card as it was lately, oldest first',
        response: { 200: HistoryView, default: ErrorBody },
      },
    },
    async () => ({
      samples: gpu.telemetry.history().map(({ at, card }) => ({
        at,
        usedBytes: card?.usedBytes ?? null,
        utilization: card?.utilization ?? null,
        temperatureC: card?.temperatureC ?? null,
        powerWatts: card?.powerWatts ?? null,
      })),
    }),
  );

  app.get(
    '/api/found',
    {
      schema: {
        summary: 'What there is on this machine to run models with; nothing is started',
        response: { 200: FoundView, default: ErrorBody },
      },
    },
    async () => {
      const { lmStudio, webui, ggufFiles } = await discover();
      return {
        lmStudio: lmStudio && { path: lmStudio.lmsPath, running: lmStudio.running },
        webui: webui && { folder: webui.folder, port: webui.port },
        ggufFiles,
        modelsFolder,
        installs: findInstalls().map((install) => ({
          ...install,
          usable: install.kind !== 'comfyui' && install.kind !== 'sd-server',
        })),
      };
    },
  );

  app.post(
    '/api/try',
    {
      schema: {
        summary: 'One real answer or picture, to see that it works; it waits its turn like a tenant’s',
        body: TryBody,
        response: { 200: TryView, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { kind, model: wanted } = request.body;
      const find = () => (wanted === undefined ? gpu.defaultModel(kind) : gpu.model(wanted));
      if (!find()) await gpu.settled(limits.engineStartMs);
      const model = find();
      if (!model || model.modality !== kind)
        throw new ApiError('model_not_found', `There is no ${kind} model that fits this machine.`);
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort(new ClientGone()));
      const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(limits.tryMs)]);
      try {
        if (kind === 'text') {
          const messages = [{ role: 'user', content: 'Say hello in one short sentence.' }];
          const task = gpu.complete(
            model.id,
            { endpoint: 'chat/completions', body: { messages, max_tokens: 60 } },
            operator,
            signal,
          );
          const { body } = await task.result;
          const { queuedMs, runMs } = task.timings;
          return { model: model.id, text: textOf(body), image: null, queuedMs, runMs };
        }
        const run = gpu.image(
          model.id,
          {
            prompt: 'a kiln at night, warm light, detailed',
            negativePrompt: '',
            width: 512,
            height: 512,
            steps: 20,
            guidance: 7,
            seed: randomInt(2 ** 31),
            sampler: null,
            hires: null,
            previews: false,
            source: null,
          },
          operator,
          signal,
        );
        let image: string | null = null;
        for await (const event of run.events)
          if (event.type === 'image')
            image = `data:image/png;base64,${Buffer.from(event.png).toString('base64')}`;
        const { queuedMs, runMs } = run.timings;
        return { model: model.id, text: null, image, queuedMs, runMs };
      } catch (error) {
        if (error instanceof Error && error.name === 'TimeoutError')
          throw new ApiError('engine_timeout', 'It took too long. The queue and the engine’s log say why.');
        throw error;
      }
    },
  );

  app.post(
    '/api/restart',
    {
      schema: {
        summary: 'Start the appliance anew; jobs go on where they are, open requests are cut',
        response: { 202: Done, default: ErrorBody },
      },
    },
    async (request, reply) => {
      if (restart === null)
        throw new ApiError('conflict', 'Whoever started it would not start it again. Restart it by hand.');
      audit.add(operatorOf(request), { action: 'appliance.restart' });
      reply.raw.once('finish', restart);
      return reply.status(202).send({ done: true, message: 'It starts anew; that takes some seconds.' });
    },
  );
};

function textOf(body: string): string {
  const answer = JSON.parse(body) as {
    choices?: { message?: { content?: string } }[];
  };
  return answer.choices?.[0]?.message?.content ?? '';
}
