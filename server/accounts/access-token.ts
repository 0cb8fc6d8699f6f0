import { createHash } from 'node:crypto';
import { limits } from '../contract/limits.ts';
import type { Role } from '../tenants/tenant.ts';

export interface AccessClaims {
  readonly user: string;
  readonly tenant: string;
  readonly role: Role;
  readonly session: string;
}

/** Loaded when somebody signs in: an appliance without people does without it. */
const jose = () => import('jose');
const issuer = 'kilnhouse';
const audience = 'kilnhouse-tenant-api';
const algorithm = 'HS256';
const type = 'at+jwt';
/** Decoders forgive line ends and padding; we do not. */
const shape = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/**
 * Short-lived proof of a session, as a JWT: one algorithm, one key of this installation, and type, issuer, audience,
 * key id and expiry all demanded (A4). What it says of role and company is for the holder to read; what counts is
 * looked up with the session each time.
 */
export class AccessTokens {
  readonly #secret: Uint8Array;
  readonly #keyId: string;

  constructor(secret: Uint8Array) {
    if (secret.length < 32) throw new Error('The secret of access tokens has less than 256 bits.');
    this.#secret = secret;
    this.#keyId = createHash('sha256').update(secret).digest('hex').slice(0, 16);
  }

  async sign({ user, tenant, role, session }: AccessClaims): Promise<{ token: string; expiresAt: number }> {
    const expiresAt = Math.floor((Date.now() + limits.session.accessMs) / 1000);
    const { SignJWT } = await jose();
    const token = await new SignJWT({ company: tenant, role, sid: session })
      .setProtectedHeader({ alg: algorithm, typ: type, kid: this.#keyId })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(user)
      .setIssuedAt()
      .setExpirationTime(expiresAt)
      .sign(this.#secret);
    return { token, expiresAt: expiresAt * 1000 };
  }

  /** The session a token is for; null for anything but a token of ours that has not expired. */
  async sessionOf(token: string): Promise<string | null> {
    if (!shape.test(token)) return null;
    const { jwtVerify } = await jose();
    try {
      const { payload, protectedHeader } = await jwtVerify(token, this.#secret, {
        algorithms: [algorithm],
        typ: type,
        issuer,
        audience,
        requiredClaims: ['exp', 'iat', 'sub', 'sid'],
      });
      const { sid } = payload;
      return protectedHeader.kid === this.#keyId && typeof sid === 'string' ? sid : null;
    } catch {
      return null;
    }
  }

  /** Whether a text looks like a JWT at all, rather than like a key. */
  static isLike(text: string): boolean {
    return text.startsWith('eyJ') && text.length <= limits.session.tokenCharacters;
  }
}
