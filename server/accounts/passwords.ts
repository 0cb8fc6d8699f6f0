import { hash, verify } from '@node-rs/argon2';
import pLimit from 'p-limit';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';

/** argon2id with the first of OWASP's recommended settings: 19 MiB, two passes, one lane. */
const cost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

/**
 * Hashes and checks passwords, two at a time on threads of their own: a flood of logins waits in its own queue, and
 * beyond its bound is refused, while everybody else's requests go on (A6).
 */
export class Passwords {
  readonly #queue = pLimit(limits.login.atOnce);
  /** Checked in the place of an account that is not there, so that the answer takes as long. */
  #nobody: Promise<string> | null = null;

  hash(password: string): Promise<string> {
    return this.#run(() => hash(password, cost));
  }

  /** Whether it is the password. Takes its time also where there is no account (null). */
  async check(stored: string | null, password: string): Promise<boolean> {
    // Waited for in either case, so that the first to ask takes as long, too.
    const nobody = await (this.#nobody ??= this.hash('nobody has this password'));
    const right = await this.#run(() => verify(stored ?? nobody, password));
    return right && stored !== null;
  }

  #run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#queue.pendingCount >= limits.login.waiting) {
      throw new ApiError(
        'too_many_attempts',
        'Too many people sign in at this moment. Try again in a few seconds.',
        {
          retryAfterMs: 5_000,
        },
      );
    }
    return this.#queue(work);
  }
}
