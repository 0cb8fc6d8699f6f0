import type { Readable } from 'node:stream';
import type { ByteRange } from '../http/byte-range.ts';

/** A stored file: whose, of which job (or the word for uploads), and its name there, which we made. */
export interface FileName {
  readonly tenant: string;
  readonly group: string;
  readonly id: string;
}

/** Where files of tenants lie. No path comes from a request or an engine (W5): names are ours, and checked. */
export interface FileStore {
  /** Resolves once it is whole and on disk. Rejects with an ApiError, and leaves nothing behind, where that cannot be. */
  save(name: FileName, bytes: Uint8Array): Promise<void>;
  /** All of it, or a part. */
  read(name: FileName, range?: ByteRange): Readable;
  readAll(name: FileName): Promise<Uint8Array>;
  /** How many bytes it has; null where there is none. */
  bytesOf(name: FileName): Promise<number | null>;
  remove(name: FileName): Promise<void>;
  removeGroup(tenant: string, group: string): Promise<void>;
  /** Removes every file of a group but the named ones: a crash left them between writing and saying so. */
  tidy(tenant: string, group: string, known: ReadonlySet<string>): Promise<void>;
  /** Removes what was written before a moment and belongs to nothing any more. Resolves to how many there were. */
  sweepOrphans(isKnown: (id: string) => boolean, before: number): Promise<number>;
}
