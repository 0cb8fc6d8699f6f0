import { ApiError } from './api-error.ts';

/** Whom bodies are counted for: a tenant, or the address of somebody who has shown no key. */
export interface BodyOwner {
  readonly kind: 'tenant' | 'address';
  readonly id: string;
}

/** Bytes of bodies that may be in flight at one time. */
export interface BodyBounds {
  readonly tenantBytes: number;
  readonly addressBytes: number;
  readonly totalBytes: number;
  /** When to come back. */
  readonly retryAfterMs: number;
}

/** The part of the budget that one request holds. */
export interface HeldBody {
  /** Takes more, as more arrives or is built of it. Throws an ApiError when that is too much. */
  add(bytes: number): void;
  release(): void;
}

/**
 * Counts the bytes of bodies in flight: from before they are read until their request is answered, since what waits
 * for the GPU keeps its body. Refuses what would be too much for one tenant, for one address or in all, so that nobody
 * can fill the memory, and no tenant can take the place of the others (J7).
 */
export class BodyBudget {
  readonly #bounds: BodyBounds;
  readonly #held = new Map<string, number>();
  #totalBytes = 0;

  constructor(bounds: BodyBounds) {
    this.#bounds = bounds;
  }

  /** Bytes that are held now. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  hold(owner: BodyOwner): HeldBody {
    let mine = 0;
    let released = false;
    return {
      add: (bytes) => {
        if (released) return;
        this.#take(owner, bytes);
        mine += bytes;
      },
      release: () => {
        if (released) return;
        released = true;
        this.#giveBack(owner, mine);
      },
    };
  }

  #take(owner: BodyOwner, bytes: number): void {
    const key = keyOf(owner);
    const { tenantBytes, addressBytes, totalBytes, retryAfterMs } = this.#bounds;
    const own = (this.#held.get(key) ?? 0) + bytes;
    const most = owner.kind === 'tenant' ? tenantBytes : addressBytes;
    if (own > most) {
      const whose = owner.kind === 'tenant' ? 'this tenant' : 'this address';
      throw new ApiError(
        'concurrency_exceeded',
        `The requests of ${whose} that are under way hold ${most} bytes together, which is the most (limit: body bytes). Send this one when some of them are answered.`,
        { retryAfterMs },
      );
    }
    if (this.#totalBytes + bytes > totalBytes) {
      throw new ApiError(
        'queue_full',
        'The requests that are under way fill the memory that the appliance has for them (limit: body bytes). Come back later.',
        { retryAfterMs },
      );
    }
    this.#held.set(key, own);
    this.#totalBytes += bytes;
  }

  #giveBack(owner: BodyOwner, bytes: number): void {
    const key = keyOf(owner);
    const left = (this.#held.get(key) ?? 0) - bytes;
    if (left > 0) this.#held.set(key, left);
    else this.#held.delete(key);
    this.#totalBytes -= bytes;
  }
}

function keyOf({ kind, id }: BodyOwner): string {
  return `${kind} ${id}`;
}
