import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync, mkdirSync } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pLimit from 'p-limit';
import { limits } from '../contract/limits.ts';
import type { DiskSpace } from '../files/disk-space.ts';
import { ApiError } from '../http/api-error.ts';

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

interface Running {
  view: Download;
  readonly abort: AbortController;
}

export interface DownloadParts {
  /** Where files of a kind go; null where there is no such place. */
  readonly folderOf: (kind: DownloadKind) => string | null;
  readonly spaceOf: (folder: string) => Pick<DiskSpace, 'demand'>;
  /** A file is there. */
  readonly onDone: (kind: DownloadKind) => void;
}

const endings = { gguf: /\.gguf$/i, checkpoint: /\.(safetensors|ckpt)$/i } as const;
const partEnd = '.download';

/**
 * Model files, fetched for the operator: resumed where they broke off, compared with their checksum, and in the models
 * folder only when they are whole.
 */
export class Downloads {
  readonly #parts: DownloadParts;
  readonly #all = new Map<string, Running>();
  readonly #turns = pLimit(limits.download.atOnce);

  constructor(parts: DownloadParts) {
    this.#parts = parts;
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
    const url = addressOf(wanted.url);
    const folder = this.#parts.folderOf(kind);
    if (folder === null) {
      const message =
        'There is no folder for checkpoints: set webui.folder or webui.checkpointsFolder first.';
      throw new ApiError('conflict', message);
    }
    const name = nameOf(wanted.name ?? lastPart(url), kind);
    if (existsSync(join(folder, name)))
      throw new ApiError('conflict', `"${name}" is there already.`, { param: 'name' });
    const isOnItsWay = [...this.#all.values()].some(
      ({ view }) => view.name === name && ['waiting', 'loading', 'checking'].includes(view.state),
    );
    if (isOnItsWay) throw new ApiError('conflict', `"${name}" is being fetched already.`, { param: 'name' });
    const view: Download = {
      id: randomUUID(),
      kind,
      url: `${url.origin}${url.pathname}`,
      name,
      state: 'waiting',
      bytes: 0,
      totalBytes: null,
      error: null,
      sha256: wanted.sha256?.toLowerCase() ?? null,
      startedAt: Date.now(),
    };
    const running: Running = { view, abort: new AbortController() };
    this.#all.set(view.id, running);
    this.#forgetOld();
    void this.#turns(() => this.#run(running, url, folder));
    return view;
  }

  /** Gives one up; what came of it goes. False when there is none such that is under way. */
  cancel(id: string): boolean {
    const running = this.#all.get(id);
    if (!running || ['done', 'failed', 'canceled'].includes(running.view.state)) return false;
    running.abort.abort();
    return true;
  }

  /** What came stays, to go on with. */
  close(): void {
    for (const { abort } of this.#all.values()) abort.abort('closing');
  }

  async #run(running: Running, url: URL, folder: string): Promise<void> {
    const { kind, name } = running.view;
    const { signal } = running.abort;
    const part = join(folder, name + partEnd);
    const set = (change: Partial<Download>): void => void (running.view = { ...running.view, ...change });
    try {
      signal.throwIfAborted();
      mkdirSync(folder, { recursive: true });
      set({ state: 'loading' });
      await this.#fetch(running, url, folder, part, set);
      set({ state: 'checking' });
      const wanted = running.view.sha256;
      const sha256 = await digestOf(part, signal);
      if (wanted !== null && sha256 !== wanted) {
        await rm(part, { force: true });
        throw new Error(`The file is not the one that was meant: its SHA-256 is ${sha256}.`);
      }
      await rename(part, join(folder, name));
      set({ state: 'done', sha256 });
      this.#parts.onDone(kind);
    } catch (error) {
      if (signal.aborted && signal.reason !== 'closing') {
        await rm(part, { force: true });
        set({ state: 'canceled' });
      } else set({ state: 'failed', error: error instanceof Error ? error.message : String(error) });
    }
  }

  async #fetch(
    running: Running,
    url: URL,
    folder: string,
    part: string,
    set: (change: Partial<Download>) => void,
  ): Promise<void> {
    const there = await stat(part).then(
      ({ size }) => size,
      () => 0,
    );
    const silence = new AbortController();
    let timer = setTimeout(() => undefined, 0);
    const heard = (): void => {
      clearTimeout(timer);
      timer = setTimeout(
        () =>
          silence.abort(new Error('The server has fallen silent. Start it again: it goes on where it was.')),
        limits.download.stallMs,
      );
    };
    try {
      heard();
      const response = await fetch(url, {
        signal: AbortSignal.any([running.abort.signal, silence.signal]),
        headers: { 'accept-encoding': 'identity', ...(there > 0 && { range: `bytes=${there}-` }) },
      });
      // All of it was there already.
      if (response.status === 416) return;
      if (!response.ok || !response.body)
        throw new Error(`The server answered ${response.status} ${response.statusText}.`);
      const isRest = response.status === 206;
      const length = Number(response.headers.get('content-length') ?? Number.NaN);
      const before = isRest ? there : 0;
      const totalBytes = Number.isFinite(length) ? before + length : null;
      if (/^text\/html\b/.test(response.headers.get('content-type') ?? ''))
        throw new Error('That is a web page, not a file. Take the address of the file itself.');
      this.#parts.spaceOf(folder).demand(totalBytes === null ? 0 : length);
      set({ bytes: before, totalBytes });
      let bytes = before;
      const count = async function* (pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
        for await (const piece of pieces) {
          heard();
          bytes += piece.length;
          set({ bytes });
          yield piece;
        }
      };
      await pipeline(
        Readable.fromWeb(response.body as never),
        count,
        createWriteStream(part, { flags: isRest ? 'a' : 'w' }),
      );
      if (totalBytes !== null && bytes !== totalBytes)
        throw new Error('It broke off. Start it again: it goes on where it was.');
    } finally {
      clearTimeout(timer);
    }
  }

  #forgetOld(): void {
    for (const [id, { view }] of this.#all) {
      if (this.#all.size <= limits.download.kept) return;
      if (['done', 'failed', 'canceled'].includes(view.state)) this.#all.delete(id);
    }
  }
}

function addressOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isHere = url !== null && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  if (!url || !(url.protocol === 'https:' || (url.protocol === 'http:' && isHere)) || url.username !== '') {
    const message = 'Give the https:// address of the file itself, without a name or password in it.';
    throw new ApiError('invalid_request', message, { param: 'url' });
  }
  return url;
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
  const isPlain = /^[\p{L}\p{N}][\p{L}\p{N} ._()+-]{0,199}$/u.test(name) && !name.includes('..');
  if (isPlain && endings[kind].test(name)) return name;
  const wanted = kind === 'gguf' ? '.gguf' : '.safetensors or .ckpt';
  throw new ApiError(
    'invalid_request',
    `"${name.slice(0, 100)}" is no file name of that kind; it has to end in ${wanted}.`,
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
