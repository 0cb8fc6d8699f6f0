import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';

const secretBytes = 32;

/**
 * A secret of this installation: made at its first use, 256 random bits in hexadecimal, readable by the owner of the
 * folder alone. There is no default; a file that holds less refuses the start.
 */
export function installSecret(file: string): Buffer {
  if (!existsSync(file)) {
    // On disk before anything is made with it: what it encrypts could not be read again otherwise.
    const handle = openSync(file, 'wx', 0o600);
    writeSync(handle, `${randomBytes(secretBytes).toString('hex')}\n`);
    fsyncSync(handle);
    closeSync(handle);
  }
  chmodSync(file, 0o600);
  const secret = Buffer.from(readFileSync(file, 'utf8').trim(), 'hex');
  if (secret.length < secretBytes)
    throw new Error(
      `${file} holds no secret of 64 hexadecimal digits; restore it, or delete it to start anew.`,
    );
  return secret;
}
