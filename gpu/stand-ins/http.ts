import { spawn } from 'node:child_process';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { fault } from './faults.ts';
import { takes } from './pace.ts';

/** What the stand-in servers share: reading bodies, answering, and the faults of a process rather than an answer. */
export async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const parsed: unknown = chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString('utf8'));
  return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {};
}

export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Misbehaves as a process does before it serves. Resolves when the port may be opened. */
export async function startFaults(folder: string): Promise<void> {
  if (fault(folder, 'exit_at_once') !== null) process.exit(0);
  if (fault(folder, 'crash_at_start') !== null) process.exit(139);
  if (fault(folder, 'ignore_term') !== null) process.on('SIGTERM', () => undefined);
  for (const [name, detached] of [
    ['fork', false],
    ['daemonise', true],
  ] as const) {
    if (fault(folder, name) === null) continue;
    const stubborn = 'process.on("SIGTERM",()=>{});process.on("SIGHUP",()=>{});setInterval(()=>{},1000)';
    spawn(process.execPath, ['-e', stubborn], { detached, stdio: 'ignore' }).unref();
  }
  if (fault(folder, 'log_flood') !== null) {
    const line = 'x'.repeat(64 * 1024);
    const flood = (): void => {
      while (process.stdout.write(`${line}\n`));
      process.stdout.once('drain', flood);
    };
    flood();
  }
  if (fault(folder, 'never_listens') !== null) await new Promise(() => setInterval(() => undefined, 60_000));
  const slowMs = fault(folder, 'slow_start');
  if (slowMs !== null) await takes(slowMs);
}

/** Misbehaves as an answer does; true when it has answered, badly, and the caller must not. */
export async function answerFault(folder: string, response: ServerResponse): Promise<boolean> {
  const latencyMs = fault(folder, 'latency');
  if (latencyMs !== null) await takes(latencyMs);
  if (fault(folder, 'hang_first_byte') !== null || fault(folder, 'dead_completions') !== null) return true;
  const status = fault(folder, 'status');
  if (status !== null) {
    json(response, status, { error: { message: 'The stand-in was told to fail.', type: 'demo' } });
    return true;
  }
  if (fault(folder, 'error_200') !== null) {
    json(response, 200, { error: 'The model died at 127.0.0.1:1234 in /home/somebody/models/demo.gguf' });
    return true;
  }
  if (fault(folder, 'html') !== null) {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html><body>It works!</body></html>');
    return true;
  }
  if (fault(folder, 'wrong_content_length') !== null) {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100000' });
    response.write('{"choices":[');
    setTimeout(() => response.destroy(), 50);
    return true;
  }
  if (fault(folder, 'die_in_work') !== null) process.exit(137);
  return false;
}

export function listen(
  port: number,
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Server {
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (!response.headersSent) json(response, 500, { error: { message: String(error) } });
      else response.destroy();
    });
  });
  server.on('error', (error) => {
    console.error(error.message);
    process.exit(1);
  });
  server.listen(port, '127.0.0.1');
  return server;
}
