import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { limits } from '../contract/limits.ts';
import { ApiError } from './api-error.ts';

/** Where a path leads that cannot be read: to no route, but past every check that a request passes. */
const nowhere = '/.unreadable';
const faults = new WeakMap<IncomingMessage, string>();

/**
 * The address that a request is routed by: its own, unless its path cannot be read. The router would answer such a one
 * by itself, before anybody is asked.
 */
export function routablePath(request: IncomingMessage, url: string): string {
  const fault = faultOf(url.split('?')[0] ?? '');
  if (fault === null) return url;
  faults.set(request, fault);
  return nowhere;
}

/** What is wrong with the path of a request; undefined where nothing is. */
export function pathFault(request: FastifyRequest): string | undefined {
  return faults.get(request.raw);
}

function faultOf(path: string): string | null {
  const { pathPartCharacters } = limits;
  if (path.split('/').some((part) => part.length > pathPartCharacters))
    return `A part of the path is longer than ${pathPartCharacters} characters.`;
  try {
    decodeURIComponent(path);
    return null;
  } catch {
    return 'The path has a percent sign that begins no valid escape. Write a percent sign as %25.';
  }
}

/**
 * Throws for a head that two programs could read differently (RFC 9112): another version of HTTP than the connection
 * speaks, no host, or two.
 */
export function demandSoundHead({ raw }: FastifyRequest): void {
  const { httpVersion, rawHeaders } = raw;
  if (httpVersion !== '1.1' && httpVersion !== '1.0')
    throw new ApiError('invalid_request', `HTTP/${httpVersion} is not spoken here; use HTTP/1.1.`);
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1'))
    throw new ApiError('invalid_request', `The request has ${hosts} Host headers; HTTP/1.1 wants one.`);
}
