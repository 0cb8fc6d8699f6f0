import { readFileSync } from 'node:fs';

/**
 * A text file that a person may have written, as text: in UTF-8, or in UTF-16 as some editors and PowerShell save it,
 * with or without a byte order mark, which is left out. Throws what reading a file throws.
 */
export function readTextFile(path: string): string {
  const bytes = readFileSync(path);
  const encoding =
    bytes[0] === 0xff && bytes[1] === 0xfe
      ? 'utf-16le'
      : bytes[0] === 0xfe && bytes[1] === 0xff
        ? 'utf-16be'
        : 'utf-8';
  return new TextDecoder(encoding).decode(bytes);
}
