import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';

/**
 * Below what Linux (32768), Windows and macOS (49152) hand out by themselves: between the moment when a port is found
 * and that when its program listens, no connection and no listener without a port of its own can come by it.
 */
const range = { first: 20_000, end: 32_000 } as const;
const tries = 200;

/** Ports of this machine that nobody listens on, asked for together so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const held: { server: Server; port: number }[] = [];
  for (let i = 0; i < tries && held.length < count; i += 1) {
    const port = randomInt(range.first, range.end);
    const server = await listenOn(port);
    if (server) held.push({ server, port });
  }
  await Promise.all(held.map(({ server }) => new Promise((resolve) => server.close(resolve))));
  if (held.length < count) throw new Error('No free port was found.');
  return held.map(({ port }) => port);
}

/** Null where somebody else does. */
function listenOn(port: number): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
