/** What can go wrong with an engine, what to tell people, and whether trying again can help. */
const engineErrors = {
  unreachable: { retryable: true, text: 'The engine does not answer.' },
  not_installed: { retryable: false, text: 'The engine was not found on this machine.' },
  port_taken: { retryable: false, text: 'Another program listens on the engine’s port.' },
  failed: { retryable: false, text: 'The engine keeps failing and was given up.' },
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

export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly kind: EngineErrorKind;
  /** The engine's HTTP status, where it gave one. */
  readonly status: number | null;

  constructor(kind: EngineErrorKind, detail?: string, options: { cause?: unknown; status?: number } = {}) {
    super(detail ? `${engineErrors[kind].text} ${detail}` : engineErrors[kind].text, {
      cause: options.cause,
    });
    this.kind = kind;
    this.status = options.status ?? null;
  }

  get retryable(): boolean {
    return engineErrors[this.kind].retryable;
  }

  static from(error: unknown, fallback: EngineErrorKind): EngineError {
    if (error instanceof EngineError) return error;
    return new EngineError(fallback, error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
}
