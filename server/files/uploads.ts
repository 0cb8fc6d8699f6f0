import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream, mkdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { limits } from '../contract/limits.ts';
import { crashPoint } from '../crash-point.ts';
import { newId } from '../db/ids.ts';
import { inTurns } from '../db/in-turns.ts';
import { ApiError } from '../http/api-error.ts';
import type { Pictures } from '../media/pictures.ts';
import type { Moderation } from '../moderation/moderation.ts';
import type { Identity } from '../tenants/tenant.ts';
import type { DiskSpace } from './disk-space.ts';
import type { FileStore } from './file-store.ts';
import type { StorageRoom } from './storage-room.ts';
import { type Upload, uploadGroup, type UploadStore } from './upload-store.ts';

export interface UploadParts {
  readonly store: UploadStore;
  readonly files: FileStore;
  readonly pictures: Pictures;
  readonly moderation: Moderation;
  readonly room: StorageRoom;
  readonly space: Pick<DiskSpace, 'demand'>;
  /** Where what arrives lies until it was looked at. */
  readonly incoming: string;
  readonly onError: (error: unknown) => void;
}

/** An upload, with the SHA-256 of what was sent. */
export interface Taken extends Upload {
  readonly digest: string;
}

/** Takes in pictures: streamed to the disk within bounds, looked at, made anew, and only then kept. */
export class Uploads {
  readonly #parts: UploadParts;

  constructor(parts: UploadParts) {
    this.#parts = parts;
    // What was on its way when the appliance ended belongs to nobody.
    rmSync(parts.incoming, { recursive: true, force: true });
    mkdirSync(parts.incoming, { recursive: true, mode: 0o700 });
  }

  /** Keeps what arrives, if it is a picture that may be kept. Rejects with an ApiError; then nothing is left of it. */
  async take(
    { tenant, person }: Identity,
    name: string,
    content: Readable & { truncated?: boolean },
  ): Promise<Taken> {
    const { store, files, pictures, moderation, room, space, incoming } = this.#parts;
    room.demand(tenant, 0);
    const arrived = join(incoming, randomUUID());
    let giveBack = (): void => undefined;
    try {
      const digest = createHash('sha256');
      const read = async function* (pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
        for await (const piece of pieces) {
          space.demand(piece.length);
          digest.update(piece);
          yield piece;
        }
      };
      await pipeline(content, read, createWriteStream(arrived, { flags: 'wx', mode: 0o600 }));
      if (content.truncated === true)
        throw new ApiError('payload_too_large', `A file may have ${limits.upload.bytes} bytes.`, {
          param: 'file',
        });
      crashPoint('upload.arrived');
      const picture = await pictures.work({ kind: 'upload', bytes: arrived }, 'file', tenant.id);
      await moderation.demand(tenant, picture.bytes, 'file');
      giveBack = room.reserve(tenant, picture.bytes.length);
      const { contentType, width, height } = picture;
      const now = Date.now();
      const upload: Upload = {
        id: newId('upload'),
        tenant: tenant.id,
        person,
        name: shownName(name),
        contentType,
        width,
        height,
        bytes: picture.bytes.length,
        createdAt: now,
        expiresAt: now + limits.upload.keptMs,
      };
      await files.save(uploadFile(upload), picture.bytes);
      crashPoint('upload.saved');
      try {
        store.add(upload);
      } catch (error) {
        await files.remove(uploadFile(upload));
        throw error;
      }
      return { ...upload, digest: digest.digest('hex') };
    } finally {
      giveBack();
      await rm(arrived, { force: true });
    }
  }

  read(upload: Upload): Promise<Uint8Array> {
    return this.#parts.files.readAll(uploadFile(upload));
  }

  /** Forgets one. Throws an ApiError while a job needs it. */
  remove(upload: Upload): void {
    if (this.#parts.store.isInUse(upload.id))
      throw new ApiError('conflict', 'A job that has not ended needs this upload. Cancel it first.');
    this.#forget([upload]);
  }

  /** Forgets all of a tenant, or of one person of it, a few in each turn of the event loop. Their jobs are ended before. */
  async forget(tenant: string, person?: string): Promise<void> {
    await inTurns((most) => this.#forget(this.#parts.store.some(tenant, person, most)));
  }

  /** Forgets those whose time is over, a few in each turn of the event loop. */
  async sweep(signal?: AbortSignal): Promise<void> {
    await inTurns((most) => this.#forget(this.#parts.store.expired(Date.now(), most)), { signal });
  }

  /** Returns how many there were. */
  #forget(uploads: readonly Upload[]): number {
    const { store, files, onError } = this.#parts;
    store.remove(uploads.map(({ id }) => id));
    for (const upload of uploads) {
      crashPoint('upload.forgotten');
      files.remove(uploadFile(upload)).catch(onError);
    }
    return uploads.length;
  }
}

function uploadFile({ tenant, id }: Pick<Upload, 'tenant' | 'id'>) {
  return { tenant, group: uploadGroup, id };
}

/** The name as it is shown: the last part of whatever path it came with, without what breaks lines or headers. */
function shownName(name: string): string {
  const last = name.split(/[/\\]/).at(-1) ?? '';
  // Joiners hold an emoji or a word together; half a character would not be one.
  const plain = last.replaceAll(/(?![\u200c\u200d])[\p{C}"<>:|?*]/gu, '').trim();
  return plain.slice(0, limits.upload.nameCharacters).replace(/\p{Cs}$/u, '') || 'picture';
}
