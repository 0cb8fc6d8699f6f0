import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/*
 * The format of sealed files: a head (magic, salt), then pieces of 64 KiB, each AES-256-GCM under a key of its own file.
 * The nonce of a piece is its place and whether it is the last, as in the STREAM construction
 * (https://eprint.iacr.org/2015/189): pieces can be read alone, and none can be left out, moved or cut off unseen.
 */

const magic = Buffer.from('KHSEAL1\n');
const saltBytes = 16;
const pieceBytes = 64 * 1024;
const tagBytes = 16;
const nonceBytes = 12;

export const headBytes = magic.length + saltBytes;

/** Makes the key of a file from its salt. */
export type KeyOf = (salt: Uint8Array) => Uint8Array;

/** The bytes of a sealed file, a piece at a time. `about` names the file: under another name it does not open. */
export function* seal(keyOf: KeyOf, about: string, bytes: Uint8Array): Generator<Buffer> {
  const salt = randomBytes(saltBytes);
  const key = keyOf(salt);
  yield Buffer.concat([magic, salt]);
  const pieces = Math.max(1, Math.ceil(bytes.length / pieceBytes));
  for (let index = 0; index < pieces; index += 1) {
    const cipher = createCipheriv('aes-256-gcm', key, nonceOf(index, index === pieces - 1));
    cipher.setAAD(Buffer.from(about));
    const piece = bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes);
    yield Buffer.concat([cipher.update(piece), cipher.final(), cipher.getAuthTag()]);
  }
}

/** Reads bytes of a file from a place on, at most so many. */
export type ReadAt = (place: number, bytes: number) => Promise<Buffer>;

/** A file that may be sealed, opened: how many bytes are in it, and any part of them. */
export interface OpenedFile {
  readonly isSealed: boolean;
  readonly bytes: number;
  /** From `start` to before `end`. Rejects where the file is not what was sealed. */
  read(start: number, end: number): AsyncGenerator<Buffer>;
}

/** Opens a file of so many bytes. One without the head was written before files were sealed, and is read as it is. */
export async function openFile(
  readAt: ReadAt,
  fileBytes: number,
  keyOf: KeyOf,
  about: string,
): Promise<OpenedFile> {
  const head = await readAt(0, headBytes);
  if (head.length < headBytes || !head.subarray(0, magic.length).equals(magic))
    return { isSealed: false, bytes: fileBytes, read: (start, end) => plainPieces(readAt, start, end) };
  const key = keyOf(head.subarray(magic.length));
  const pieces = Math.max(1, Math.ceil((fileBytes - headBytes) / (pieceBytes + tagBytes)));
  const bytes = Math.max(0, fileBytes - headBytes - pieces * tagBytes);
  return {
    isSealed: true,
    bytes,
    async *read(start, end) {
      for (let index = Math.floor(start / pieceBytes); index < pieces; index += 1) {
        const from = index * pieceBytes;
        if (from >= end && index > 0) return;
        const sealed = await readAt(headBytes + index * (pieceBytes + tagBytes), pieceBytes + tagBytes);
        const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(index, index === pieces - 1), {
          authTagLength: tagBytes,
        });
        decipher.setAAD(Buffer.from(about));
        decipher.setAuthTag(sealed.subarray(-tagBytes));
        const piece = Buffer.concat([decipher.update(sealed.subarray(0, -tagBytes)), decipher.final()]);
        const part = piece.subarray(Math.max(0, start - from), Math.max(0, end - from));
        if (part.length > 0) yield part;
      }
    },
  };
}

async function* plainPieces(readAt: ReadAt, start: number, end: number): AsyncGenerator<Buffer> {
  for (let place = start; place < end; place += pieceBytes) {
    const piece = await readAt(place, Math.min(pieceBytes, end - place));
    if (piece.length === 0) return;
    yield piece;
  }
}

function nonceOf(index: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(nonceBytes);
  nonce.writeUInt32BE(index, nonceBytes - 5);
  nonce[nonceBytes - 1] = isLast ? 1 : 0;
  return nonce;
}
