import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { generate } from 'json-merge-patch';
import type { WebSocket } from 'ws';
import type { OperatorDeps } from './operator-context.ts';
import type { LiveMessage, LiveState } from '../../contract/console.ts';
import { snapshot } from './snapshot.ts';

const everyMs = 1_000;
/** A console that does not read is cut before it costs memory. */
const maxBufferedBytes = 1024 * 1024;

/**
 * The state of the appliance, live: `{type: "snapshot", state}` first, then once a second what changed as
 * `{type: "patch", patch}`, a JSON merge patch (RFC 7386) on that state.
 */
export const liveRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { gpu } = deps;
  const consoles = new Set<WebSocket>();
  let last: LiveState | null = null;
  let timer: NodeJS.Timeout | null = null;
  let unwatch: (() => void) | null = null;

  const tick = (): void => {
    // Through JSON, so that what is compared is what the other side holds.
    const now = JSON.parse(JSON.stringify(snapshot(deps))) as LiveState;
    const patch: unknown = last ? generate(last, now) : undefined;
    last = now;
    if (patch === undefined) return;
    const message = JSON.stringify({ type: 'patch', patch } satisfies LiveMessage);
    for (const socket of consoles) {
      if (socket.bufferedAmount > maxBufferedBytes) socket.terminate();
      else socket.send(message);
    }
  };

  app.get('/api/live', { websocket: true, schema: { summary: 'The state, live (WebSocket)' } }, (socket) => {
    if (consoles.size === 0) {
      unwatch = gpu.telemetry.watch();
      timer = setInterval(tick, everyMs);
      last = null;
    }
    tick();
    consoles.add(socket);
    if (last) socket.send(JSON.stringify({ type: 'snapshot', state: last } satisfies LiveMessage));
    socket.on('error', () => socket.terminate());
    socket.on('close', () => {
      consoles.delete(socket);
      if (consoles.size > 0) return;
      if (timer) clearInterval(timer);
      unwatch?.();
    });
  });

  app.addHook('preClose', async () => {
    if (timer) clearInterval(timer);
    for (const socket of consoles) socket.close(1001, 'The appliance is shutting down.');
  });
};
