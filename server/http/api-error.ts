import { QueueFullError, PausedError } from '../../gpu/vram/scheduler.ts';
import { EngineError, type EngineErrorKind } from '../../gpu/engines/engine-error.ts';
import { withoutPlaces } from '../../gpu/engines/engine-words.ts';
import { InfeasibleError } from '../../gpu/gpu.ts';
import { isStorageError } from '../db/storage-error.ts';
import { type ErrorBody, type ErrorCode, type ErrorEnvelope, errorTable } from '../contract/errors.ts';

export interface ErrorDetails {
  readonly param?: string;
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** An error for the caller: a code of the table, a sentence that says what to do, and when to come back. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ErrorCode;
  readonly param: string | null;
  readonly retryAfterMs: number | null;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.param = details.param ?? null;
    this.retryAfterMs = details.retryAfterMs ?? null;
  }

  get status(): number {
    return errorTable[this.code].status;
  }

  body(requestId: string): ErrorBody {
    const { type, side } = errorTable[this.code];
    const { code, message, param } = this;
    return { error: { message, type, param, code, side, request_id: requestId } };
  }

  /** The same in the envelope of /api/v1. */
  envelope(requestId: string): ErrorEnvelope {
    const { request_id, ...error } = this.body(requestId).error;
    return { status: 'error', data: null, message: this.message, errors: [error], request_id };
  }

  /** Retry-After is in whole seconds, at least one. */
  get retryAfterSeconds(): number | null {
    return this.retryAfterMs === null ? null : Math.max(1, Math.ceil(this.retryAfterMs / 1000));
  }
}

const engineCodes: Readonly<Record<EngineErrorKind, ErrorCode>> = {
  unreachable: 'engine_unavailable',
  not_installed: 'engine_unavailable',
  port_taken: 'engine_unavailable',
  start_failed: 'engine_unavailable',
  failed: 'engine_unavailable',
  stopped: 'engine_unavailable',
  silent: 'engine_timeout',
  broken_stream: 'engine_broken_stream',
  bad_answer: 'engine_error',
  wrong_model: 'engine_error',
  model_missing: 'model_not_found',
  model_gone: 'engine_unavailable',
  model_invalid: 'engine_unavailable',
  load_failed: 'engine_unavailable',
  out_of_memory: 'engine_out_of_memory',
  rejected: 'invalid_request',
  unsupported: 'invalid_request',
  aborted: 'shutting_down',
};

const engineRetryMs = 10_000;
/** Where the engine speaks of the request, its words are the caller's; all others are about this machine (S16). */
const toldInFull: ReadonlySet<EngineErrorKind> = new Set([
  'rejected',
  'unsupported',
  'bad_answer',
  'wrong_model',
  'model_missing',
  'out_of_memory',
]);

/** Any error as one for the caller. What we did not expect stays with us: its text never leaves. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof QueueFullError) {
    const code = error.limit === 'queue' ? 'queue_full' : 'tenant_queue_full';
    return new ApiError(code, `${error.message} Come back later (limit: ${error.limit}).`, error);
  }
  if (error instanceof PausedError) return new ApiError('paused', error.message, error);
  if (error instanceof InfeasibleError) return new ApiError('model_infeasible', error.message);
  if (error instanceof EngineError) {
    const code = engineCodes[error.kind];
    const isPassing = errorTable[code].status >= 500;
    const retry = isPassing ? { retryAfterMs: error.retryAfterMs ?? engineRetryMs } : {};
    const message = toldInFull.has(error.kind)
      ? withoutPlaces(error.message)
      : adviceOf(error.summary, error.kind);
    return new ApiError(code, message, { cause: error, ...retry });
  }
  if (isStorageError(error)) return cannotWrite(error);
  return new ApiError(
    'internal_error',
    'Something went wrong in the appliance; the operator’s log has the details.',
    {
      cause: error,
    },
  );
}

function adviceOf(summary: string, kind: EngineErrorKind): string {
  const isDown =
    kind === 'stopped' || kind === 'failed' || kind === 'start_failed' || kind === 'not_installed';
  return isDown ? `${summary} Ask for another model, or come back later.` : summary;
}

/** The disk is full, busy or read-only. */
export function cannotWrite(cause: unknown): ApiError {
  const message = 'The appliance cannot write at the moment (its disk is full or busy). Nothing was charged.';
  return new ApiError('storage_unavailable', message, { cause, retryAfterMs: 30_000 });
}

export function tooLarge(mostBytes: number): ApiError {
  return new ApiError(
    'payload_too_large',
    `The request is larger than this route takes (${mostBytes} bytes at most).`,
  );
}
