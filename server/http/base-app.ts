import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifySchemaCompiler,
  LogController,
  type RawServerDefault,
} from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { dropAbsent } from '../contract/given-fields.ts';
import { limits } from '../contract/limits.ts';
import { schemaFault } from '../contract/schema-faults.ts';
import { ApiError, asApiError, tooLarge } from './api-error.ts';
import { isBrokenForm } from './form.ts';
import { guardConnections, serverOptions } from './connections.ts';
import { jsonSize } from './json-size.ts';
import { secureHeaders } from './security-headers.ts';
import { demandSoundHead, pathFault, routablePath } from './sound-requests.ts';
import { pathMeant } from './paths.ts';

/**
 * What both apps share: bounds on slow and large requests, strict validation, request ids, and one shape for every
 * error. It knows no route and never listens.
 */
export async function baseApp(
  logger: FastifyBaseLogger,
  { tls = null, rewriteUrl = (url) => url }: AppOptions = {},
): Promise<BaseApp> {
  const app: BaseApp = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    // Lines name the request they are about themselves; a logger of its own for each request costs too much.
    childLoggerFactory: (parent) => parent,
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    bodyLimit: limits.body.usualBytes,
    requestTimeout: limits.requestMs,
    connectionTimeout: limits.stalledReaderMs,
    keepAliveTimeout: 72_000,
    ...(tls ? { https: { cert: tls.cert, key: tls.key, ...serverOptions } } : { http: serverOptions }),
    // guardConnections answers these.
    clientErrorHandler: () => undefined,
    rewriteUrl: (request) => routablePath(request, rewriteUrl(request.url ?? '/')),
    // Forwarding headers are believed only behind our own tunnel, which has a listener of its own.
    trustProxy: false,
    routerOptions: {
      caseSensitive: true,
      ignoreTrailingSlash: false,
      maxParamLength: limits.pathPartCharacters,
    },
    forceCloseConnections: true,
    // What comes then is refused in our own shape.
    return503OnClosing: false,
  }).withTypeProvider<TypeBoxTypeProvider>();
  guardConnections(app.server, (request, response) => app.routing(request, response));

  // First of all, so that what is refused has them, too.
  await secureHeaders(app);
  strictBodies(app);
  writtenAtFirstUse(app);
  let isClosing = false;
  app.addHook('preClose', async () => {
    isClosing = true;
  });
  const paths = new Map<string, { pattern: RegExp; methods: Set<string> }>();
  app.addHook('onRoute', ({ url, method }) => {
    // Preflights of CORS are answered for every path, and say nothing about what is there.
    if (url === '*') return;
    const known = paths.get(url) ?? { pattern: patternOf(url), methods: new Set() };
    for (const one of [method].flat()) known.methods.add(one);
    paths.set(url, known);
  });
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    if (isClosing)
      throw new ApiError('shutting_down', 'The appliance is shutting down.', { retryAfterMs: 10_000 });
    demandSoundHead(request);
    done();
  });
  // What went well is in the usage table; a line for each request is for those who look for something.
  if (['debug', 'trace'].includes(logger.level)) {
    app.addHook('onResponse', (request, reply, done) => {
      const { method } = request;
      const ms = Math.round(reply.elapsedTime);
      const about = {
        requestId: request.id,
        method,
        route: request.routeOptions.url,
        status: reply.statusCode,
        ms,
      };
      app.log.debug(about, 'request');
      done();
    });
  }
  app.setErrorHandler((error: FastifyError | Error, request, reply) => {
    // Who goes on with a file learns from it that there is no more (RFC 9110 14.4).
    const size = 'headers' in error ? (error.headers as Record<string, unknown>)['Content-Range'] : undefined;
    if (typeof size === 'string') reply.header('content-range', size);
    return sendError(asRequestError(error, request), request, reply);
  });
  const refuseUnknown = (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const fault = pathFault(request);
    if (fault !== undefined) return sendError(new ApiError('invalid_request', fault), request, reply);
    const path = request.url.split('?')[0] ?? '';
    const methodsOf = (one: string): string[] =>
      [...paths.values()].flatMap(({ pattern, methods }) => (pattern.test(one) ? [...methods] : []));
    const allowed = methodsOf(path);
    if (allowed.length === 0) {
      const meant = pathMeant(path, (one) => methodsOf(one).includes(request.method));
      const hint = meant === null ? '' : ` Did you mean ${meant}?`;
      const message = `There is no ${request.method} ${path.slice(0, 200)}.${hint}`;
      return sendError(new ApiError('not_found', message), request, reply);
    }
    reply.header('allow', [...new Set(allowed)].join(', '));
    const message = `${request.method} is not allowed here; use ${[...new Set(allowed)].join(' or ')}.`;
    return sendError(new ApiError('method_not_allowed', message), request, reply);
  };
  // Before the body is read: nobody wants it.
  app.addHook('preParsing', (request, reply, _payload, done) => {
    if (request.is404) refuseUnknown(request, reply);
    else done();
  });
  app.setNotFoundHandler(refuseUnknown);
  return app;
}

interface AppOptions {
  readonly tls?: Tls | null;
  /** Puts a URL right before it is looked for. */
  readonly rewriteUrl?: (url: string) => string;
}

/** PEM texts of a certificate and its key. */
export interface Tls {
  readonly cert: string;
  readonly key: string;
}

/** One line for every error: our own and the engines' with what caused them, the callers' without. */
export function logError(error: ApiError, { id, log }: FastifyRequest): void {
  const about = { requestId: id, code: error.code };
  if (error.status >= 500) log.warn({ ...about, err: error.cause ?? error }, 'request failed');
  else log.info(about, 'request refused');
}

function sendError(error: ApiError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  logError(error, request);
  if (error.retryAfterSeconds !== null) reply.header('retry-after', String(error.retryAfterSeconds));
  return reply
    .status(error.status)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(bodyOf(error, request)));
}

/** In OpenAI's shape, and on the platform's routes in its envelope. */
export function bodyOf(error: ApiError, { id, originalUrl }: FastifyRequest): object {
  return originalUrl.startsWith('/api/v1/') ? error.envelope(id) : error.body(id);
}

export type BaseApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/**
 * Bodies are JSON, of bounded depth and number of values, and are validated as they are. Nothing is coerced or silently
 * dropped, except for null and its like where a parameter may be left out.
 */
function strictBodies(app: BaseApp): void {
  app.removeContentTypeParser(['text/plain', 'application/json']);
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const text = String(body);
    if (text === '') {
      // Some clients name the type of a body that they do not send.
      if (request.routeOptions.schema?.body === undefined) return done(null, undefined);
      return done(new ApiError('invalid_request', 'The body is empty; send a JSON object.'), undefined);
    }
    const { depth, nodes, nodeBytes } = limits.body;
    const size = jsonSize(text, { depth, nodes });
    if (size.excess !== null) {
      const most =
        size.excess === 'depth' ? `nests deeper than ${depth} levels` : `holds more than ${nodes} values`;
      return done(new ApiError('invalid_request', `The JSON ${most}.`), undefined);
    }
    try {
      request.heldBody?.add(size.nodes * nodeBytes);
    } catch (error) {
      return done(error as ApiError, undefined);
    }
    return parse(request, text, done);
  });
  const options = {
    removeAdditional: false,
    useDefaults: true,
    allErrors: false,
    strict: false,
    verbose: true,
  } as const;
  const bodies = new Ajv({ ...options, coerceTypes: false });
  // Query and path are text by nature.
  const texts = new Ajv({ ...options, coerceTypes: 'array' });
  app.setValidatorCompiler(({ schema, httpPart }) => {
    if (httpPart !== 'body') return atFirstUse(texts, schema);
    const check: Check = (value) => {
      dropAbsent(schema, value);
      const isValid = validate(value);
      check.errors = validate.errors ?? null;
      return isValid;
    };
    const validate = atFirstUse(bodies, schema);
    return check;
  });
}

type Check = ReturnType<FastifySchemaCompiler<unknown>>;

/**
 * Checks and writers of answers are made when a route is first used: there are well over a hundred, and most of a
 * start would go into making them all.
 */
function atFirstUse(ajv: Ajv, schema: object): Check {
  let validate: ValidateFunction | null = null;
  const check: Check = (value) => {
    validate ??= ajv.compile(schema);
    const isValid = validate(value);
    check.errors = validate.errors ?? null;
    return isValid;
  };
  return check;
}

const serializers = SerializerSelector();

function writtenAtFirstUse(app: BaseApp): void {
  const compile = serializers({}, {});
  app.setSerializerCompiler((route) => {
    let write: ((value: unknown) => string) | null = null;
    const { httpStatus = '200' } = route;
    return (value) => (write ??= compile({ ...route, httpStatus }))(value);
  });
}

/** Errors of Fastify itself and of validation, in our own words. */
function asRequestError(error: FastifyError | Error, request: FastifyRequest): ApiError {
  if (error instanceof ApiError) return error;
  if (isBrokenForm(error)) {
    return new ApiError(
      'invalid_request',
      'The form cannot be read: it ends too early, or its boundary is not the one that Content-Type names. Let your HTTP client build the form and set that header.',
    );
  }
  const validation =
    'validation' in error ? (error.validation as unknown as ErrorObject[] | undefined) : undefined;
  if (validation?.[0]) {
    const part = 'validationContext' in error ? error.validationContext : 'body';
    return invalid(validation, part === 'querystring' ? 'query' : part);
  }
  const code = 'code' in error ? error.code : '';
  const status = 'statusCode' in error ? (error.statusCode ?? 500) : 500;
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new ApiError('unsupported_media_type', 'Send the body as application/json.');
  }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE' || code === 'FST_REQ_FILE_TOO_LARGE' || status === 413) {
    return tooLarge(request.routeOptions.bodyLimit ?? limits.body.usualBytes);
  }
  if (
    error instanceof SyntaxError ||
    code === 'FST_ERR_CTP_INVALID_JSON_BODY' ||
    code === 'FST_ERR_CTP_EMPTY_JSON_BODY'
  ) {
    return new ApiError('invalid_request', `The body is not valid JSON: ${error.message}`);
  }
  if (status === 416)
    return new ApiError(
      'range_not_satisfiable',
      'The file ends before the range begins. Its size is in Content-Range.',
    );
  if (status === 503)
    return new ApiError('shutting_down', 'The appliance is shutting down.', { retryAfterMs: 10_000 });
  if (status === 408) return new ApiError('request_timeout', 'The request took too long to arrive.');
  if (status >= 400 && status < 500) return new ApiError('invalid_request', error.message);
  return asApiError(error);
}

function invalid(errors: readonly ErrorObject[], part: string): ApiError {
  const { kind, place, says, why } = schemaFault(errors);
  const sentences = {
    unknown: `Unknown parameter: "${place}".`,
    missing: `Missing parameter: "${place}".`,
    wrong: `${place === '' ? `The ${part}` : `"${place}"`} ${says}.`,
  };
  const message = [sentences[kind], why].filter(Boolean).join(' ');
  return new ApiError('invalid_request', message, place === '' ? {} : { param: place });
}

function patternOf(url: string): RegExp {
  const source = url
    .split('/')
    .map((part) =>
      part.startsWith(':') ? '[^/]+' : part === '*' ? '.*' : part.replaceAll(/[^\w-]/g, '\\$&'),
    )
    .join('/');
  return new RegExp(`^${source}$`);
}
