import { hash, randomBytes } from 'node:crypto';

const prefix = 'kh_';

/** A new key: 192 random bits behind a prefix that tells what it is for. Shown once; only its hash is kept. */
export function newApiKey(): string {
  return prefix + randomBytes(24).toString('base64url');
}

/** SHA-256 is enough for a key that is random itself; it is looked up by this, so nothing compares prefixes. */
export function hashApiKey(key: string): string {
  return hash('sha256', key, 'hex');
}

/** A name for a key in logs and usage that does not help anyone to use it. */
export function keyId(keyHash: string): string {
  return keyHash.slice(0, 12);
}
