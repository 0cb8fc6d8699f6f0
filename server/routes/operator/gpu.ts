import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { EngineError } from '../../../gpu/engines/engine-error.ts';
import { NoSuchProcess, type PauseEnd } from '../../../gpu/pause.ts';
import { unloadRefusals } from '../../../gpu/vram/scheduler.ts';
import { ErrorBody } from '../../contract/errors.ts';
import {
  DecisionView,
  Done,
  EngineView,
  Id,
  LeftOutView,
  LogsQuery,
  LogView,
  ModelView,
  PauseBody,
  PauseView,
  PinDone,
  PinEffect,
  QueueItem,
  StatusView,
} from '../../contract/operator.ts';
import { limits } from '../../contract/limits.ts';
import { ApiError } from '../../http/api-error.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';
import { changeSettings } from './settings-change.ts';
import { engineView, machineView, modelView, queueItem } from './snapshot.ts';

const listed = (ids: readonly string[]): string => new Intl.ListFormat('en').format(ids);
const done = (message: string) => ({ done: true, message });
const doneWords = {
  start: (id: string) => `${id} is ready.`,
  stop: (id: string) =>
    `${id} is stopped until you start it. Requests for its models wait a minute; jobs wait on.`,
  restart: (id: string) => `${id} was restarted and is ready.`,
} as const;

/** Engines, models, the queue and the switch: how the operator sees and steers the card. */
export const gpuRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { gpu, pause, version, demo, configuration, audit } = deps;
  const engineOf = (id: string): string => {
    if (!gpu.hasEngine(id)) throw new ApiError('not_found', `There is no engine "${id}".`);
    return id;
  };
  const modelOf = async (id: string): Promise<string> => {
    // Just after the start the engines may not have said yet what they have.
    if (!gpu.model(id)) await gpu.settled(limits.engineStartMs);
    if (!gpu.model(id)) throw new ApiError('not_found', `There is no model "${id}".`);
    return id;
  };

  app.get(
    '/api/status',
    { schema: { summary: 'The card and the appliance', response: { 200: StatusView, default: ErrorBody } } },
    async () => ({ version, demo, gpu: gpu.status(), machine: machineView(gpu.telemetry.latest()) }),
  );

  app.get(
    '/api/engines',
    { schema: { summary: 'The engines', response: { 200: Type.Array(EngineView), default: ErrorBody } } },
    async () => gpu.engines().map(engineView),
  );

  for (const [action, run] of [
    ['start', (id: string) => gpu.startEngine(id)],
    ['stop', (id: string) => gpu.stopEngine(id)],
    ['restart', (id: string) => gpu.restartEngine(id)],
  ] as const) {
    app.post(
      `/api/engines/:id/${action}`,
      { schema: { summary: `Engine: ${action}`, params: Id, response: { 200: Done, default: ErrorBody } } },
      async (request) => {
        const id = engineOf(request.params.id);
        audit.add(operatorOf(request), { action: `engine.${action}`, after: { engine: id } });
        try {
          await run(id);
        } catch (error) {
          // The operator is told everything, addresses and processes included.
          if (!(error instanceof EngineError)) throw error;
          throw new ApiError('engine_unavailable', error.message, { cause: error });
        }
        return done(doneWords[action](id));
      },
    );
  }

  app.get(
    '/api/engines/:id/logs',
    {
      schema: {
        summary: 'The last output of an engine’s process',
        params: Id,
        querystring: LogsQuery,
        response: { 200: LogView, default: ErrorBody },
      },
    },
    async (request) => ({ lines: gpu.logs(engineOf(request.params.id)).slice(-(request.query.last ?? 200)) }),
  );

  app.get(
    '/api/models/fit',
    {
      schema: {
        summary: 'Which models there is room for, and which of them beside each other',
        response: {
          200: Type.Array(
            Type.Object({ id: Type.String(), fits: Type.Boolean(), beside: Type.Array(Type.String()) }),
          ),
          default: ErrorBody,
        },
      },
    },
    async () => gpu.fit().map((one) => ({ ...one, beside: [...one.beside] })),
  );

  app.get(
    '/api/models/left-out',
    {
      schema: {
        summary: 'The files among the models that are not offered, and why',
        response: { 200: Type.Array(LeftOutView), default: ErrorBody },
      },
    },
    async () => gpu.leftOut(),
  );

  app.get(
    '/api/models',
    { schema: { summary: 'The models', response: { 200: Type.Array(ModelView), default: ErrorBody } } },
    async () => gpu.models().map(modelView),
  );

  app.post(
    '/api/models/:id/load',
    {
      schema: {
        summary: 'Load a model now, if there is room',
        params: Id,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      const id = await modelOf(request.params.id);
      const refusal = gpu.load(id);
      if (refusal === null) return done(`${id} is being loaded.`);
      throw new ApiError('conflict', refusal);
    },
  );

  app.post(
    '/api/models/:id/unload',
    {
      schema: {
        summary: 'Unload a model once it serves nobody',
        params: Id,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      const id = await modelOf(request.params.id);
      const refusal = gpu.scheduler.requestUnload(id);
      if (refusal === null) return done(`${id} is being unloaded.`);
      throw new ApiError('conflict', `"${id}" is not unloaded. ${unloadRefusals[refusal]}`);
    },
  );

  app.post(
    '/api/models/:id/measure-again',
    {
      schema: {
        summary: 'Forget how much video memory a model was measured to take; its next load measures it',
        params: Id,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      const id = await modelOf(request.params.id);
      gpu.measureAgain(id);
      audit.add(operatorOf(request), { action: 'model.measure-again', after: { model: id } });
      return done(`${id} is estimated until its next load, which measures it again.`);
    },
  );

  /** The models that a pin would refuse, beside those that other pins refuse already. */
  const blockedBy = (id: string): string[] => {
    const others = configuration.config.scheduler.pinned.filter((one) => one !== id);
    const already = gpu.blockedBy(others);
    return [...gpu.blockedBy([...others, id]).keys()].filter((one) => !already.has(one));
  };

  app.get(
    '/api/models/:id/pin',
    {
      schema: {
        summary: 'Which models would be refused if this one were pinned',
        params: Id,
        response: { 200: PinEffect, default: ErrorBody },
      },
    },
    async (request) => ({ blocks: blockedBy(await modelOf(request.params.id)) }),
  );

  app.post(
    '/api/models/:id/pin',
    {
      schema: {
        summary: 'Model: pin. Says which models are refused from now on',
        params: Id,
        response: { 200: PinDone, default: ErrorBody },
      },
    },
    async (request) => {
      const id = await modelOf(request.params.id);
      const blocks = blockedBy(id);
      const others = configuration.config.scheduler.pinned.filter((one) => one !== id);
      await changeSettings(deps, request, { set: { 'scheduler.pinned': [...others, id] } });
      const kept = `${id} stays loaded once it is.`;
      if (blocks.length === 0) return { ...done(kept), blocks };
      return {
        ...done(`${kept} Requests for ${listed(blocks)} are refused: no room is left beside the pins.`),
        blocks,
      };
    },
  );

  app.post(
    '/api/models/:id/unpin',
    { schema: { summary: 'Model: unpin', params: Id, response: { 200: Done, default: ErrorBody } } },
    async (request) => {
      const id = await modelOf(request.params.id);
      const others = configuration.config.scheduler.pinned.filter((one) => one !== id);
      await changeSettings(deps, request, { set: { 'scheduler.pinned': others } });
      return done(`${id} may be unloaded for others.`);
    },
  );

  app.post(
    '/api/models/:id/default',
    {
      schema: {
        summary: 'Take it for requests that name no model',
        params: Id,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      const id = await modelOf(request.params.id);
      const modality = gpu.model(id)?.modality;
      if (modality !== 'text' && modality !== 'image')
        throw new ApiError('conflict', `"${id}" is neither for text nor for images.`);
      await changeSettings(deps, request, {
        set: { [modality === 'text' ? 'scheduler.defaultText' : 'scheduler.defaultImage']: id },
      });
      return done(`${id} is the default for ${modality} now.`);
    },
  );

  app.get(
    '/api/queue',
    {
      schema: {
        summary: 'What waits, and why',
        response: { 200: Type.Array(QueueItem), default: ErrorBody },
      },
    },
    async () => gpu.scheduler.standings().map(queueItem),
  );

  app.delete(
    '/api/queue/:id',
    {
      schema: {
        summary: 'Cancel a waiting request',
        params: Id,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      const { id } = request.params;
      const reason = new ApiError('conflict', 'The operator took this request out of the queue.');
      if (gpu.scheduler.cancel(id, reason)) return done('Taken out of the queue.');
      throw new ApiError('not_found', 'No such request is waiting.');
    },
  );

  app.get(
    '/api/decisions',
    {
      schema: {
        summary: 'What the scheduler decided, and why',
        response: { 200: Type.Array(DecisionView), default: ErrorBody },
      },
    },
    async () => [...gpu.scheduler.decisions()],
  );

  app.post(
    '/api/pause',
    {
      schema: {
        summary: 'Take the GPU back: nothing new starts, what runs ends, models leave',
        body: Type.Union([PauseBody, Type.Null()]),
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      const { unload = true, stop = false, minutes, whileProcess } = request.body ?? {};
      if (minutes !== undefined && whileProcess !== undefined)
        throw new ApiError('invalid_request', 'Say minutes or whileProcess, not both.', {
          param: 'whileProcess',
        });
      try {
        await pause.begin(unload, endOf(minutes, whileProcess));
      } catch (error) {
        if (!(error instanceof NoSuchProcess)) throw error;
        throw new ApiError('invalid_request', error.message, { param: 'whileProcess' });
      }
      if (stop) gpu.stopWork();
      return done(unload ? 'Paused; models are being unloaded.' : 'Holding; models stay loaded.');
    },
  );

  app.get(
    '/api/pause',
    {
      schema: {
        summary: 'Whether it is paused, and until when',
        response: { 200: PauseView, default: ErrorBody },
      },
    },
    async () => ({ ...pause.status() }),
  );

  app.post(
    '/api/resume',
    { schema: { summary: 'Serve again', response: { 200: Done, default: ErrorBody } } },
    async () => {
      pause.end();
      return done('Serving.');
    },
  );
};

function endOf(minutes: number | undefined, pid: number | undefined): PauseEnd {
  if (minutes !== undefined) return { kind: 'time', ms: minutes * 60_000 };
  return pid === undefined ? { kind: 'resumed' } : { kind: 'process', pid };
}
