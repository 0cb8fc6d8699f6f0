import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { babble, sampleOf } from '../babble.ts';
import { allocate, cardMib, release, usedMib } from '../card.ts';
import { fault } from '../faults.ts';
import { answerFault, bodyOf, json, listen, startFaults } from '../http.ts';
import { takes } from '../pace.ts';
import { type DemoModel, demoModels } from './models.ts';

/*
 * Stands in for LM Studio's daemon: an internal port that `lms` talks to, and the HTTP server that `lms server
 * start` opens. Speaks REST v1 and the OpenAI routes, with the traps of the real one: unknown paths answer 200,
 * and with one model loaded any unknown name is answered by it.
 */
const folder = process.env['STANDIN_DIR'] ?? '.';
const contextMib = 254;
const slots = 4;

interface Instance {
  readonly model: DemoModel;
  readonly contextLength: number;
  readonly parallel: number;
}

const instances = new Map<string, Instance>();
let http: Server | null = null;
/** Work of one model runs at most this many at once; the rest waits, unseen. */
const running = new Map<string, number>();

async function load(key: string, contextLength: number, parallel: number): Promise<Instance | string> {
  const model = demoModels.find((candidate) => candidate.key === key);
  if (!model) return `Model not found: ${key}`;
  const held = instances.get(key);
  if (held) return held;
  if (
    fault(folder, 'out_of_memory_on_load') !== null ||
    usedMib(folder) + model.mib + contextMib > cardMib - 181
  ) {
    await takes(model.loadMs / 3);
    return 'Failed to load model. CUDA error: out of memory';
  }
  // Memory fills while the file is read, as it really does.
  for (let part = 1; part <= 4; part += 1) {
    await takes(model.loadMs / 4);
    allocate(folder, model.key, (model.mib * part) / 4);
  }
  allocate(folder, 'context', contextMib);
  const instance = { model, contextLength, parallel };
  instances.set(key, instance);
  return instance;
}

async function unload(key: string): Promise<boolean> {
  if (!instances.delete(key)) return false;
  await takes(700);
  release(folder, key);
  return true;
}

function listed(model: DemoModel): object {
  const instance = instances.get(model.key);
  return {
    type: model.type,
    publisher: 'kilnhouse-demo',
    key: model.key,
    display_name: model.title,
    architecture: 'demo',
    quantization: { name: 'Q4_K_M', bits_per_weight: 4 },
    size_bytes: model.sizeBytes,
    params_string: null,
    loaded_instances: instance
      ? [{ id: model.key, config: { context_length: instance.contextLength, parallel: instance.parallel } }]
      : [],
    max_context_length: 8_192,
    format: 'gguf',
    ...(model.type === 'llm' && { capabilities: { vision: model.vision, trained_for_tool_use: true } }),
  };
}

/** The instance that answers for a name, with LM Studio's habits; null when there is none. */
async function answering(name: string): Promise<Instance | null> {
  const exact = instances.get(name);
  if (exact) return exact;
  if (demoModels.some(({ key }) => key === name)) {
    const loaded = await load(name, 4_096, slots);
    return typeof loaded === 'string' ? null : loaded;
  }
  return instances.size === 1 ? ([...instances.values()][0] ?? null) : null;
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const route = `${request.method} ${request.url?.split('?')[0]}`;
  switch (route) {
    case 'GET /lmstudio-greeting':
      return json(response, 200, { lmstudio: true });
    case 'GET /api/v1/models':
      return json(response, 200, { models: demoModels.map(listed) });
    case 'GET /v1/models':
      return json(response, 200, {
        object: 'list',
        data: demoModels.map(({ key }) => ({ id: key, object: 'model' })),
      });
    case 'POST /api/v1/models/load': {
      const body = await bodyOf(request);
      const began = performance.now();
      const loaded = await load(String(body['model']), Number(body['context_length'] ?? 4_096), slots);
      if (typeof loaded === 'string') {
        return json(response, 400, { error: { type: 'model_load_failed', message: loaded } });
      }
      return json(response, 200, {
        type: loaded.model.type,
        instance_id: loaded.model.key,
        load_time_seconds: (performance.now() - began) / 1000,
        status: 'loaded',
      });
    }
    case 'POST /api/v1/models/unload': {
      const id = String((await bodyOf(request))['instance_id']);
      const gone = await unload(id);
      return gone
        ? json(response, 200, { instance_id: id })
        : json(response, 404, { error: { type: 'model_not_found', message: `No instance ${id}` } });
    }
    case 'POST /v1/chat/completions':
    case 'POST /v1/completions':
      return generate(request, response, route.includes('chat'));
    case 'POST /v1/embeddings':
      return embed(request, response);
    default:
      return json(response, 200, {
        error: `Unexpected endpoint or method. (${route}). Returning 200 anyway`,
      });
  }
}

async function generate(request: IncomingMessage, response: ServerResponse, chat: boolean): Promise<void> {
  const body = await bodyOf(request);
  if (await answerFault(folder, response)) return;
  if (fault(folder, 'out_of_memory') !== null) {
    return json(response, 500, { error: { message: 'CUDA error: out of memory', type: 'server_error' } });
  }
  if ((body['response_format'] as { type?: string } | undefined)?.type === 'json_object') {
    return json(response, 400, { error: "'response_format.type' must be 'json_schema' or 'text'" });
  }
  const instance = await answering(String(body['model']));
  if (!instance) {
    const message = `Invalid model identifier "${String(body['model'])}".`;
    return json(response, 404, {
      error: { message, type: 'invalid_request_error', code: 'model_not_found' },
    });
  }
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const { key } = instance.model;
  while ((running.get(key) ?? 0) >= instance.parallel) await takes(20, gone.signal);
  running.set(key, (running.get(key) ?? 0) + 1);
  try {
    await answer(body, instance, chat, response, gone.signal);
  } finally {
    running.set(key, (running.get(key) ?? 1) - 1);
  }
}

async function answer(
  body: Record<string, unknown>,
  { model }: Instance,
  chat: boolean,
  response: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  const prompt = chat ? lastText(body['messages']) : String(body['prompt'] ?? '');
  const call = chat ? toolCall(body) : null;
  const limit = Number(body['max_completion_tokens'] ?? body['max_tokens'] ?? 200);
  const pieces = call ? [] : wanted(body, prompt, limit > 0 ? limit : 200);
  const cut = !call && pieces.length >= limit && limit > 0;
  const finish = call ? 'tool_calls' : cut ? 'length' : 'stop';
  const promptTokens = Math.max(1, Math.ceil(JSON.stringify(body['messages'] ?? prompt).length / 4));
  const usage = {
    prompt_tokens: promptTokens,
    completion_tokens: call ? 12 : pieces.length,
    total_tokens: promptTokens + (call ? 12 : pieces.length),
  };
  const head = {
    id: `${chat ? 'chatcmpl' : 'cmpl'}-${randomUUID().slice(0, 12)}`,
    created: Math.floor(Date.now() / 1000),
    model: fault(folder, 'wrong_model') === null ? model.key : 'somebody-elses-model',
    system_fingerprint: 'demo-stand-in',
  };
  const pauseMs = 1000 / model.tokensPerSecond;
  await takes(120 + promptTokens * 0.4, gone);
  if (body['stream'] !== true) {
    await takes(pauseMs * pieces.length, gone);
    const content = pieces.join('');
    const message = {
      role: 'assistant',
      content: call ? null : content,
      ...(call && { tool_calls: [call] }),
    };
    const choice = chat ? { message } : { text: content };
    const type = fault(folder, 'wrong_content_type') === null ? 'application/json' : 'text/plain';
    response.writeHead(200, { 'content-type': type }).end(
      JSON.stringify({
        ...head,
        object: chat ? 'chat.completion' : 'text_completion',
        choices: [{ index: 0, ...choice, logprobs: null, finish_reason: finish }],
        usage,
      }),
    );
    return;
  }
  const type = fault(folder, 'wrong_content_type') === null ? 'text/event-stream' : 'text/plain';
  response.writeHead(200, { 'content-type': type });
  const object = chat ? 'chat.completion.chunk' : 'text_completion';
  const event = (choices: object[], extra: object = {}): string =>
    `data: ${JSON.stringify({ ...head, object, choices, ...extra })}\n\n`;
  const delta = (content: string): object => (chat ? { delta: { content } } : { text: content });
  if (chat)
    response.write(event([{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }]));
  for (const [index, piece] of pieces.entries()) {
    await takes(pauseMs, gone);
    if (index === Math.floor(pieces.length / 2) && (await streamFault(response))) return;
    await write(response, event([{ index: 0, ...delta(piece), finish_reason: null }]));
  }
  if (call)
    response.write(
      event([{ index: 0, delta: { tool_calls: [{ index: 0, ...call }] }, finish_reason: null }]),
    );
  if (fault(folder, 'hang_before_done') !== null) return;
  response.write(event([{ index: 0, ...(chat ? { delta: {} } : { text: '' }), finish_reason: finish }]));
  if ((body['stream_options'] as { include_usage?: boolean } | undefined)?.include_usage) {
    response.write(event([], { usage }));
  }
  response.end(fault(folder, 'no_terminator') === null ? 'data: [DONE]\n\n' : '');
}

/** Sends an event whole, or in pieces that cut a character in two. */
async function write(response: ServerResponse, text: string): Promise<void> {
  if (fault(folder, 'split_code_point') === null) {
    response.write(text);
    return;
  }
  const bytes = Buffer.from(text.replace('demo', 'dëmö🏺'));
  const cut = bytes.indexOf(0xf0) + 2;
  response.write(bytes.subarray(0, Math.max(1, cut)));
  await takes(20);
  response.write(bytes.subarray(Math.max(1, cut)));
}

/** Misbehaves in the middle of a stream; true when there is nothing more to come. */
async function streamFault(response: ServerResponse): Promise<boolean> {
  if (fault(folder, 'hang_mid_stream') !== null) return true;
  if (fault(folder, 'half_stream') !== null) {
    response.write('data: {"choices":[{"index":0,"de');
    setTimeout(() => response.socket?.resetAndDestroy(), 20);
    return true;
  }
  if (fault(folder, 'chunk_garbage') !== null) response.write('data: {]\n\n');
  if (fault(folder, 'invalid_utf8') !== null) response.write(Buffer.from([0x3a, 0xff, 0xfe, 0x0a, 0x0a]));
  if (fault(folder, 'control_characters') !== null) response.write(': \u0000\u001b[31m\u001b]0;x\u0007\n\n');
  if (fault(folder, 'long_line') !== null) {
    const part = Buffer.alloc(1024 * 1024, 'x');
    for (let i = 0; i < 64 && !response.destroyed; i += 1) {
      if (!response.write(part)) await takes(5);
    }
    return true;
  }
  return false;
}

async function embed(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bodyOf(request);
  if (await answerFault(folder, response)) return;
  const instance = await answering(String(body['model']));
  if (!instance)
    return json(response, 404, { error: { message: 'No models loaded.', type: 'invalid_request_error' } });
  const input: unknown[] = Array.isArray(body['input']) ? body['input'] : [body['input']];
  await takes(30 * input.length);
  const data = input.map((text, index) => {
    // A direction from the text's hash: the same text, the same vector.
    const bytes = createHash('sha512').update(String(text)).digest();
    const vector = Float32Array.from(bytes, (byte) => (byte - 127.5) / 1_000);
    // Like the real one: numbers, whatever was asked for.
    const asBase64 = body['encoding_format'] === 'base64' && fault(folder, 'base64_vectors') !== null;
    const embedding = asBase64 ? Buffer.from(vector.buffer).toString('base64') : [...vector];
    return { object: 'embedding', index, embedding };
  });
  const tokens = Math.ceil(JSON.stringify(input).length / 4);
  json(response, 200, {
    object: 'list',
    model: instance.model.key,
    data,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

function wanted(body: Record<string, unknown>, prompt: string, limit: number): string[] {
  const format = body['response_format'] as { type?: string; json_schema?: { schema?: unknown } } | undefined;
  if (format?.type === 'json_schema') {
    const schema = format.json_schema?.schema as { type?: string; properties?: object } | undefined;
    const isAnyObject = schema?.type === 'object' && schema.properties === undefined;
    const sample = isAnyObject ? { demo: true } : sampleOf(schema);
    return (JSON.stringify(sample).match(/.{1,4}/gs) ?? []).slice(0, 400);
  }
  return babble(prompt, limit);
}

/** Calls the first tool once, until its result is in the conversation. */
function toolCall(body: Record<string, unknown>): { id: string; type: string; function: object } | null {
  const { tools, messages } = body;
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : undefined;
  if (!Array.isArray(tools) || body['tool_choice'] === 'none' || (last as { role?: string })?.role !== 'user')
    return null;
  const tool = (tools[0] as { function?: { name?: string; parameters?: unknown } } | undefined)?.function;
  if (!tool?.name) return null;
  return {
    id: `call_${randomUUID().slice(0, 8)}`,
    type: 'function',
    function: { name: tool.name, arguments: JSON.stringify(sampleOf(tool.parameters)) },
  };
}

function lastText(messages: unknown): string {
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : undefined;
  const content = (last as { content?: unknown } | undefined)?.content;
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part: { type?: string; text?: string; image_url?: { url?: string } }) =>
      part.type === 'image_url'
        ? `(an image of ${part.image_url?.url?.length ?? 0} characters)`
        : (part.text ?? ''),
    )
    .join(' ');
}

/** The internal port: what `lms` asks for. */
async function control(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = request.method === 'POST' ? await bodyOf(request) : {};
  switch (`${request.method} ${request.url}`) {
    case 'GET /lms-status':
      return json(response, 200, { package: 'demo-stand-in', version: '0.4.0' });
    case 'GET /state':
      return json(response, 200, {
        port: (http?.address() as AddressInfo | null)?.port ?? null,
        loaded: [...instances.keys()],
      });
    case 'POST /server/start':
      await startFaults(folder);
      http ??= listen(Number(body['port']), serve);
      return json(response, 200, {});
    case 'POST /server/stop':
      http?.closeAllConnections();
      http?.close();
      http = null;
      return json(response, 200, {});
    case 'POST /load': {
      const loaded = await load(
        String(body['key']),
        Number(body['contextLength']),
        Number(body['parallel'] ?? slots),
      );
      return typeof loaded === 'string' ? json(response, 500, { error: loaded }) : json(response, 200, {});
    }
    case 'POST /unload':
      return json(response, 200, { found: await unload(String(body['key'])) });
    case 'POST /down':
      json(response, 200, {});
      return process.exit(0);
    default:
      return json(response, 404, {});
  }
}

const internal = createServer((request, response) => {
  control(request, response).catch((error: unknown) => json(response, 500, { error: String(error) }));
});
internal.listen(0, '127.0.0.1', () => {
  mkdirSync(join(folder, 'lm-studio'), { recursive: true });
  const { port } = internal.address() as AddressInfo;
  writeFileSync(join(folder, 'lm-studio', 'daemon.json'), JSON.stringify({ pid: process.pid, port }));
});
