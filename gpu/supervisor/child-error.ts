/** What can go wrong with a supervised program, and whether starting it again by itself can help. */
const childErrors = {
  port_taken: { retryable: false },
  not_ready: { retryable: true },
  ended: { retryable: true },
  /** The probe said that no further try can help; what it said is the cause. */
  refused: { retryable: false },
  given_up: { retryable: false },
  stopped: { retryable: false },
} as const;
export type ChildErrorKind = keyof typeof childErrors;

/** Why a supervised program does not serve. The message names the program and what happened, for the operator. */
export class ChildError extends Error {
  override readonly name = 'ChildError';
  readonly kind: ChildErrorKind;

  constructor(kind: ChildErrorKind, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.kind = kind;
  }

  get retryable(): boolean {
    return childErrors[this.kind].retryable;
  }
}

/** How a process ended, to stand after its name. A process that a signal ended has no exit code. */
export function endingOf(result: { signal?: string | undefined; exitCode?: number | undefined }): string {
  if (result.signal) return `was ended by signal ${result.signal}`;
  return result.exitCode === undefined
    ? 'ended without an exit code'
    : `ended with exit code ${result.exitCode}`;
}
