import { ApiError } from '../http/api-error.ts';
import type { Tenant } from '../tenants/tenant.ts';
import type { DiskSpace } from './disk-space.ts';

export interface RoomParts {
  /** Bytes of everything that is kept for a tenant: uploads, results, pictures behind links, kept answers. */
  readonly stored: (tenant: string) => number;
  readonly space: Pick<DiskSpace, 'demand'>;
}

const mib = 1024 ** 2;

/**
 * Room for what is kept for tenants: within the plan's quota and above the disk's floor. What is being written is
 * reserved before, so that many at once do not all find the same room.
 */
export class StorageRoom {
  readonly #parts: RoomParts;
  readonly #reserved = new Map<string, number>();

  constructor(parts: RoomParts) {
    this.#parts = parts;
  }

  /** Throws an ApiError when a tenant may not store so many bytes more. */
  demand({ id, limits: plan }: Pick<Tenant, 'id' | 'limits'>, bytes: number): void {
    this.#parts.space.demand(bytes);
    if (plan.storageMib === null) return;
    const used = this.#parts.stored(id) + (this.#reserved.get(id) ?? 0);
    if (used + bytes <= plan.storageMib * mib) return;
    throw new ApiError(
      'storage_quota_exceeded',
      `The plan holds ${plan.storageMib} MiB of files, and they are used up. Delete uploads or jobs to make room; pictures behind links go after an hour, answers kept for an Idempotency-Key after a day.`,
    );
  }

  /** Whether there is room. */
  has(tenant: Pick<Tenant, 'id' | 'limits'>, bytes: number): boolean {
    try {
      this.demand(tenant, bytes);
      return true;
    } catch (error) {
      if (error instanceof ApiError) return false;
      throw error;
    }
  }

  /** The same, and keeps the room until what is to be there is written. Returns how to give it back. */
  reserve(tenant: Pick<Tenant, 'id' | 'limits'>, bytes: number): () => void {
    this.demand(tenant, bytes);
    const { id } = tenant;
    this.#reserved.set(id, (this.#reserved.get(id) ?? 0) + bytes);
    return () => {
      const left = (this.#reserved.get(id) ?? 0) - bytes;
      if (left > 0) this.#reserved.set(id, left);
      else this.#reserved.delete(id);
    };
  }
}
