import { crc32 } from 'node:zlib';

/** Where the first chunk, the header, ends: a signature of 8 bytes, and a chunk of 13 with its frame of 12. */
const headerEnd = 33;

/** A PNG with a text in it, as the real one writes what a picture was made with. */
export function withText(png: Buffer, keyword: string, text: string): Buffer {
  const body = Buffer.from(`iTXt${keyword}\0\0\0\0\0${text}`);
  const chunk = Buffer.alloc(body.length + 8);
  chunk.writeUInt32BE(body.length - 4);
  body.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(body), chunk.length - 4);
  return Buffer.concat([png.subarray(0, headerEnd), chunk, png.subarray(headerEnd)]);
}
