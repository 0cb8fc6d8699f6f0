import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { limits } from '../contract/limits.ts';
import { answerOn, answerRawErrors } from './raw-answer.ts';
import { cutStalledReaders } from './stalled-readers.ts';

/** How a server of ours, the tunnel's or an app's, treats its connections. */
export const serverOptions = {
  headersTimeout: limits.headersMs,
  connectionsCheckingInterval: limits.slowRequestLookMs,
  // We say ourselves what is missing.
  requireHostHeader: false,
} as const;

/** What is answered where no route can be: broken requests, and readers that take nothing. */
export function guardConnections(
  server: Server,
  route: (request: IncomingMessage, response: ServerResponse) => void,
): void {
  server.maxConnections = limits.connections;
  answerRawErrors(server);
  cutStalledReaders(server, limits.stalledReaderMs, answerOn);
  // An expectation that we do not know need not be met (RFC 9110, section 10.1.1).
  server.on('checkExpectation', route);
}
