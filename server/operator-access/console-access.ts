import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { limits } from '../contract/limits.ts';

export interface Session {
  readonly token: string;
  /** Wall-clock milliseconds. */
  readonly expiresAt: number;
}

/**
 * Who may use the operator API: whoever holds the installation's token, or a session that was opened with it or with a
 * link that works once. Sessions are signed with the token and kept nowhere: another token ends them all.
 */
export class ConsoleAccess {
  readonly #token: string;
  readonly #now: () => number;
  readonly #codes = new Map<string, number>();

  constructor(token: string, now: () => number = Date.now) {
    this.#token = token;
    this.#now = now;
  }

  /** A code that opens one session, soon. */
  newCode(): { code: string; expiresAt: number } {
    const now = this.#now();
    for (const [code, expiresAt] of this.#codes) if (expiresAt <= now) this.#codes.delete(code);
    const oldest = this.#codes.keys().next();
    if (this.#codes.size >= limits.console.codes && !oldest.done) this.#codes.delete(oldest.value);
    const code = randomBytes(18).toString('base64url');
    const expiresAt = now + limits.console.codeMs;
    this.#codes.set(code, expiresAt);
    return { code, expiresAt };
  }

  /** Opens a session with a code, which is used up, or with the token itself; null when it is neither. */
  open(proof: string): Session | null {
    const now = this.#now();
    const codeExpiresAt = this.#codes.get(proof);
    this.#codes.delete(proof);
    const isCode = codeExpiresAt !== undefined && codeExpiresAt > now;
    if (!isCode && !isSame(proof, this.#token)) return null;
    const expiresAt = now + limits.console.sessionMs;
    return { token: `khs_${expiresAt.toString(36)}.${this.#signature(expiresAt)}`, expiresAt };
  }

  /** Whether it is the token, or a session that has not expired. */
  isGood(given: string): boolean {
    const [, expires, signature] = /^khs_([0-9a-z]{1,12})\.([\w-]{43})$/.exec(given) ?? [];
    if (expires === undefined || signature === undefined) return isSame(given, this.#token);
    const expiresAt = Number.parseInt(expires, 36);
    return expiresAt > this.#now() && isSame(signature, this.#signature(expiresAt));
  }

  #signature(expiresAt: number): string {
    return createHmac('sha256', this.#token).update(`console session until ${expiresAt}`).digest('base64url');
  }
}

function isSame(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(wanted)];
  return a.length === b.length && timingSafeEqual(a, b);
}
