import type { Readable } from 'node:stream';
import { EngineError } from './engine-error.ts';
import type { Dispatcher } from 'undici';
import type { Answer, EmbedRequest, TextEvent, TextRequest } from './engine.ts';
import {
  type EngineHttp,
  engineRefusal,
  field,
  type HttpLimits,
  networkError,
  parseJson,
  readText,
} from './http.ts';
import { eventData, SseSplitter } from './sse-splitter.ts';
import { believableUsage } from './usage.ts';

export interface WireOptions {
  readonly signal: AbortSignal;
  /** The name the engine knows the model by. */
  readonly model: string;
  /** Refuse an answer that names another model (an engine that answers with whatever it has loaded). */
  readonly checkModel: boolean;
}

/** A streamed chat or text completion over OpenAI's protocol, as complete events, checked as they pass. */
export async function* relayText(
  http: EngineHttp,
  request: TextRequest,
  options: WireOptions,
): AsyncGenerator<TextEvent, void, void> {
  const streamOptions = asObject(request.body['stream_options']);
  const askedForUsage = streamOptions['include_usage'] === true;
  const sent = {
    ...request.body,
    model: options.model,
    stream: true,
    // Usage is always asked for, because work is metered; a caller who did not ask is not shown it.
    stream_options: { ...streamOptions, include_usage: true },
  };
  const response = await post(http, `/v1/${request.endpoint}`, sent, options);
  const source = response.body;
  const type = String(response.headers['content-type'] ?? '');
  if (!type.startsWith('text/event-stream')) {
    await source.dump().catch(() => undefined);
    throw new EngineError('bad_answer', `It was asked for a stream and sent ${type || 'no content type'}.`);
  }
  const splitter = new SseSplitter();
  const seen = { promptBytes: promptBytes(request), completionBytes: 0, completionEvents: 0 };
  let usage: unknown = null;
  let checked = false;
  let frameBytes = 0;
  let done = false;

  /** Looks at an event in passing; false when it is only the usage nobody asked for. */
  const look = (bytes: Buffer): boolean => {
    // Nearly every event is one more token in a frame that was checked on the first: it is searched, not decoded.
    if (checked && isPlainChunk(bytes)) {
      seen.completionEvents += 1;
      seen.completionBytes += Math.max(1, bytes.length - frameBytes);
      return true;
    }
    const data = eventData(bytes);
    if (data === null) return true;
    if (data.trim() === '[DONE]') {
      done = true;
      return true;
    }
    const chunk = parseJson(data);
    const error = field(chunk, 'error');
    if (error !== undefined && error !== null) {
      const message = field(error, 'message');
      throw new EngineError('broken_stream', typeof message === 'string' ? message.slice(0, 500) : undefined);
    }
    if (!checked) {
      checkModel(chunk, options);
      checked = true;
    }
    const claimed = field(chunk, 'usage');
    if (claimed !== null && claimed !== undefined) usage = claimed;
    const choices = field(chunk, 'choices');
    if (Array.isArray(choices) && choices.length === 0 && usage !== null) return askedForUsage;
    const [choice]: unknown[] = Array.isArray(choices) ? choices : [];
    const writtenBytes = textBytes(field(choice, 'delta') ?? field(choice, 'text'));
    frameBytes = bytes.length - writtenBytes;
    seen.completionEvents += 1;
    seen.completionBytes += writtenBytes;
    return true;
  };

  const watchdog = new Watchdog(source, http.limits);
  try {
    for await (const piece of source) {
      watchdog.pause();
      for (const event of splitter.push(piece)) if (look(event)) yield { type: 'event', bytes: event };
      watchdog.resume();
    }
    const rest = splitter.rest();
    if (rest.length > 0) {
      // Half an event is not passed on; a last one without its empty line is, completed.
      look(rest);
      if (done) yield { type: 'event', bytes: Buffer.concat([rest, Buffer.from('\n\n')]) };
    }
  } catch (error) {
    throw networkError(error, options.signal, 'broken_stream');
  } finally {
    watchdog.stop();
  }
  if (!done) throw new EngineError('broken_stream', 'The end of the stream was missing.');
  yield { type: 'end', usage: believableUsage(usage, seen) };
}

/** A whole chat or text completion, checked. */
export async function relayCompletion(
  http: EngineHttp,
  request: TextRequest,
  options: WireOptions,
): Promise<Answer> {
  const body = { ...request.body, model: options.model, stream: false };
  const response = await post(http, `/v1/${request.endpoint}`, body, options);
  const text = await readText(response, options);
  const answer = parseJson(text);
  const choices = field(answer, 'choices');
  const first: unknown = Array.isArray(choices) ? choices[0] : undefined;
  if (typeof first !== 'object' || first === null) throw new EngineError('bad_answer', 'It holds no choice.');
  checkModel(answer, options);
  const completionBytes = textBytes(field(first, 'message') ?? field(first, 'text'));
  const seen = { promptBytes: promptBytes(request), completionBytes, completionEvents: 0 };
  return { body: text, usage: believableUsage(field(answer, 'usage'), seen) };
}

/** Posts work and returns the answer's head; an error status is thrown as what it means. */
async function post(
  http: EngineHttp,
  path: string,
  body: unknown,
  { signal }: WireOptions,
): Promise<Dispatcher.ResponseData> {
  const response = await http.send(path, { body, signal, timeoutMs: http.limits.firstByteTimeoutMs });
  if (response.statusCode >= 400)
    throw engineRefusal(response.statusCode, await readText(response, { signal }));
  return response;
}

function promptBytes({ body }: TextRequest): number {
  return textBytes(body['messages'] ?? body['prompt']);
}

const chunkStart = Buffer.from('data: {');
const closingBrace = 0x7d;
const newline = 0x0a;
const carriageReturn = 0x0d;

/** One line of data that looks like a JSON object and speaks of neither usage nor an error. */
function isPlainChunk(bytes: Buffer): boolean {
  let end = bytes.length - 1;
  while (end > 0 && (bytes[end] === newline || bytes[end] === carriageReturn)) end -= 1;
  return (
    bytes[end] === closingBrace &&
    bytes.compare(chunkStart, 0, chunkStart.length, 0, chunkStart.length) === 0 &&
    !bytes.includes('"usage"') &&
    !bytes.includes('"error"')
  );
}

/** Cuts a stream whose engine falls silent. Time in which our own reader holds us up does not count. */
class Watchdog {
  readonly #source: Readable;
  readonly #limits: HttpLimits;
  #timer: NodeJS.Timeout;
  #fed = false;
  #waiting = true;

  constructor(source: Readable, limits: HttpLimits) {
    this.#limits = limits;
    this.#source = source;
    this.#timer = this.#arm(limits.firstByteTimeoutMs);
  }

  pause(): void {
    this.#waiting = false;
  }

  resume(): void {
    this.#waiting = true;
    if (this.#fed) this.#timer.refresh();
    else {
      this.#fed = true;
      clearTimeout(this.#timer);
      this.#timer = this.#arm(this.#limits.idleTimeoutMs);
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(timeoutMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      if (this.#waiting) this.#source.destroy(new EngineError('silent'));
      else this.#timer.refresh();
    }, timeoutMs);
  }
}

/** Vectors of texts, one for each. */
export async function relayEmbeddings(
  http: EngineHttp,
  request: EmbedRequest,
  options: WireOptions,
): Promise<Answer> {
  const response = await post(http, '/v1/embeddings', { ...request.body, model: options.model }, options);
  const text = await readText(response, options);
  const answer = parseJson(text);
  const data = field(answer, 'data');
  const input = request.body['input'];
  const expected = Array.isArray(input) && typeof input[0] !== 'number' ? input.length : 1;
  if (!Array.isArray(data) || data.length !== expected) {
    throw new EngineError('bad_answer', `It was asked for ${expected} embeddings.`);
  }
  checkModel(answer, options);
  const seen = { promptBytes: textBytes(input), completionBytes: 0, completionEvents: 0 };
  const claim = { ...asObject(field(answer, 'usage')), completion_tokens: 0 };
  return { body: text, usage: believableUsage(claim, seen) };
}

function checkModel(answer: unknown, options: WireOptions): void {
  const named = field(answer, 'model');
  if (!options.checkModel || named === undefined || named === options.model) return;
  throw new EngineError(
    'wrong_model',
    `Asked for "${options.model}", answered by ${JSON.stringify(named).slice(0, 100)}.`,
  );
}

/** The bytes of text in a prompt, a message, a delta or parts of one. */
function textBytes(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + textBytes(item), 0);
  const inner = field(value, 'content') ?? field(value, 'text') ?? field(value, 'tool_calls') ?? null;
  if (inner !== null) return textBytes(inner);
  return typeof value === 'object' && value !== null ? Buffer.byteLength(JSON.stringify(value)) : 0;
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
