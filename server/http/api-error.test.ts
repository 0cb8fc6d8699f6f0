import { expect, test } from 'vitest';
import { EngineError, type EngineErrorKind } from '../../gpu/engines/engine-error.ts';
import { ChildError } from '../../gpu/supervisor/child-error.ts';
import { asApiError } from './api-error.ts';

const secrets = 'connect ECONNREFUSED 127.0.0.1:22087 /home/ann/.lmstudio/bin/lms process 4711';
const aboutTheMachine: readonly EngineErrorKind[] = [
  'unreachable',
  'not_installed',
  'port_taken',
  'silent',
  'broken_stream',
  'start_failed',
  'failed',
  'stopped',
  'load_failed',
  'model_invalid',
  'aborted',
];

test.each(aboutTheMachine)(
  'S16: of "%s" a tenant is told no address, path or process of this machine',
  (kind) => {
    const error = new EngineError(kind, secrets);
    const { message, cause } = asApiError(error);
    expect(message).not.toMatch(/127\.|lmstudio|4711/);
    expect(message.length).toBeGreaterThan(10);
    // For the log.
    expect(cause).toBe(error);
  },
);

test('what the engine says of the request is the caller’s to read', () => {
  expect(asApiError(new EngineError('rejected', 'max_tokens is too large.')).message).toContain('max_tokens');
});

test('an engine that is down says when to come back', () => {
  const { code, status, retryAfterSeconds } = asApiError(
    new EngineError('stopped', undefined, { retryAfterMs: 60_000 }),
  );
  expect([code, status, retryAfterSeconds]).toEqual(['engine_unavailable', 503, 60]);
});

test('what befell an engine’s process is an engine error, with the process’s own words for the operator', () => {
  const ended = EngineError.from(
    new ChildError('ended', 'webui was ended by signal SIGSEGV.'),
    'unreachable',
  );
  expect([ended.kind, ended.message]).toEqual([
    'start_failed',
    'The engine did not start. webui was ended by signal SIGSEGV.',
  ]);
  const refused = new EngineError('port_taken', 'not a web UI');
  const child = new ChildError('refused', refused.message, { cause: refused });
  expect(EngineError.from(child, 'unreachable')).toBe(refused);
});
