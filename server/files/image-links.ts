import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '../contract/limits.ts';
import type { SignedLinks } from './signed-links.ts';

export interface ImageLink {
  /** Path and query; the caller puts the address before it. */
  readonly path: string;
  readonly expiresAt: number;
}

/** By the format of the picture. */
const contentTypes = { png: 'image/png', jpeg: 'image/jpeg', webp: 'image/webp' } as const;
export type ImageFormat = keyof typeof contentTypes;

const filePattern = /^([0-9a-f]{32})\.(png|jpeg|webp)$/;

/** Pictures handed out as links that expire. A link is good for one object of one tenant, until its hour is over. */
export class ImageLinks {
  readonly #folder: string;
  readonly #links: SignedLinks;
  #timer: NodeJS.Timeout | null = null;

  constructor(dataFolder: string, links: SignedLinks) {
    this.#folder = join(dataFolder, 'images');
    this.#links = links;
  }

  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await this.sweep();
    this.#timer = setInterval(() => void this.sweep(), 60_000).unref();
  }

  close(): void {
    if (this.#timer) clearInterval(this.#timer);
  }

  async save(tenant: string, picture: Uint8Array, format: ImageFormat = 'png'): Promise<ImageLink> {
    const id = randomBytes(16).toString('hex');
    const expiresAt = Date.now() + limits.imageLink.lifetimeMs;
    await writeFile(join(this.#folder, `${id}.${format}`), picture, { mode: 0o600 });
    const owner = ownerOf(tenant);
    const signature = this.#links.sign({ tenant: owner, object: id }, expiresAt);
    const path = `/images/${owner}/${id}.${format}?expires=${expiresAt}&signature=${signature}`;
    return { path, expiresAt };
  }

  /** The picture behind a link, by the name of its file; null when anything about the link is not as it was given out. */
  async open(
    owner: string,
    file: string,
    expires: string,
    signature: string,
  ): Promise<{ bytes: Buffer; contentType: string } | null> {
    const [, id, format] = filePattern.exec(file) ?? [];
    if (id === undefined || !this.#links.isGood({ tenant: owner, object: id }, expires, signature))
      return null;
    const bytes = await readFile(join(this.#folder, file)).catch(() => null);
    return bytes && { bytes, contentType: contentTypes[format as ImageFormat] };
  }

  /** Removes what has expired, and the oldest when there is too much. */
  async sweep(): Promise<void> {
    const names = await readdir(this.#folder).catch(() => []);
    const files = await Promise.all(
      names.map(async (name) => {
        const path = join(this.#folder, name);
        const info = await stat(path).catch(() => null);
        return { path, bytes: info?.size ?? 0, at: info?.mtimeMs ?? 0 };
      }),
    );
    let held = 0;
    for (const { path, bytes, at } of files.toSorted((a, b) => b.at - a.at)) {
      held += bytes;
      const expired = at + limits.imageLink.lifetimeMs < Date.now();
      if (expired || held > limits.imageLink.storeBytes) await rm(path, { force: true });
    }
  }
}

/** The tenant in a link, without its name. */
function ownerOf(tenant: string): string {
  return createHash('sha256').update(tenant).digest('hex').slice(0, 16);
}
