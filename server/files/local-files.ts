import { hash, randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { type FileHandle, mkdir, open, opendir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { crashPoint } from '../crash-point.ts';
import { paced } from '../db/in-turns.ts';
import { cannotWrite } from '../http/api-error.ts';
import type { ByteRange } from '../http/byte-range.ts';
import type { Vault } from '../secrets/vault.ts';
import type { DiskSpace } from './disk-space.ts';
import type { FileName, FileStore } from './file-store.ts';
import { type KeyOf, type OpenedFile, openFile, seal } from './sealed-file.ts';

/**
 * Files on this machine's disk, encrypted: prompts lie in pictures, and answers are texts. One has its name only once it
 * is whole and on disk.
 */
export class LocalFiles implements FileStore {
  readonly #root: string;
  readonly #space: DiskSpace;
  readonly #vault: Pick<Vault, 'fileKey'>;

  constructor(root: string, space: DiskSpace, vault: Pick<Vault, 'fileKey'>) {
    this.#root = root;
    this.#space = space;
    this.#vault = vault;
    mkdirSync(root, { recursive: true, mode: 0o700 });
  }

  async save(name: FileName, bytes: Uint8Array): Promise<void> {
    this.#space.demand(bytes.length);
    const { folder, file } = this.#locate(name);
    const unfinished = join(folder, `${randomUUID()}.part`);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const handle = await open(unfinished, 'wx', 0o600);
      try {
        for (const piece of seal(this.#keyOf(name), aboutOf(name), bytes)) await handle.write(piece);
        await handle.sync();
      } finally {
        await handle.close();
      }
      crashPoint('file.written');
      await rename(unfinished, join(folder, file));
      crashPoint('file.named');
    } catch (cause) {
      await rm(unfinished, { force: true }).catch(() => undefined);
      // Whatever the code says: a read-only disk, for one, says that a folder is not there.
      throw cannotWrite(cause);
    }
  }

  read(name: FileName, range?: ByteRange): Readable {
    return Readable.from(this.#pieces(name, range), { objectMode: false });
  }

  async readAll(name: FileName): Promise<Uint8Array> {
    const pieces: Buffer[] = [];
    for await (const piece of this.#pieces(name)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  async bytesOf(name: FileName): Promise<number | null> {
    try {
      return await this.#with(name, async ({ bytes }) => bytes);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw error;
    }
  }

  /**
   * Seals files that were written before files were sealed. What is gone meanwhile is passed over. Resolves to how many
   * there were.
   */
  async sealOld(names: Iterable<FileName>, signal: AbortSignal): Promise<number> {
    let sealed = 0;
    for await (const name of paced(names)) {
      if (signal.aborted) break;
      const isOld = await this.#with(name, async ({ isSealed }) => !isSealed).catch(() => false);
      if (!isOld) continue;
      await this.save(name, await this.readAll(name));
      sealed += 1;
    }
    return sealed;
  }

  async remove(name: FileName): Promise<void> {
    await rm(this.#path(name), { force: true });
  }

  async removeGroup(tenant: string, group: string): Promise<void> {
    await rm(this.#folder(tenant, group), { recursive: true, force: true });
  }

  async tidy(tenant: string, group: string, known: ReadonlySet<string>): Promise<void> {
    const folder = this.#folder(tenant, group);
    for (const name of await readdir(folder).catch(() => [])) {
      if (!known.has(name)) await rm(join(folder, name), { force: true });
    }
  }

  async sweepOrphans(isKnown: (id: string) => boolean, before: number): Promise<number> {
    let removed = 0;
    const entries = await opendir(this.#root, { recursive: true });
    for await (const entry of entries) {
      if (!entry.isFile() || isKnown(entry.name)) continue;
      const path = join(entry.parentPath, entry.name);
      const written = await stat(path).catch(() => null);
      if (!written || written.mtimeMs >= before) continue;
      await rm(path, { force: true });
      removed += 1;
    }
    return removed;
  }

  /** Its folder and its name in there. The only place where a path is made. */
  #locate({ tenant, group, id }: FileName): { folder: string; file: string } {
    if (!/^[a-z]{3}_[0-9a-f]{32}$/.test(id)) throw new Error('That is no name of a file of ours.');
    return { folder: this.#folder(tenant, group), file: id };
  }

  async *#pieces(name: FileName, range?: ByteRange): AsyncGenerator<Buffer> {
    const file = await open(this.#path(name));
    try {
      const opened = await this.#opened(file, name);
      yield* opened.read(range?.start ?? 0, range?.end ?? opened.bytes);
    } finally {
      await file.close();
    }
  }

  async #with<Result>(name: FileName, look: (file: OpenedFile) => Promise<Result>): Promise<Result> {
    const file = await open(this.#path(name));
    try {
      return await look(await this.#opened(file, name));
    } finally {
      await file.close();
    }
  }

  async #opened(file: FileHandle, name: FileName): Promise<OpenedFile> {
    const { size } = await file.stat();
    const readAt = async (place: number, bytes: number): Promise<Buffer> => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, place);
      return buffer.subarray(0, bytesRead);
    };
    return openFile(readAt, size, this.#keyOf(name), aboutOf(name));
  }

  #keyOf({ tenant }: FileName): KeyOf {
    return (salt) => this.#vault.fileKey(tenant, salt);
  }

  #path(name: FileName): string {
    const { folder, file } = this.#locate(name);
    return join(folder, file);
  }

  #folder(tenant: string, group: string): string {
    return join(this.#root, hash('sha256', tenant).slice(0, 32), hash('sha256', group).slice(0, 32));
  }
}

/** What a file is sealed as: it does not open in the place of another. */
function aboutOf({ group, id }: FileName): string {
  return `${group}/${id}`;
}
