import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FastifyRequest } from 'fastify';
import ipaddr from 'ipaddr.js';
import { limits } from '../contract/limits.ts';
import type { BaseApp } from './base-app.ts';
import { guardConnections, serverOptions } from './connections.ts';

/** Requests that came through the tunnel's own listener. Nothing in a request itself can say so. */
const tunnelled = new WeakSet<IncomingMessage>();

/**
 * A listener for cloudflared alone, on loopback, that leads to one app. Whoever comes by the ordinary one cannot pass
 * for somebody from the internet, nor the other way round (A7, F57).
 */
export async function listenForTunnel(app: BaseApp): Promise<{ port: number; close: () => Promise<void> }> {
  await app.ready();
  const route = (request: IncomingMessage, response: ServerResponse): void => {
    tunnelled.add(request);
    app.routing(request, response);
  };
  const server: Server = createServer(
    {
      ...serverOptions,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.tunnel.keepAliveMs,
    },
    route,
  );
  guardConnections(server, route);
  server.on('upgrade', (request, socket, head) => {
    tunnelled.add(request);
    app.server.emit('upgrade', request, socket, head);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { port, close };
}

export function isTunnelled({ raw }: Pick<FastifyRequest, 'raw'>): boolean {
  return tunnelled.has(raw);
}

/** Who asks: for requests from the tunnel, the address that Cloudflare saw; its header is believed there only. */
export function clientAddress(request: FastifyRequest): string {
  if (!isTunnelled(request)) return request.ip;
  const seen = request.headers['cf-connecting-ip'];
  return typeof seen === 'string' && ipaddr.isValid(seen) ? seen : 'unknown';
}

/** Our address as whoever asks reached it: the tunnel speaks TLS for us. */
export function originOf(request: FastifyRequest): string {
  return `${isTunnelled(request) ? 'https' : request.protocol}://${request.host}`;
}
