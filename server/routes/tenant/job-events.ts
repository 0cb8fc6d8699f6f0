import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { WebSocket } from 'ws';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { JobParams } from '../../contract/jobs.ts';
import { limits } from '../../contract/limits.ts';
import { ApiError } from '../../http/api-error.ts';
import { moment } from '../../http/envelope.ts';
import { HeldReply } from '../../http/held-reply.ts';
import { jobView } from '../../http/views.ts';
import { isFinal } from '../../jobs/states.ts';
import { eyesOf, maySeeWorkOf } from '../../tenants/eyes.ts';
import { identityOf, ownJob, type TenantDeps } from './tenant-context.ts';

const tags = ['Jobs'];
/** Progress comes often; so often is enough for whoever looks. */
const progressEveryMs = 200;

/** What happens to jobs, as it happens: of one as server-sent events, of all over a WebSocket. */
export const jobEventRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { jobs, jobStore, directory } = deps;

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
      const { id } = ownJob(deps, request, request.params.id);
      const last = Number(request.headers['last-event-id'] ?? 0);
      if (!Number.isSafeInteger(last) || last < 0)
        throw new ApiError('invalid_request', 'The Last-Event-ID is not one of ours.', {
          param: 'last-event-id',
        });
      const held = new HeldReply(request, reply, 'events');
      const stop = directory.onEndOf(identityOf(request), () => held.abort(revoked()));
      const changes = jobs.changesOf(id);
      try {
        await sendEvents(id, last, held, changes);
        held.end();
      } catch (error) {
        held.fail(held.signal.aborted ? held.signal.reason : error);
      } finally {
        changes.stop();
        stop();
      }
    },
  });

  /** With the tenant of each. */
  const sockets = new Map<WebSocket, string>();
  app.route({
    method: 'GET',
    url: '/api/v1/events',
    schema: {
      tags,
      summary: 'All jobs that one may see, live (WebSocket): the newest first, then each as it changes',
      response: { 101: Type.Null(), default: ErrorEnvelope },
    },
    handler: () => {
      throw new ApiError('upgrade_required', 'Open this as a WebSocket (ws:// or wss://).');
    },
    wsHandler: (socket, request) => {
      const identity = identityOf(request);
      const { tenant } = identity;
      const open = [...sockets.values()].filter((owner) => owner === tenant.id).length;
      if (open >= limits.jobs.socketsPerTenant)
        return socket.close(1013, `More than ${limits.jobs.socketsPerTenant} are open.`);
      sockets.set(socket, tenant.id);
      const send = (message: object): void => {
        // One that does not read is cut before it costs memory (S2).
        if (socket.bufferedAmount > limits.jobs.socketBytes) socket.terminate();
        else socket.send(JSON.stringify(message));
      };
      const whose = { tenant: tenant.id, person: eyesOf(identity) ?? undefined };
      const newest = jobStore.page({ ...whose, limit: limits.page.default });
      const shown = new Set(newest.map(({ id }) => id));
      send({ type: 'jobs', jobs: newest.map((job) => jobView(job, jobs)) });

      const changed = new Set<string>();
      let timer: NodeJS.Timeout | null = null;
      const flush = (): void => {
        timer = null;
        // With the role, and the company's setting, of now.
        const now = identity.renewed() ?? identity;
        for (const id of changed) {
          const job = jobStore.find(id);
          if (job && maySeeWorkOf(now, job.person)) {
            shown.add(id);
            send({ type: 'job', job: jobView(job, jobs) });
          } else if (shown.delete(id)) send({ type: 'gone', id });
        }
        changed.clear();
      };
      const unwatch = jobs.watch(tenant.id, (id) => {
        changed.add(id);
        timer ??= setTimeout(flush, progressEveryMs);
      });
      const stop = directory.onEndOf(identity, () => socket.close(4401, revoked().message));
      const beat = setInterval(() => socket.ping(), limits.heartbeatMs);
      socket.on('error', () => socket.terminate());
      socket.on('close', () => {
        sockets.delete(socket);
        unwatch();
        stop();
        clearInterval(beat);
        if (timer) clearTimeout(timer);
      });
    },
  });
  app.addHook('preClose', async () => {
    for (const socket of sockets.keys()) socket.close(1001, 'The appliance is shutting down.');
  });

  async function sendEvents(
    id: string,
    from: number,
    held: HeldReply,
    changes: ReturnType<typeof jobs.changesOf>,
  ): Promise<void> {
    let last = from;
    let told = '';
    for (;;) {
      held.signal.throwIfAborted();
      for (const { sequence, type, data, at } of jobStore.events(id, last)) {
        last = sequence;
        await held.write(eventOf(type, { ...data, at: moment(at) }, sequence));
      }
      const job = jobStore.find(id);
      if (!job || isFinal(job.state)) {
        if (job) await held.write(eventOf('end', jobView(job, jobs)));
        return;
      }
      const progress = JSON.stringify({
        progress: jobs.progress(job),
        preview: jobs.preview(id)?.version ?? null,
        queue: jobs.standing(job),
      });
      if (progress !== told) await held.write(`event: progress\ndata: ${progress}\n\n`);
      told = progress;
      await changes.next(limits.heartbeatMs, held.signal);
      // Each at a moment of its own: a thousand who watch one job are not all told in the same turn of the loop.
      await delay(progressEveryMs * (1 + Math.random()), undefined, { signal: held.signal });
    }
  }
};

function eventOf(type: string, data: object, id?: number): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
}

function revoked(): ApiError {
  return new ApiError('invalid_api_key', 'The API key or session was revoked or has expired.');
}
