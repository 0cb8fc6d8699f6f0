import { readdirSync, readFileSync } from 'node:fs';
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { parseChecked } from '../config/checked.ts';

const partEnd = '.download';
const recordEnd = '.download.json';

const OrNull = <Schema extends Type.TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);

/** What is known of the file that a part is of. It is kept beside the part. */
const PartRecord = Type.Object(
  {
    /** Origin and path. The query is left out: it may hold a secret. */
    url: Type.String({ maxLength: 4_000 }),
    hasQuery: Type.Boolean(),
    /** The server's ETag, if it is a strong one. */
    etag: OrNull(Type.String({ maxLength: 1_000 })),
    lastModified: OrNull(Type.String({ maxLength: 100 })),
    totalBytes: OrNull(Type.Integer({ minimum: 0 })),
    /** The checksum that the operator gave. */
    sha256: OrNull(Type.String({ pattern: '^[0-9a-f]{64}$' })),
  },
  { additionalProperties: false },
);
export type PartRecord = Static<typeof PartRecord>;

/** A file that is being downloaded: its bytes so far, and beside them a record of the file that they are of. */
export class PartFile {
  readonly path: string;
  readonly #record: string;

  constructor(folder: string, name: string) {
    this.path = join(folder, name + partEnd);
    this.#record = join(folder, name + recordEnd);
  }

  /** The record and the bytes that are there; null where there are none, or where nothing says what they are of. */
  async read(): Promise<{ record: PartRecord; bytes: number } | null> {
    const bytes = await stat(this.path).then(
      ({ size }) => size,
      () => 0,
    );
    const record = readRecord(this.#record);
    return record && bytes > 0 ? { record, bytes } : null;
  }

  /** Begins anew: what was there goes first, so that no bytes ever lie beside the record of another file. */
  async begin(record: PartRecord): Promise<void> {
    await rm(this.path, { force: true });
    await writeFile(this.#record, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 });
  }

  /** Gives the whole file its name. */
  async finish(path: string): Promise<void> {
    await rename(this.path, path);
    await rm(this.#record, { force: true });
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
    await rm(this.#record, { force: true });
  }
}

/** The parts that lie in a folder, by the names that their files are to have. */
export function partsIn(folder: string): { name: string; record: PartRecord }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    // There is no folder before the first download.
    return [];
  }
  return names.flatMap((file) => {
    if (!file.endsWith(recordEnd)) return [];
    const record = readRecord(join(folder, file));
    return record ? [{ name: file.slice(0, -recordEnd.length), record }] : [];
  });
}

function readRecord(path: string): PartRecord | null {
  try {
    return parseChecked(PartRecord, readFileSync(path, 'utf8'), path);
  } catch {
    return null;
  }
}
