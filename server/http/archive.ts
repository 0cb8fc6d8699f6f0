import type { Readable } from 'node:stream';
import { ZipFile } from 'yazl';

export interface ArchiveParts {
  readonly json: (name: string, value: unknown) => void;
  /** `open` is called when its turn comes. What is packed already is stored as it is. */
  readonly file: (
    name: string,
    open: () => Readable,
    about?: { mtime?: Date; isPacked?: boolean; sizeBytes?: number },
  ) => void;
}

/**
 * A ZIP archive as it is made. A file that cannot be read breaks off the archive: yazl passes on neither its own errors
 * nor those of what it reads, and an error that nobody hears would end the appliance.
 */
export function archive(fill: (parts: ArchiveParts) => void): Readable {
  const zip = new ZipFile();
  const stream = zip.outputStream as Readable;
  const breakOff = (error: Error): void => void stream.destroy(error);
  zip.on('error', breakOff);
  // It may break off before it is being sent.
  stream.on('error', () => undefined);
  fill({
    json: (name, value) => zip.addBuffer(Buffer.from(JSON.stringify(value, null, 2)), name),
    file: (name, open, { mtime, isPacked = false, sizeBytes } = {}) =>
      zip.addReadStreamLazy(
        name,
        { compress: !isPacked, ...(mtime && { mtime }), ...(sizeBytes !== undefined && { size: sizeBytes }) },
        (take) => take(null, open().on('error', breakOff)),
      ),
  });
  zip.end();
  return stream;
}
