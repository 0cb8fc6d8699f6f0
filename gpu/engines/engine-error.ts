import { ChildError, type ChildErrorKind } from '../supervisor/child-error.ts';

/** What can go wrong with an engine, what to tell people, and whether trying again can help. */
const engineErrors = {
  unreachable: { retryable: true, text: 'The engine does not answer.' },
  not_installed: { retryable: false, text: 'The engine was not found on this machine.' },
  port_taken: { retryable: false, text: 'Another program listens on the engine’s port.' },
  start_failed: { retryable: true, text: 'The engine did not start.' },
  failed: { retryable: false, text: 'The engine keeps failing.' },
  stopped: { retryable: false, text: 'The operator has stopped the engine of this model.' },
  silent: { retryable: true, text: 'The engine stopped answering in the middle of its work.' },
  broken_stream: { retryable: true, text: 'The engine ended its answer in the middle.' },
  bad_answer: { retryable: true, text: 'The engine’s answer cannot be used.' },
  wrong_model: { retryable: true, text: 'The engine answered with another model than was asked for.' },
  model_missing: { retryable: false, text: 'The engine does not have this model.' },
  model_gone: { retryable: true, text: 'The engine no longer has the model loaded.' },
  model_invalid: { retryable: false, text: 'The model’s file is damaged or not a model.' },
  load_failed: { retryable: true, text: 'The engine could not load the model.' },
  out_of_memory: { retryable: true, text: 'The engine ran out of video memory.' },
  rejected: { retryable: false, text: 'The engine refused the request.' },
  unsupported: { retryable: false, text: 'The engine cannot do this.' },
  aborted: { retryable: false, text: 'The request was given up.' },
} as const;
export type EngineErrorKind = keyof typeof engineErrors;

/** What the trouble of an engine's process is to those who wanted work of it. */
const ofChild: Readonly<Record<Exclude<ChildErrorKind, 'refused'>, EngineErrorKind>> = {
  port_taken: 'port_taken',
  not_ready: 'start_failed',
  ended: 'start_failed',
  given_up: 'failed',
  stopped: 'aborted',
};

export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly kind: EngineErrorKind;
  /** The engine's HTTP status, where it gave one. */
  readonly status: number | null;
  /** When to ask again, in milliseconds, where that is known. */
  readonly retryAfterMs: number | null;

  /** `detail` is for the operator: it may name addresses, processes and files of this machine. */
  constructor(
    kind: EngineErrorKind,
    detail?: string,
    options: { cause?: unknown; status?: number; retryAfterMs?: number } = {},
  ) {
    super(detail ? `${engineErrors[kind].text} ${detail}` : engineErrors[kind].text, {
      cause: options.cause,
    });
    this.kind = kind;
    this.status = options.status ?? null;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }

  /** What happened without its details: nothing in it is of this machine. */
  get summary(): string {
    return engineErrors[this.kind].text;
  }

  get retryable(): boolean {
    return engineErrors[this.kind].retryable;
  }

  static from(error: unknown, fallback: EngineErrorKind): EngineError {
    if (error instanceof EngineError) return error;
    if (error instanceof ChildError) {
      if (error.kind === 'refused') return EngineError.from(error.cause, fallback);
      return new EngineError(ofChild[error.kind], error.message, { cause: error });
    }
    return new EngineError(fallback, error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
}

/** Whether an error of a program's probe is one that asking again cannot mend. */
export function isFinalError(error: unknown): boolean {
  return error instanceof EngineError && !error.retryable && error.kind !== 'aborted';
}
