import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { ModerationBody, moderationCategories, ModerationList } from '../../contract/moderations.ts';
import { ApiError } from '../../http/api-error.ts';
import type { Tenant } from '../../tenants/tenant.ts';
import { identityOf, type TenantDeps } from './tenant-context.ts';

/** What was found in one input: how sure it is, and in what kind of part. */
interface Finding {
  readonly score: number;
  readonly flagged: boolean;
  readonly kind: 'text' | 'image';
}

/** Texts and pictures held against the policy that work is held against, in OpenAI's form. */
export const moderationRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { admission, moderation, pictures } = deps;

  app.post(
    '/v1/moderations',
    {
      config: { counts: 'moderation' },
      bodyLimit: limits.body.picturesBytes,
      schema: {
        tags: ['OpenAI'],
        summary: 'Whether texts (by lists of phrases) and pictures (by a classifier) are taken for explicit',
        body: ModerationBody,
        response: { 200: ModerationList, default: ErrorBody },
      },
    },
    async (request) => {
      const { tenant } = identityOf(request);
      const { input } = request.body;
      const results: ReturnType<typeof resultOf>[] = [];
      if (typeof input === 'string') results.push(resultOf([ofText(tenant, input)]));
      else if (input.every((one) => typeof one === 'string'))
        for (const text of input) results.push(resultOf([ofText(tenant, text)]));
      else {
        const found: Finding[] = [];
        for (const part of input) {
          if (typeof part === 'string')
            throw new ApiError('invalid_request', 'Send texts, or parts, not both.');
          found.push(
            part.type === 'text' ? ofText(tenant, part.text) : await ofImage(tenant.id, part.image_url.url),
          );
        }
        results.push(resultOf(found));
      }
      return { id: `modr-${request.id}`, model: 'kilnhouse-policy', results };
    },
  );

  function ofText(tenant: Tenant, text: string): Finding {
    const flagged = admission.flags(tenant, text);
    return { score: flagged ? 1 : 0, flagged, kind: 'text' };
  }

  async function ofImage(tenant: string, url: string): Promise<Finding> {
    const bytes = Buffer.from(url.slice(url.indexOf(',') + 1), 'base64');
    // Made small by the process that may die of it, before the classifier sees it.
    const small = await pictures.work({ kind: 'thumbnail', bytes }, 'input', tenant);
    const { explicit, flagged } = await moderation.look(small.bytes, tenant);
    return { score: explicit, flagged, kind: 'image' };
  }
};

function resultOf(found: readonly Finding[]) {
  const flagged = found.some((one) => one.flagged);
  const score = Math.max(...found.map((one) => one.score));
  const kinds = [...new Set(found.map(({ kind }) => kind))];
  const by = <Value>(value: (isLookedFor: boolean) => Value): Record<string, Value> =>
    Object.fromEntries(moderationCategories.map((name) => [name, value(name === 'sexual')]));
  return {
    flagged,
    categories: by((isLookedFor) => isLookedFor && flagged),
    category_scores: by((isLookedFor) => (isLookedFor ? score : 0)),
    category_applied_input_types: by((isLookedFor): string[] => (isLookedFor ? kinds : [])),
  };
}
