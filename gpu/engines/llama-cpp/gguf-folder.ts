import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError } from '../engine-error.ts';
import { readGgufHeader } from './gguf-header.ts';
import type { GgufFile } from './gguf-models.ts';

/** The GGUF files of a folder, and one level down. A head is read again only when its file has changed. */
export class GgufFolder {
  readonly #path: string;
  #known = new Map<string, { readonly mark: string; readonly file: GgufFile }>();

  constructor(path: string) {
    this.#path = path;
  }

  async files(): Promise<GgufFile[]> {
    const known = new Map<string, { readonly mark: string; readonly file: GgufFile }>();
    for (const path of await this.#paths()) {
      const facts = await stat(join(this.#path, path)).catch(() => null);
      // Gone since the folder was read.
      if (!facts?.isFile()) continue;
      const mark = `${facts.size} ${facts.mtimeMs} ${facts.ctimeMs}`;
      const before = this.#known.get(path);
      known.set(path, before?.mark === mark ? before : { mark, file: await this.#read(path, facts.size) });
    }
    this.#known = known;
    return [...known.values()].map(({ file }) => file);
  }

  async #read(path: string, bytes: number): Promise<GgufFile> {
    try {
      return { path, bytes, header: await readGgufHeader(join(this.#path, path)) };
    } catch (error) {
      return { path, bytes, header: { problem: EngineError.from(error, 'model_invalid').message } };
    }
  }

  async #paths(): Promise<string[]> {
    const entries = await readdir(this.#path, { withFileTypes: true }).catch(() => []);
    const found: string[] = [];
    for (const { name } of entries) {
      if (isGguf(name)) found.push(name);
      // Also what is a link to a folder.
      const inner = await readdir(join(this.#path, name)).catch(() => []);
      found.push(...inner.filter(isGguf).map((file) => `${name}/${file}`));
    }
    return found.toSorted();
  }
}

function isGguf(name: string): boolean {
  return name.toLowerCase().endsWith('.gguf');
}
