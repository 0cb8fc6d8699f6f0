import { createHmac, timingSafeEqual } from 'node:crypto';

/** What a link is good for: to fetch one object of one tenant. */
export interface LinkTarget {
  readonly tenant: string;
  readonly object: string;
}

/**
 * Links that expire: bound by an HMAC to method, tenant, object and expiry, so that any changed byte makes them worth
 * nothing (W4). Expiry goes by this machine's clock, to the millisecond.
 */
export class SignedLinks {
  readonly #secret: Buffer;

  constructor(secret: Buffer) {
    this.#secret = secret;
  }

  sign({ tenant, object }: LinkTarget, expiresAt: number): string {
    return createHmac('sha256', this.#secret)
      .update(JSON.stringify(['GET', tenant, object, expiresAt]))
      .digest('base64url');
  }

  /** Whether a link is as it was given out, and its time is not over. */
  isGood(target: LinkTarget, expires: string, signature: string): boolean {
    if (!/^[0-9]{1,15}$/.test(expires) || String(Number(expires)) !== expires) return false;
    const expected = Buffer.from(this.sign(target, Number(expires)));
    const given = Buffer.from(signature);
    const isGenuine = expected.length === given.length && timingSafeEqual(expected, given);
    return isGenuine && Number(expires) > Date.now();
  }
}
