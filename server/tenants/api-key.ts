import { hash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

const prefix = 'kh_';
const randomCharacters = 32;

/**
 * A new key: 192 random bits and a checksum behind a prefix that tells what it is for, so that a mistyped key is told
 * from a wrong one without a look at the database, and leaked ones can be searched for. Only its hash is kept.
 */
export function newApiKey(): string {
  const random = prefix + randomBytes(24).toString('base64url');
  return random + checksum(random);
}

/** Whether a text can be one of the keys we made. */
export function isApiKey(text: string): boolean {
  const cut = prefix.length + randomCharacters;
  return (
    text.startsWith(prefix) && text.length === cut + 6 && checksum(text.slice(0, cut)) === text.slice(cut)
  );
}

function checksum(text: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(text));
  return bytes.toString('base64url');
}

/** SHA-256 is enough for a key that is random itself; it is looked up by this, so nothing compares prefixes. */
export function hashApiKey(key: string): string {
  return hash('sha256', key, 'hex');
}

/** A name for a key in logs and usage that does not help anyone to use it. */
export function keyId(keyHash: string): string {
  return keyHash.slice(0, 12);
}
