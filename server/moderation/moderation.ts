import { ApiError } from '../http/api-error.ts';
import type { Tenant } from '../tenants/tenant.ts';
import type { ImageClassifier, ImageScores } from './image-classifier.ts';

/** What a picture is taken for. */
export interface ImageVerdict {
  readonly flagged: boolean;
  /** How sure the classifier is that it is explicit, 0 to 1. */
  readonly explicit: number;
  readonly scores: ImageScores;
}

/** What is said when the policy leaves nothing of what was made; what it leaves is delivered without a word. */
export function nothingAllowed(): ApiError {
  return new ApiError(
    'content_policy_violation',
    'What came out is not allowed by this tenant’s content policy. Nothing was charged.',
  );
}

/**
 * How results are looked at, by the beginning of their content type. Texts are answers to prompts that admission held
 * against the lists of phrases. What is not in this table is kept from tenants without `allowNSFW`: video, sound and
 * meshes, until there is something that looks at them.
 */
const ways: readonly (readonly [type: string, way: 'picture' | 'text'])[] = [
  ['image/png', 'picture'],
  ['image/jpeg', 'picture'],
  ['image/webp', 'picture'],
  ['application/json', 'text'],
  ['text/plain', 'text'],
];

function wayOf(contentType: string): 'picture' | 'text' | null {
  const type = contentType.split(';')[0]?.trim().toLowerCase();
  return ways.find(([known]) => known === type)?.[1] ?? null;
}

/** The policy on pictures: what tenants without `allowNSFW` neither bring in nor are given. */
export class Moderation {
  readonly #classifier: Pick<ImageClassifier, 'classify'>;
  readonly #threshold: number;

  constructor(classifier: Pick<ImageClassifier, 'classify'>, threshold: number) {
    this.#classifier = classifier;
    this.#threshold = threshold;
  }

  /** Rejects with an ApiError where it cannot be told: nothing passes unseen. */
  async look(bytes: Uint8Array, tenant: string): Promise<ImageVerdict> {
    try {
      const scores = await this.#classifier.classify(bytes, tenant);
      const explicit = scores.Porn + scores.Hentai;
      return { flagged: explicit >= this.#threshold, explicit, scores };
    } catch (cause) {
      if (cause instanceof ApiError) throw cause;
      throw new ApiError('moderation_unavailable', 'Pictures cannot be checked at the moment. Try again.', {
        cause,
        retryAfterMs: 10_000,
      });
    }
  }

  /** Whether a picture may go to a tenant. */
  async allows({ id, allowNSFW }: Pick<Tenant, 'id' | 'allowNSFW'>, bytes: Uint8Array): Promise<boolean> {
    return allowNSFW || !(await this.look(bytes, id)).flagged;
  }

  /**
   * Whether a result may go to a tenant: looked at as its kind is, and refused where nobody looks at that kind, rather
   * than passed on unseen.
   */
  async allowsResult(
    tenant: Pick<Tenant, 'id' | 'allowNSFW'>,
    contentType: string,
    bytes: Uint8Array,
  ): Promise<boolean> {
    if (tenant.allowNSFW) return true;
    const look = wayOf(contentType);
    if (look === 'text') return true;
    if (look === 'picture') return this.allows(tenant, bytes);
    throw new ApiError(
      'content_policy_violation',
      `Results of the kind ${contentType} cannot be checked yet, so this tenant’s content policy keeps them. Nothing was charged.`,
    );
  }

  /** Throws an ApiError for a picture that a tenant may not use. */
  async demand(tenant: Pick<Tenant, 'id' | 'allowNSFW'>, bytes: Uint8Array, param: string): Promise<void> {
    if (await this.allows(tenant, bytes)) return;
    throw new ApiError(
      'content_policy_violation',
      `The ${param} is not allowed by this tenant’s content policy.`,
      {
        param,
      },
    );
  }
}
