import { createHmac } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from 'node:http';
import { connect } from 'node:net';

/*
 * Stands in for cloudflared: takes its arguments, answers on its metrics port, and forwards what comes to a "public" port
 * as the real one does: another Host, Cloudflare's headers, GET streams of a quick tunnel held back until they end.
 */
const args = process.argv.slice(2);
const option = (name: string): string | undefined => {
  const at = args.indexOf(name);
  return at === -1 ? undefined : args[at + 1];
};
const isNamed = args.includes('run');
const hostname = isNamed ? 'ai.example.com' : 'seven-brave-kilns.trycloudflare.com';
const control = process.env['STANDIN_TUNNEL_CONTROL'] ?? '';
const said = (): { connections?: number; die?: boolean } => JSON.parse(readFileSync(control, 'utf8'));

if (isNamed && readFileSync(option('--token-file') ?? '', 'utf8').trim() !== 'a-good-token') {
  process.stderr.write('Provided Tunnel token is not valid.\n');
  process.exit(1);
}

const metrics = createServer((request, response) => {
  const { connections = 1 } = said();
  const answers: Record<string, [number, object]> = {
    '/ready': [
      connections > 0 ? 200 : 503,
      { status: connections > 0 ? 200 : 503, readyConnections: connections },
    ],
    '/quicktunnel': [200, { hostname }],
  };
  const [status, body] = answers[request.url ?? ''] ?? [404, {}];
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});
const [host, port] = (option('--metrics') ?? '').split(':');
metrics.listen(Number(port), host);

const local = new URL(option('--url') ?? '');
const headersOf = (request: IncomingMessage): Record<string, string | string[] | undefined> => ({
  ...request.headers,
  host: hostname,
  'cf-connecting-ip': String(request.headers['x-test-client'] ?? '203.0.113.7'),
  'x-forwarded-for': String(request.headers['x-test-client'] ?? '203.0.113.7'),
  'x-forwarded-proto': 'https',
  'cf-ray': createHmac('sha256', 'ray').update(String(performance.now())).digest('hex').slice(0, 16),
  'cdn-loop': 'cloudflare',
});

function forward(request: IncomingMessage, response: ServerResponse): void {
  const onward = httpRequest(
    {
      host: local.hostname,
      port: local.port,
      method: request.method,
      path: request.url,
      headers: headersOf(request),
    },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      const isHeldBack =
        !isNamed && request.method === 'GET' && /event-stream/.test(answer.headers['content-type'] ?? '');
      if (!isHeldBack) return answer.pipe(response);
      const pieces: Buffer[] = [];
      answer.on('data', (piece: Buffer) => pieces.push(piece));
      return answer.on('end', () => response.end(Buffer.concat(pieces)));
    },
  );
  onward.on('error', () => response.writeHead(502).end());
  request.pipe(onward);
  response.on('close', () => onward.destroy());
}

const edge = createServer(forward);
edge.on('upgrade', (request, socket, head) => {
  const onward = connect(Number(local.port), local.hostname, () => {
    const lines = Object.entries(headersOf(request)).map(([name, value]) => `${name}: ${String(value)}`);
    onward.write(`GET ${request.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    onward.write(head);
    socket.pipe(onward).pipe(socket);
  });
  onward.on('error', () => socket.destroy());
  socket.on('error', () => onward.destroy());
});
edge.listen(0, '127.0.0.1', () => {
  const at = edge.address();
  writeFileSync(`${control}.edge`, String(typeof at === 'object' && at ? at.port : 0));
  process.stderr.write(`INF |  https://${hostname}  |\n`);
});
setInterval(() => {
  if (said().die) process.exit(1);
}, 50);
