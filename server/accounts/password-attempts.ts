import { RateWindows } from '../admission/rate-window.ts';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';

export interface Guess {
  /** The e-mail address, whether or not there is an account with it. */
  readonly email: string;
  /** Of the account; null where there is none. */
  readonly passwordHash: string | null;
  readonly address: string;
  /** Whether the account was signed in to from this address before. */
  readonly isKnownAddress: boolean;
}

/** How long wrong passwords of one session are remembered: longer than one goes on. */
const sessionWindowMs = limits.session.absoluteMs;

/**
 * Counts wrong passwords, on whatever route they are given. They are counted against the password itself: once it is
 * another one, by a reset or a change, what was guessed before counts no more, so that nobody can keep an owner out.
 * The bound over all addresses does not hold for an address from which the account was signed in to before.
 */
export class PasswordAttempts {
  readonly #guesses = new RateWindows(limits.login.windowMs);
  readonly #ofSession = new RateWindows(sessionWindowMs);
  readonly #now: () => number;

  /** `now` is monotonic, in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Counts an attempt before it is made, so that many at once do not slip through. Throws an ApiError where there were
   * too many. Returns how to take it back once the password was right.
   */
  begin({ email, passwordHash, address, isKnownAddress }: Guess): () => void {
    const { failures, failuresAnywhere } = limits.login;
    const account = `${email} ${passwordHash?.slice(-16) ?? ''}`;
    const counted: (readonly [key: string, most: number])[] = [[`${account} ${address}`, failures]];
    if (!isKnownAddress) counted.push([account, failuresAnywhere]);
    for (const [key, most] of counted) {
      const state = this.#guesses.take(key, most, this.#now());
      if (!state.allowed) {
        throw new ApiError(
          'too_many_attempts',
          'Too many wrong passwords for this account. Wait, or reset the password: the new one works at once.',
          state,
        );
      }
    }
    return () => {
      for (const [key] of counted) this.#guesses.giveBack(key, this.#now());
    };
  }

  /** Counts a wrong password that was given within a session. True for the one that is to end it. */
  endsSession(session: string): boolean {
    return this.#ofSession.take(session, limits.login.failures, this.#now()).remaining === 0;
  }
}
