import { randomUUID } from 'node:crypto';
import { STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { ApiError } from './api-error.ts';

const latest = new WeakMap<Duplex, ServerResponse>();

/** The latest answer on a connection, finished or not. */
export function answerOn(socket: Duplex): ServerResponse | undefined {
  return latest.get(socket);
}

/**
 * Answers in our shape where no request could be made of what came: what is no HTTP, heads that are too long, bodies
 * that never end. Nothing of what was sent is repeated.
 */
export function answerRawErrors(server: Server): void {
  server.on('request', (request: IncomingMessage, response: ServerResponse) =>
    latest.set(request.socket, response),
  );
  server.on('clientError', (error: Error & { code?: string; reason?: string }, socket: Duplex) => {
    if (error.code === 'ECONNRESET') socket.destroy();
    else answerRaw(socket, asRawError(error));
  });
  server.on('connect', (_request, socket: Duplex) =>
    answerRaw(socket, new ApiError('method_not_allowed', 'CONNECT is not allowed: this is no proxy.')),
  );
}

/** Writes an error to a connection and closes it. */
export function answerRaw(socket: Duplex, error: ApiError): void {
  const answer = answerOn(socket);
  // In the middle of another answer an error could only be taken for a part of it.
  const isMidAnswer = answer?.headersSent === true && !answer.writableFinished;
  if (!socket.writable || isMidAnswer) {
    socket.destroy();
    return;
  }
  const id = randomUUID();
  const body = JSON.stringify(error.body(id));
  const head = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${id}`,
    'x-content-type-options: nosniff',
    'cache-control: no-store',
    'connection: close',
  ];
  // What the other side goes on sending is not waited for.
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

function asRawError({ code, reason }: Error & { code?: string; reason?: string }): ApiError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ApiError('headers_too_large', 'The headers of the request are longer than 16 KiB together.');
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new ApiError('payload_too_large', 'The chunk extensions of the body are too long.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ApiError('request_timeout', 'The request took too long to arrive.');
    case undefined:
    default:
      return new ApiError(
        'invalid_request',
        `This is no HTTP/1.1 request that can be read${reason ? `: ${reason}` : ''}.`,
      );
  }
}
