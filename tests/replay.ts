import { readFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

interface Recording {
  readonly request: { readonly method: string; readonly path: string };
  readonly response: {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body?: string;
    readonly base64?: string;
    readonly chunks?: readonly { readonly atMs: number; readonly body: string }[];
  } | null;
  /** The recorder gave up: the server went on saying nothing. */
  readonly error?: string;
}

/** A server that answers each path as a real one once did. */
export class Replay {
  readonly #server: Server;
  readonly #answers = new Map<string, Recording>();

  constructor() {
    this.#server = createServer((request, response) => {
      request.resume();
      const path = request.url?.split('?')[0] ?? '';
      const recording = this.#answers.get(`${request.method} ${path}`);
      if (!recording?.response) {
        response.writeHead(404).end();
        return;
      }
      void this.#play(recording, response);
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  /** From now on, the recording's path answers as it did. */
  serve(...names: string[]): void {
    for (const name of names) {
      const file = new URL(`recordings/${name}.json`, import.meta.url);
      const recording = JSON.parse(readFileSync(file, 'utf8')) as Recording;
      this.#answers.set(`${recording.request.method} ${recording.request.path.split('?')[0]}`, recording);
    }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #play({ response: recorded, error }: Recording, response: ServerResponse): Promise<void> {
    if (!recorded) return;
    const { connection: _, ...headers } = recorded.headers;
    response.writeHead(recorded.status, headers);
    if (!recorded.chunks) {
      const body =
        recorded.base64 === undefined ? (recorded.body ?? '') : Buffer.from(recorded.base64, 'base64');
      response.end(body);
      return;
    }
    response.flushHeaders();
    for (const { body } of recorded.chunks) {
      // The order and the pieces are what matters; the pauses would only make the tests slow.
      await delay(1);
      response.write(body);
    }
    if (error === undefined) response.end();
  }
}
