import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { EngineError } from './engine-error.ts';
import type { Answer, EmbedRequest, TextEvent, TextRequest } from './engine.ts';
import {
  type EngineHttp,
  engineRefusal,
  field,
  type HttpLimits,
  networkError,
  parsedOrNull,
  parseJson,
  readText,
  reportedError,
} from './http.ts';
import { eventData, SseSplitter } from './sse-splitter.ts';
import { type PromptWeight, weighPrompt, Written } from './text-weight.ts';
import { believableUsage, isTold, tokensSoFar, type Usage, usageTold } from './usage.ts';
import { vectorsAsAsked } from './vectors.ts';

export interface WireOptions {
  readonly signal: AbortSignal;
  /** The name the engine knows the model by. */
  readonly model: string;
  /** Refuse an answer that names another model (an engine that answers with whatever it has loaded). */
  readonly checkModel: boolean;
  /** Whether another name in an answer means the same model. */
  readonly isSameModel?: (named: string) => boolean;
}

/** A streamed chat or text completion over OpenAI's protocol, as complete events, checked as they pass. */
export async function* relayText(
  http: EngineHttp,
  request: TextRequest,
  options: WireOptions,
): AsyncGenerator<TextEvent, void, void> {
  const streamOptions = asObject(request.body['stream_options']);
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
    const text = await readText(response, { signal: options.signal, maxBytes: strayAnswerBytes });
    const said = reportedError(parsedOrNull(text));
    if (said !== null) throw said;
    throw new EngineError('bad_answer', `It was asked for a stream and sent ${type || 'no content type'}.`);
  }
  const splitter = new SseSplitter();
  const stream = new CheckedStream(request, options, streamOptions['include_usage'] === true);
  const watchdog = new Watchdog(source, http.limits);
  try {
    for await (const piece of source) {
      watchdog.pause();
      for (const event of splitter.push(piece)) yield* stream.pass(event);
      watchdog.resume();
    }
    const rest = splitter.rest();
    // Half an event is not passed on; a last one without its empty line is, completed.
    if (rest.length > 0 && stream.isLast(rest)) yield* stream.pass(Buffer.concat([rest, emptyLine]));
  } catch (error) {
    throw networkError(error, options.signal, 'broken_stream');
  } finally {
    watchdog.stop();
  }
  if (!stream.isDone) throw new EngineError('broken_stream', 'The end of the stream was missing.');
  yield { type: 'end', usage: stream.usage() };
}

/**
 * Looks at the events of one stream in passing. They go on as they came, except for the usage: it is told once, at
 * the end, to those who asked, with the figures that are booked.
 */
class CheckedStream {
  readonly #options: WireOptions;
  readonly #prompt: PromptWeight;
  readonly #written = new Written();
  readonly #asksForUsage: boolean;
  #claim: unknown = null;
  /** What is said once and holds for every event: id, object, created, model. */
  #head: object = {};
  /** The engine's own event of usage, which goes on unchanged where its figures are believed. */
  #usageEvent: Uint8Array | null = null;
  #isChecked = false;
  #hasBegun = false;
  isDone = false;

  constructor(request: TextRequest, options: WireOptions, asksForUsage: boolean) {
    this.#options = options;
    this.#prompt = weighPrompt(promptIn(request.body));
    this.#asksForUsage = asksForUsage;
  }

  usage(): Usage {
    return believableUsage(this.#claim, this.#prompt, this.#written);
  }

  isLast(event: Buffer): boolean {
    return eventData(event)?.trim() === '[DONE]';
  }

  *pass(event: Buffer): Generator<TextEvent, void, void> {
    // A byte order mark is no part of the first event, and clients would stumble over it.
    const isMarked = !this.#hasBegun && event.indexOf(byteOrderMark) === 0;
    this.#hasBegun = true;
    for (const bytes of this.#look(isMarked ? event.subarray(byteOrderMark.length) : event)) {
      yield { type: 'event', bytes, tokensSoFar: tokensSoFar(this.#written) };
    }
  }

  /** What goes on in place of an event. */
  #look(event: Buffer): readonly Uint8Array[] {
    const data = eventData(event);
    if (data === null) return [event];
    if (data.trim() === '[DONE]') {
      if (this.isDone) return [event];
      this.isDone = true;
      return this.#asksForUsage ? [this.#lastUsage(), event] : [event];
    }
    const chunk = parseJson(data);
    const said = reportedError(chunk);
    if (said !== null) throw said;
    if (!this.#isChecked) {
      checkModel(chunk, this.#options);
      const { choices: _, usage: __, ...head } = asObject(chunk);
      this.#head = head;
      this.#isChecked = true;
    }
    const choices = field(chunk, 'choices');
    const list: readonly unknown[] = Array.isArray(choices) ? choices : [];
    for (const choice of list) this.#written.add(choice);
    const claim = field(chunk, 'usage');
    if (typeof claim !== 'object' || claim === null) return [event];
    this.#claim = claim;
    if (list.length === 0) {
      this.#usageEvent = event;
      return [];
    }
    // Some servers put it into the last piece of text, some into every one.
    return [eventOf({ ...asObject(chunk), usage: this.#asksForUsage ? null : undefined })];
  }

  #lastUsage(): Uint8Array {
    const usage = this.usage();
    if (this.#usageEvent !== null && isTold(this.#claim, usage)) return this.#usageEvent;
    return eventOf({ ...this.#head, choices: [], usage: usageTold(this.#claim, usage) });
  }
}

const byteOrderMark = Buffer.from('\uFEFF');
const emptyLine = Buffer.from('\n\n');
/** The most that is read of an answer that is none, for the sentence in it. */
const strayAnswerBytes = 64 * 1024;

function eventOf(chunk: object): Uint8Array {
  return Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`);
}

/** A whole chat or text completion, checked. It passes as it came where its usage is the one that is booked. */
export async function relayCompletion(
  http: EngineHttp,
  request: TextRequest,
  options: WireOptions,
): Promise<Answer> {
  const { stream_options: _, ...asked } = request.body;
  const body = { ...asked, model: options.model, stream: false };
  const { text, answer } = await exchange(http, `/v1/${request.endpoint}`, body, options);
  const choices = field(answer, 'choices');
  const list: readonly unknown[] = Array.isArray(choices) ? choices : [];
  if (typeof list[0] !== 'object' || list[0] === null) {
    throw new EngineError('bad_answer', 'It holds no choice.');
  }
  checkModel(answer, options);
  const written = new Written();
  for (const choice of list) written.add(choice);
  const claim = field(answer, 'usage');
  const usage = believableUsage(claim, weighPrompt(promptIn(request.body)), written);
  if (isTold(claim, usage)) return { body: text, usage };
  return { body: JSON.stringify({ ...asObject(answer), usage: usageTold(claim, usage) }), usage };
}

/** Posts work and returns the answer's head; an error status is thrown as what it means. */
async function post(
  http: EngineHttp,
  path: string,
  body: unknown,
  { signal }: WireOptions,
): Promise<Dispatcher.ResponseData> {
  const response = await http.send(path, { body, signal, timeoutMs: http.limits.firstByteTimeoutMs });
  if (response.statusCode < 400) return response;
  const refusal = engineRefusal(response.statusCode, await readText(response, { signal }));
  // Work is only sent for a model that was loaded: if it is not there any more, that is not the caller's fault.
  if (refusal.kind !== 'model_missing') throw refusal;
  throw new EngineError('model_gone', undefined, { cause: refusal, status: response.statusCode });
}

/** Posts work and reads a whole answer. An error in it is one, whatever the status says. */
async function exchange(
  http: EngineHttp,
  path: string,
  body: unknown,
  options: WireOptions,
): Promise<{ text: string; answer: unknown }> {
  const text = await readText(await post(http, path, body, options), options);
  const answer = parseJson(text);
  const said = reportedError(answer);
  if (said !== null) throw said;
  return { text, answer };
}

/** What of a request the model reads. */
function promptIn(body: TextRequest['body']): unknown {
  return [body['messages'], body['prompt'], body['suffix'], body['tools'], body['functions']];
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

/** Vectors of texts, one for each, in the form and length that were asked for. */
export async function relayEmbeddings(
  http: EngineHttp,
  request: EmbedRequest,
  options: WireOptions,
): Promise<Answer> {
  const { text, answer } = await exchange(
    http,
    '/v1/embeddings',
    { ...request.body, model: options.model },
    options,
  );
  checkModel(answer, options);
  const input = request.body['input'];
  const { data, isChanged } = vectorsAsAsked(field(answer, 'data'), request.body);
  const claim = { completion_tokens: 0, ...asObject(field(answer, 'usage')) };
  const usage = believableUsage(claim, weighPrompt(input), { bytes: 0, thinkingBytes: 0 });
  if (!isChanged && isTold(claim, usage)) return { body: text, usage };
  const { completion_tokens: _, ...told } = asObject(usageTold(claim, usage));
  return { body: JSON.stringify({ ...asObject(answer), data, usage: told }), usage };
}

function checkModel(answer: unknown, { model, checkModel: isChecked, isSameModel }: WireOptions): void {
  const named = field(answer, 'model');
  if (!isChecked || named === undefined || named === model) return;
  if (typeof named === 'string' && isSameModel?.(named) === true) return;
  throw new EngineError(
    'wrong_model',
    `Asked for "${model}", answered by ${JSON.stringify(named).slice(0, 100)}.`,
  );
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
