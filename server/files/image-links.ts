import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '../contract/limits.ts';
import { cannotWrite } from '../http/api-error.ts';
import type { Vault } from '../secrets/vault.ts';
import type { Tenant } from '../tenants/tenant.ts';
import type { StorageRoom } from './storage-room.ts';
import type { SignedLinks } from './signed-links.ts';

export interface ImageLink {
  /** Path and query; the caller puts the address before it. */
  readonly path: string;
  readonly expiresAt: number;
}

/** By the format of the picture. */
const contentTypes = { png: 'image/png', jpeg: 'image/jpeg', webp: 'image/webp' } as const;
export type ImageFormat = keyof typeof contentTypes;

/** The name of a file: its owner before that of its link. */
const storedPattern = /^[0-9a-f]{16}\.[0-9a-f]{32}\.(png|jpeg|webp)$/;
const filePattern = /^([0-9a-f]{32})\.(png|jpeg|webp)$/;

/**
 * Pictures handed out as links that expire, encrypted on the disk. A link is good for one object of one tenant, until its
 * hour is over. What they take counts against the tenant's quota.
 */
export class ImageLinks {
  readonly #folder: string;
  readonly #links: SignedLinks;
  readonly #vault: Vault;
  /** What lies there of each owner, by the latest look and what was written since. */
  #bytes = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;

  constructor(dataFolder: string, links: SignedLinks, vault: Vault) {
    this.#folder = join(dataFolder, 'images');
    this.#links = links;
    this.#vault = vault;
  }

  /** What the pictures of a tenant take on the disk. */
  bytesOf(tenant: string): number {
    return this.#bytes.get(ownerOf(tenant)) ?? 0;
  }

  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await this.sweep();
    this.#timer = setInterval(() => void this.sweep(), 60_000).unref();
  }

  close(): void {
    if (this.#timer) clearInterval(this.#timer);
  }

  /** Throws an ApiError, and keeps nothing, where the tenant or the disk has no room. */
  async save(
    tenant: Tenant,
    picture: Uint8Array,
    format: ImageFormat,
    room: Pick<StorageRoom, 'reserve'>,
  ): Promise<ImageLink> {
    const id = randomBytes(16).toString('hex');
    const expiresAt = Date.now() + limits.imageLink.lifetimeMs;
    const owner = ownerOf(tenant.id);
    const sealed = this.#vault.seal(owner, picture);
    const giveBack = room.reserve(tenant, sealed.length);
    try {
      await writeFile(join(this.#folder, `${owner}.${id}.${format}`), sealed, { mode: 0o600 });
      this.#bytes.set(owner, (this.#bytes.get(owner) ?? 0) + sealed.length);
    } catch (cause) {
      throw cannotWrite(cause);
    } finally {
      giveBack();
    }
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
    const sealed = await readFile(join(this.#folder, `${owner}.${file}`)).catch(() => null);
    const contentType = contentTypes[format as ImageFormat];
    return sealed && { bytes: this.#vault.open(owner, sealed), contentType };
  }

  /** Removes what has expired, and what an earlier version left. */
  async sweep(): Promise<void> {
    const bytes = new Map<string, number>();
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const path = join(this.#folder, name);
      const info = await stat(path).catch(() => null);
      const [owner = ''] = name.split('.');
      const isGood =
        storedPattern.test(name) && (info?.mtimeMs ?? 0) + limits.imageLink.lifetimeMs >= Date.now();
      if (isGood) bytes.set(owner, (bytes.get(owner) ?? 0) + (info?.size ?? 0));
      else await rm(path, { force: true });
    }
    this.#bytes = bytes;
  }
}

/** The tenant in a link, without its name. */
function ownerOf(tenant: string): string {
  return createHash('sha256').update(tenant).digest('hex').slice(0, 16);
}
