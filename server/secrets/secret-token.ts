import { hash, randomBytes } from 'node:crypto';

/** 256 random bits to hand to somebody once; only the hash is kept. */
export function secretToken(): string {
  return randomBytes(32).toString('base64url');
}

/** SHA-256 is enough for what is random itself. */
export function hashToken(token: string): string {
  return hash('sha256', token, 'hex');
}
