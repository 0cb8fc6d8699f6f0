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

const idPattern = /^[0-9a-f]{32}$/;

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

  async save(tenant: string, png: Uint8Array): Promise<ImageLink> {
    const id = randomBytes(16).toString('hex');
    const expiresAt = Date.now() + limits.imageLink.lifetimeMs;
    await writeFile(join(this.#folder, `${id}.png`), png, { mode: 0o600 });
    const owner = ownerOf(tenant);
    const signature = this.#links.sign({ tenant: owner, object: id }, expiresAt);
    return { path: `/images/${owner}/${id}.png?expires=${expiresAt}&signature=${signature}`, expiresAt };
  }

  /** The picture behind a link; null when anything about the link is not as it was given out. */
  async open(owner: string, id: string, expires: string, signature: string): Promise<Buffer | null> {
    const target = { tenant: owner, object: id };
    if (!idPattern.test(id) || !this.#links.isGood(target, expires, signature)) return null;
    return readFile(join(this.#folder, `${id}.png`)).catch(() => null);
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
