import { crc32 } from 'node:zlib';
import { newApiKey } from '../server/tenants/api-key.ts';

/** A well-formed key that is not `key` and begins as it does. */
export function keyLike(key: string): string {
  const text = key.slice(0, 20) + newApiKey().slice(20, 35);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(text));
  return text + checksum.toString('base64url');
}
