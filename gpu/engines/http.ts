import { Pool, type Dispatcher } from 'undici';
import { EngineError, type EngineErrorKind } from './engine-error.ts';

/** Bounds on what an engine may do to us. */
export interface HttpLimits {
  readonly connectTimeoutMs: number;
  /** A prompt of many thousand tokens on a small card is silent for this long at most. */
  readonly firstByteTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly controlTimeoutMs: number;
  /** A blocking model load. */
  readonly loadTimeoutMs: number;
  readonly maxJsonBytes: number;
}

const httpLimits: HttpLimits = {
  connectTimeoutMs: 3_000,
  firstByteTimeoutMs: 120_000,
  idleTimeoutMs: 30_000,
  controlTimeoutMs: 10_000,
  loadTimeoutMs: 300_000,
  maxJsonBytes: 64 * 1024 * 1024,
};

export interface CallOptions {
  readonly method?: 'GET' | 'POST';
  readonly body?: unknown;
  readonly signal: AbortSignal;
  /** Until the headers, and between two pieces of the body. */
  readonly timeoutMs?: number;
  readonly maxBytes?: number;
}

/** More than any engine has slots, with room for control calls beside them. */
const maxConnections = 256;

/** A loopback HTTP client of one engine. Sockets are never reused after an abort (undici destroys them). */
export class EngineHttp {
  readonly origin: string;
  readonly limits: HttpLimits;
  readonly #pool: Pool;
  readonly #headers: Record<string, string>;

  constructor(
    origin: string,
    options: { headers?: Record<string, string>; limits?: Partial<HttpLimits>; socketPath?: string } = {},
  ) {
    this.origin = origin;
    this.limits = { ...httpLimits, ...options.limits };
    this.#headers = options.headers ?? {};
    this.#pool = new Pool(origin, {
      connections: maxConnections,
      ...(options.socketPath !== undefined && { socketPath: options.socketPath }),
      connectTimeout: this.limits.connectTimeoutMs,
      pipelining: 1,
      keepAliveTimeout: 4_000,
    });
  }

  /** Sends a request and leaves the body to the caller. Rejects with an EngineError. */
  async send(path: string, options: CallOptions): Promise<Dispatcher.ResponseData> {
    const timeoutMs = options.timeoutMs ?? this.limits.controlTimeoutMs;
    try {
      return await this.#pool.request({
        path,
        method: options.method ?? (options.body === undefined ? 'GET' : 'POST'),
        headers:
          options.body === undefined
            ? this.#headers
            : {
                ...this.#headers,
                'content-type': 'application/json',
                accept: 'application/json, text/event-stream',
              },
        body: options.body === undefined ? null : JSON.stringify(options.body),
        signal: options.signal,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
    } catch (error) {
      throw networkError(error, options.signal);
    }
  }

  /** A JSON exchange: any 2xx with a JSON object or array. 204 answers null. */
  async json(path: string, options: CallOptions): Promise<unknown> {
    const response = await this.send(path, options);
    const text = await readText(response, options);
    if (response.statusCode >= 400) throw engineRefusal(response.statusCode, text);
    if (response.statusCode === 204) return null;
    return parseJson(text);
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }
}

/** The whole body as text, bounded. */
export async function readText(response: Dispatcher.ResponseData, options: CallOptions): Promise<string> {
  const maxBytes = options.maxBytes ?? httpLimits.maxJsonBytes;
  try {
    return await new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const take = (chunk: Buffer): void => {
        length += chunk.length;
        chunks.push(chunk);
        if (length > maxBytes)
          response.body.destroy(new EngineError('bad_answer', `It was longer than ${maxBytes} bytes.`));
      };
      response.body
        .on('data', take)
        .once('end', () => resolve(Buffer.concat(chunks, length).toString('utf8')))
        .once('error', reject);
    });
  } catch (error) {
    throw networkError(error, options.signal, 'broken_stream');
  }
}

export function parseJson(text: string): unknown {
  try {
    // A byte order mark is no part of JSON, and some servers send one.
    return JSON.parse(text.startsWith('\uFEFF') ? text.slice(1) : text);
  } catch (cause) {
    throw new EngineError('bad_answer', 'It was not JSON.', { cause });
  }
}

/** The same where it may be anything; null for what is not JSON. */
export function parsedOrNull(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return null;
  }
}

/** An aborted signal wins over whatever error the abort caused. */
export function networkError(
  error: unknown,
  signal: AbortSignal,
  otherwise: EngineErrorKind = 'unreachable',
): EngineError {
  if (signal.aborted) return new EngineError('aborted', undefined, { cause: signal.reason });
  if (error instanceof EngineError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') {
    return new EngineError('silent', undefined, { cause: error });
  }
  // What was already connected and broke off is another matter than what could not be reached.
  const brokeOff = code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
  return EngineError.from(error, brokeOff ? 'broken_stream' : otherwise);
}

/** An error status as an EngineError. The engine's own words are kept short and never taken as ours. */
export function engineRefusal(status: number, body: string): EngineError {
  const message = messageOf(parsedOrNull(body), body).slice(0, saidCharacters);
  if (outOfMemory.test(message)) return new EngineError('out_of_memory', message, { status });
  if (status === 401 || status === 403) {
    return new EngineError('unreachable', `It wants another password or token: ${message}`, { status });
  }
  if (status === 404 && /model|No models loaded/i.test(message)) {
    return new EngineError('model_missing', message, { status });
  }
  if (status >= 400 && status < 500 && status !== 429)
    return new EngineError('rejected', message, { status });
  return new EngineError('bad_answer', `It answered ${status}: ${message}`, { status });
}

const outOfMemory = /out ?of ?memory|CUDA error|insufficient system resources/i;
/** What is kept of an engine's own words. */
const saidCharacters = 500;

/**
 * The error that an answer reports in spite of a good status, in the engine's own words; null where it reports none.
 * LM Studio answers 200 with `{"error": "..."}`, and servers that stream have no other way.
 */
export function reportedError(answer: unknown): EngineError | null {
  const error = field(answer, 'error');
  if (error === undefined || error === null || error === false || error === '') return null;
  const said = messageOf(answer, 'an error without a message').slice(0, saidCharacters);
  return outOfMemory.test(said)
    ? new EngineError('out_of_memory', said)
    : new EngineError('bad_answer', `It says: ${said}`);
}

/** The human part of an error body, in any of the shapes engines use. */
function messageOf(parsed: unknown, body: string): string {
  for (const path of [['error', 'message'], ['errors'], ['message'], ['detail'], ['error']]) {
    let value: unknown = parsed;
    for (const key of path) value = field(value, key);
    if (typeof value === 'string' && value !== '') return value;
  }
  return body.startsWith('<') ? 'an HTML page' : body;
}

/** A text property of an unknown value; empty where there is none. */
export function textField(value: unknown, key: string): string {
  const found = field(value, key);
  return typeof found === 'string' ? found : '';
}

/** A property of an unknown value; undefined where there is none. */
export function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}
