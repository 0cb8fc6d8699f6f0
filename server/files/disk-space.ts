import { statfsSync } from 'node:fs';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';

/**
 * The floor of free disk: files of tenants stop before the disk is full, so that the database, which shares it, can
 * still write (D2).
 */
export class DiskSpace {
  readonly #folder: string;
  readonly #floorBytes: number;
  #free = { bytes: 0, at: -Infinity };

  constructor(folder: string, floorBytes: number) {
    this.#folder = folder;
    this.#floorBytes = floorBytes;
  }

  /** Throws an ApiError when so many bytes more would go below the floor. */
  demand(bytes: number): void {
    const now = performance.now();
    if (now - this.#free.at > limits.storage.lookEveryMs) {
      const { bavail, bsize } = statfsSync(this.#folder);
      this.#free = { bytes: bavail * bsize, at: now };
    }
    if (this.#free.bytes - bytes < this.#floorBytes) {
      const message =
        'The appliance’s disk is nearly full: it takes no new files. What is there can be read, and deleting it makes room.';
      throw new ApiError('storage_full', message, { retryAfterMs: 60_000 });
    }
    // What is written until the next look counts.
    this.#free = { ...this.#free, bytes: this.#free.bytes - bytes };
  }
}
