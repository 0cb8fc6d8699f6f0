import { hash, randomUUID } from 'node:crypto';
import { createReadStream, mkdirSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Artefact } from './job-store.ts';

/**
 * Where results lie: a folder a job, under names we made ourselves. No path comes from a request or an engine (W5).
 * A file has its name only once it is whole and on disk.
 */
export class ArtefactFiles {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
    mkdirSync(root, { recursive: true, mode: 0o700 });
  }

  async save({ tenant, job, id }: Pick<Artefact, 'tenant' | 'job' | 'id'>, bytes: Uint8Array): Promise<void> {
    const folder = this.#of(tenant, job);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const unfinished = join(folder, `${randomUUID()}.part`);
    const file = await open(unfinished, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(unfinished, join(folder, id));
  }

  read({ tenant, job, id }: Artefact): Readable {
    return createReadStream(join(this.#of(tenant, job), id));
  }

  /** Its folder and its name in there. */
  locate({ tenant, job, id }: Artefact): { folder: string; name: string } {
    return { folder: this.#of(tenant, job), name: id };
  }

  /** Removes files of a job that belong to no result: a crash left them between writing and saying so. */
  async tidy(tenant: string, job: string, known: ReadonlySet<string>): Promise<void> {
    const folder = this.#of(tenant, job);
    for (const name of await readdir(folder).catch(() => [])) {
      if (!known.has(name)) await rm(join(folder, name), { force: true });
    }
  }

  async remove(tenant: string, job: string): Promise<void> {
    await rm(this.#of(tenant, job), { recursive: true, force: true });
  }

  #of(tenant: string, job: string): string {
    return join(this.root, hash('sha256', tenant).slice(0, 32), hash('sha256', job).slice(0, 32));
  }
}
