import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import pLimit from 'p-limit';
import { limits } from '../contract/limits.ts';
import type { DiskSpace } from '../files/disk-space.ts';
import { ApiError } from '../http/api-error.ts';
import { firstHop, type Hop } from './address.ts';
import { reasonOf } from './failure.ts';
import { demandModel, NotAModel } from './model-file.ts';
import { PartFile, partsIn } from './part-file.ts';
import { plain, transfer } from './transfer.ts';

/** GGUF files are for the built-in engine, checkpoints for the image engine. */
export type DownloadKind = 'gguf' | 'checkpoint';

export interface Download {
  readonly id: string;
  readonly kind: DownloadKind;
  readonly url: string;
  readonly name: string;
  readonly state: 'waiting' | 'loading' | 'checking' | 'done' | 'failed' | 'canceled';
  readonly bytes: number;
  /** Null where the server does not say. */
  readonly totalBytes: number | null;
  readonly error: string | null;
  readonly sha256: string | null;
  /** Wall-clock milliseconds. */
  readonly startedAt: number;
}

interface Entry {
  view: Download;
  readonly folder: string;
  /** The whole address; null where an earlier run of the appliance had it, and a part of it was not kept. */
  readonly from: Hop | null;
  abort: AbortController;
}

export interface DownloadParts {
  /** Where files of a kind go; null where there is no such place. */
  readonly folderOf: (kind: DownloadKind) => string | null;
  readonly spaceOf: (folder: string) => Pick<DiskSpace, 'demand'>;
  /** A file is there. */
  readonly onDone: (kind: DownloadKind) => void;
}

const endings = { gguf: /\.gguf$/i, checkpoint: /\.(safetensors|ckpt)$/i } as const;

/**
 * Model files, downloaded for the operator: resumed where they broke off, compared with their checksum, and in the
 * models folder only when they are whole and are models. What an earlier run of the appliance left is listed as failed.
 */
export class Downloads {
  readonly #parts: DownloadParts;
  readonly #all = new Map<string, Entry>();
  readonly #turns = pLimit(limits.download.atOnce);

  constructor(parts: DownloadParts) {
    this.#parts = parts;
    for (const kind of ['gguf', 'checkpoint'] as const) this.#recover(kind);
  }

  /** Newest first. */
  list(): Download[] {
    return [...this.#all.values()].map(({ view }) => view).toReversed();
  }

  /** Begins one. Throws an ApiError for what cannot be. */
  start(wanted: {
    kind: DownloadKind;
    url: string;
    name?: string | undefined;
    sha256?: string | undefined;
  }): Download {
    const { kind } = wanted;
    const from = firstHop(wanted.url);
    const folder = this.#parts.folderOf(kind);
    if (folder === null) {
      const message =
        'There is no folder for checkpoints: set webui.folder or webui.checkpointsFolder first.';
      throw new ApiError('conflict', message);
    }
    const name = nameOf(wanted.name ?? lastPart(from.url), kind);
    if (existsSync(join(folder, name)))
      throw new ApiError('conflict', `"${name}" is there already.`, { param: 'name' });
    // Of the same file there is one entry: the latest.
    for (const [id, { view }] of this.#all) {
      if (view.kind !== kind || view.name.toLowerCase() !== name.toLowerCase()) continue;
      if (isUnderWay(view))
        throw new ApiError('conflict', `"${name}" is being downloaded already.`, { param: 'name' });
      this.#all.delete(id);
    }
    const view: Download = {
      id: randomUUID(),
      kind,
      url: plain(from.url),
      name,
      state: 'waiting',
      bytes: 0,
      totalBytes: null,
      error: null,
      sha256: wanted.sha256?.toLowerCase() ?? null,
      startedAt: Date.now(),
    };
    const entry: Entry = { view, folder, from, abort: new AbortController() };
    this.#all.set(view.id, entry);
    this.#forgetOld();
    void this.#turns(() => this.#run(entry, from));
    return view;
  }

  /** Gives one up; what came of it is deleted. False when there is no such download under way. */
  cancel(id: string): boolean {
    const entry = this.#all.get(id);
    if (!entry || !isUnderWay(entry.view)) return false;
    entry.abort.abort();
    return true;
  }

  /** Begins one again that failed or was given up: it goes on where it was. Throws an ApiError. */
  retry(id: string): Download {
    const entry = this.#ended(id);
    const { from, view } = entry;
    if (view.state === 'done') throw new ApiError('conflict', `"${view.name}" is there already.`);
    if (!from)
      throw new ApiError(
        'conflict',
        'The appliance keeps addresses only up to the "?". Start this download again with the whole address: it goes on where it was.',
      );
    entry.abort = new AbortController();
    entry.view = { ...view, state: 'waiting', error: null, startedAt: Date.now() };
    void this.#turns(() => this.#run(entry, from));
    return entry.view;
  }

  /** Takes one that has ended off the list, with what came of it; a file that is whole stays. Throws an ApiError. */
  async remove(id: string): Promise<void> {
    const { view, folder } = this.#ended(id);
    this.#all.delete(id);
    if (view.state !== 'done') await new PartFile(folder, view.name).remove();
  }

  /** What came stays, to go on with. */
  close(): void {
    for (const { abort } of this.#all.values()) abort.abort('closing');
  }

  #ended(id: string): Entry {
    const entry = this.#all.get(id);
    if (!entry) throw new ApiError('not_found', 'There is no such download.');
    if (isUnderWay(entry.view))
      throw new ApiError('conflict', `"${entry.view.name}" is being downloaded. Give it up first.`);
    return entry;
  }

  async #run(entry: Entry, from: Hop): Promise<void> {
    const { folder } = entry;
    const { kind, name, sha256: wanted } = entry.view;
    const { signal } = entry.abort;
    const part = new PartFile(folder, name);
    const path = join(folder, name);
    const set = (change: Partial<Download>): void => void (entry.view = { ...entry.view, ...change });
    try {
      signal.throwIfAborted();
      mkdirSync(folder, { recursive: true });
      set({ state: 'loading' });
      const space = this.#parts.spaceOf(folder);
      await transfer({
        from,
        part,
        sha256: wanted,
        signal,
        demandRoom: (bytes) => this.#parts.spaceOf(folder).demand(bytes + this.#bytesToCome(entry)),
        takeRoom: (bytes) => space.demand(bytes),
        progress: (bytes, totalBytes) => set({ bytes, totalBytes }),
      });
      set({ state: 'checking' });
      const sha256 = await digestOf(part.path, signal);
      try {
        if (wanted !== null && sha256 !== wanted)
          throw new NotAModel(`The file is not the one that was meant: its SHA-256 is ${sha256}.`);
        await demandModel(part.path, name, kind);
      } catch (error) {
        // To go on with it would come to the same.
        await part.remove();
        set({ bytes: 0 });
        throw error;
      }
      if (existsSync(path)) throw new ApiError('conflict', `Meanwhile another "${name}" came to be there.`);
      await part.finish(path);
      set({ state: 'done', sha256 });
      this.#parts.onDone(kind);
    } catch (error) {
      if (signal.aborted && signal.reason !== 'closing') {
        await part.remove();
        set({ state: 'canceled', bytes: 0 });
      } else set({ state: 'failed', error: reasonOf(error, from.url) });
    }
  }

  /** What the other downloads of a folder have yet to write: room that is given away already. */
  #bytesToCome(but: Entry): number {
    return [...this.#all.values()]
      .filter((one) => one !== but && one.folder === but.folder && one.view.state === 'loading')
      .reduce((sum, { view }) => sum + Math.max(0, (view.totalBytes ?? 0) - view.bytes), 0);
  }

  /** Lists what an earlier run of the appliance did not finish. */
  #recover(kind: DownloadKind): void {
    const folder = this.#parts.folderOf(kind);
    if (folder === null) return;
    for (const { name, record } of partsIn(folder)) {
      const url = URL.parse(record.url);
      if (!url || !endings[kind].test(name)) continue;
      const view: Download = {
        id: randomUUID(),
        kind,
        url: record.url,
        name,
        state: 'failed',
        bytes: 0,
        totalBytes: record.totalBytes,
        error: 'The appliance stopped during the download. Try again: the download goes on where it was.',
        sha256: record.sha256,
        startedAt: Date.now(),
      };
      const from = record.hasQuery ? null : { url, publicOnly: false };
      this.#all.set(view.id, { view, folder, from, abort: new AbortController() });
    }
  }

  #forgetOld(): void {
    for (const [id, { view }] of this.#all) {
      if (this.#all.size <= limits.download.kept) return;
      if (!isUnderWay(view)) this.#all.delete(id);
    }
  }
}

function isUnderWay({ state }: Download): boolean {
  return state === 'waiting' || state === 'loading' || state === 'checking';
}

function lastPart({ pathname }: URL): string {
  try {
    return decodeURIComponent(basename(pathname));
  } catch {
    return '';
  }
}

/** A plain file name with the ending of its kind (W5). */
function nameOf(name: string, kind: DownloadKind): string {
  const isPlain =
    /^[\p{L}\p{N}][\p{L}\p{N} ._()+-]{0,199}$/u.test(name) &&
    !name.includes('..') &&
    // What Windows takes for a device, whatever the ending is.
    !/^(con|prn|aux|nul|com\d|lpt\d)\./i.test(name);
  if (isPlain && endings[kind].test(name)) return name;
  const wanted = kind === 'gguf' ? '.gguf' : '.safetensors or .ckpt';
  throw new ApiError(
    'invalid_request',
    `"${name.slice(0, 100)}" is not a name for a file of that kind: letters, digits and ._()+- that end in ${wanted}.`,
    {
      param: 'name',
    },
  );
}

async function digestOf(file: string, signal: AbortSignal): Promise<string> {
  const digest = createHash('sha256');
  for await (const piece of createReadStream(file, { signal, highWaterMark: 1024 ** 2 }))
    digest.update(piece as Buffer);
  return digest.digest('hex');
}
