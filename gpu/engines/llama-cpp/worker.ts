import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { field } from '../http.ts';
import { type Generated, ModelHost } from './model-host.ts';
import { chatPrompt, sampling, UnsupportedRequest } from './openai-request.ts';

/*
 * The built-in text engine: a process of its own, so that a crash in native code costs one engine and not the
 * appliance. It speaks OpenAI's protocol on the Unix socket or named pipe given as its argument, which only the
 * user of the appliance can open.
 */
const socketPath = process.argv[2];
if (!socketPath) throw new Error('usage: worker.ts <socket>');
const maxBodyBytes = 64 * 1024 * 1024;
const host = new ModelHost();

const routes: Readonly<Record<string, (body: unknown, reply: Reply) => Promise<void>>> = {
  'GET /health': async (_, reply) => reply.json(200, { gpu: await host.gpu(), loaded: host.loaded() }),
  'POST /load': async (body, reply) => {
    await host.load(text(body, 'key'), {
      file: text(body, 'file'),
      contextLength: Number(field(body, 'contextLength')),
      slots: Number(field(body, 'slots')),
      gpuRatio: (field(body, 'gpuRatio') as number | null | undefined) ?? null,
    });
    reply.json(200, { loaded: host.loaded() });
  },
  'POST /unload': async (body, reply) => {
    await host.unload(text(body, 'key'));
    reply.json(200, { loaded: host.loaded() });
  },
  'POST /v1/chat/completions': (body, reply) =>
    generate(body, reply, chatShape, (options) => host.chat(text(body, 'model'), chatPrompt(body), options)),
  'POST /v1/completions': (body, reply) =>
    generate(body, reply, completionShape, (options) =>
      host.complete(text(body, 'model'), text(body, 'prompt'), options),
    ),
  'POST /v1/embeddings': async (body, reply) => {
    const input = field(body, 'input');
    const inputs: unknown[] = Array.isArray(input) ? input : [input];
    if (!inputs.every((item) => typeof item === 'string')) {
      throw new UnsupportedRequest('input must be a text or a list of texts.');
    }
    const { vectors, tokens } = await host.embed(text(body, 'model'), inputs);
    const asBase64 = field(body, 'encoding_format') === 'base64';
    reply.json(200, {
      object: 'list',
      model: field(body, 'model'),
      data: vectors.map((vector, index) => ({
        object: 'embedding',
        index,
        embedding: asBase64 ? Buffer.from(new Float32Array(vector).buffer).toString('base64') : vector,
      })),
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    });
  },
};

/** How chat and plain completions differ on the wire. */
interface Shape {
  readonly prefix: string;
  readonly object: string;
  readonly chunkObject: string;
  readonly first: (() => object) | null;
  readonly delta: (text: string) => object;
  readonly whole: (generated: Generated) => object;
}

const chatShape: Shape = {
  prefix: 'chatcmpl',
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  first: () => ({ delta: { role: 'assistant', content: '' } }),
  delta: (content) => ({ delta: { content } }),
  whole: ({ text: content, calls }) => ({
    message: {
      role: 'assistant',
      content: calls.length > 0 && content === '' ? null : content,
      ...(calls.length > 0 && { tool_calls: toolCalls(calls) }),
    },
  }),
};

const completionShape: Shape = {
  prefix: 'cmpl',
  object: 'text_completion',
  chunkObject: 'text_completion',
  first: null,
  delta: (content) => ({ text: content }),
  whole: ({ text: content }) => ({ text: content }),
};

function toolCalls(calls: Generated['calls']): object[] {
  return calls.map(({ id, name, args }, index) => ({
    index,
    id,
    type: 'function',
    function: { name, arguments: args },
  }));
}

async function generate(
  body: unknown,
  reply: Reply,
  shape: Shape,
  run: (options: Parameters<ModelHost['complete']>[2]) => Promise<Generated>,
): Promise<void> {
  const stream = field(body, 'stream') === true;
  const head = {
    id: `${shape.prefix}-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: field(body, 'model'),
  };
  const chunk = (choice: object, finish: string | null): void =>
    reply.event({
      ...head,
      object: shape.chunkObject,
      choices: [{ index: 0, ...choice, finish_reason: finish }],
    });
  if (stream && shape.first) chunk(shape.first(), null);
  const generated = await run({
    sampling: sampling(body),
    signal: reply.gone,
    onText: (piece) => stream && chunk(shape.delta(piece), null),
  });
  const usage = {
    prompt_tokens: generated.promptTokens,
    completion_tokens: generated.completionTokens,
    total_tokens: generated.promptTokens + generated.completionTokens,
  };
  if (!stream) {
    const choice = { index: 0, ...shape.whole(generated), finish_reason: generated.finish };
    return reply.json(200, { ...head, object: shape.object, choices: [choice], usage });
  }
  if (generated.calls.length > 0) chunk({ delta: { tool_calls: toolCalls(generated.calls) } }, null);
  chunk(shape === chatShape ? { delta: {} } : { text: '' }, generated.finish);
  if (field(field(body, 'stream_options'), 'include_usage') === true) {
    reply.event({ ...head, object: shape.chunkObject, choices: [], usage });
  }
  reply.end();
}

/** One answer, as JSON or as a stream; `gone` is aborted when the other side hangs up. */
class Reply {
  readonly #response: ServerResponse;
  readonly gone: AbortSignal;

  constructor(response: ServerResponse) {
    this.#response = response;
    const gone = new AbortController();
    this.gone = gone.signal;
    response.on('close', () => gone.abort());
  }

  json(status: number, body: object): void {
    this.#response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }

  event(data: object): void {
    if (!this.#response.headersSent) this.#response.writeHead(200, { 'content-type': 'text/event-stream' });
    this.#response.write(`data: ${JSON.stringify(data)}\n\n`);
  }

  end(): void {
    this.#response.end('data: [DONE]\n\n');
  }

  fail(error: unknown): void {
    if (this.gone.aborted) return;
    const message = error instanceof Error ? error.message : String(error);
    const status = error instanceof UnsupportedRequest ? 400 : 500;
    const body = { error: { message, type: status === 400 ? 'invalid_request_error' : 'server_error' } };
    if (!this.#response.headersSent) return this.json(status, body);
    this.event(body);
    this.#response.end();
  }
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    const bytes: Buffer = chunk;
    length += bytes.length;
    if (length > maxBodyBytes) throw new UnsupportedRequest('The request is too large.');
    chunks.push(bytes);
  }
  return length === 0 ? null : JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

function text(body: unknown, key: string): string {
  const value = field(body, key);
  if (typeof value !== 'string') throw new UnsupportedRequest(`${key} must be a text.`);
  return value;
}

const server = createServer((request, response) => {
  const reply = new Reply(response);
  const route = routes[`${request.method} ${request.url}`];
  if (!route) return reply.json(404, { error: { message: 'no such route' } });
  readBody(request)
    .then((body) => route(body, reply))
    .catch((error: unknown) => reply.fail(error));
});
rmSync(socketPath, { force: true });
server.listen(socketPath);
