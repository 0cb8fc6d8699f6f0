import { hash, randomUUID } from 'node:crypto';
import { createReadStream, mkdirSync } from 'node:fs';
import { mkdir, open, opendir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { crashPoint } from '../crash-point.ts';
import { cannotWrite } from '../http/api-error.ts';
import type { DiskSpace } from './disk-space.ts';
import type { FileName, FileStore } from './file-store.ts';

/** Files on this machine's disk. One has its name only once it is whole and on disk. */
export class LocalFiles implements FileStore {
  readonly root: string;
  readonly #space: DiskSpace;

  constructor(root: string, space: DiskSpace) {
    this.root = root;
    this.#space = space;
    mkdirSync(root, { recursive: true, mode: 0o700 });
  }

  async save(name: FileName, bytes: Uint8Array): Promise<void> {
    this.#space.demand(bytes.length);
    const { folder, file } = this.locate(name);
    const unfinished = join(folder, `${randomUUID()}.part`);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const handle = await open(unfinished, 'wx', 0o600);
      try {
        await handle.writeFile(bytes);
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

  read(name: FileName): Readable {
    return createReadStream(this.#path(name));
  }

  readAll(name: FileName): Promise<Uint8Array> {
    return readFile(this.#path(name));
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
    const entries = await opendir(this.root, { recursive: true });
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
  locate({ tenant, group, id }: FileName): { folder: string; file: string } {
    if (!/^[a-z]{3}_[0-9a-f]{32}$/.test(id)) throw new Error('That is no name of a file of ours.');
    return { folder: this.#folder(tenant, group), file: id };
  }

  #path(name: FileName): string {
    const { folder, file } = this.locate(name);
    return join(folder, file);
  }

  #folder(tenant: string, group: string): string {
    return join(this.root, hash('sha256', tenant).slice(0, 32), hash('sha256', group).slice(0, 32));
  }
}
