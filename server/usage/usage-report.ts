import type { Database } from 'better-sqlite3';

interface UsageTotals {
  readonly requests: number;
  readonly succeeded: number;
  readonly failed: number;
  /** 0 to 1; null when there was nothing. */
  readonly successRate: number | null;
  /** Waiting and running, of those that succeeded; null when none did. */
  readonly meanMs: number | null;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly images: number;
  readonly gpuSeconds: number;
  readonly credits: number;
}

const sums = `coalesce(sum(requests), 0) as requests, coalesce(sum(succeeded), 0) as succeeded,
  coalesce(sum(requests - succeeded), 0) as failed, 1.0 * sum(succeeded) / nullif(sum(requests), 0) as successRate,
  1.0 * sum(total_ms) / nullif(sum(succeeded), 0) as meanMs, coalesce(sum(prompt_tokens), 0) as promptTokens,
  coalesce(sum(completion_tokens), 0) as completionTokens, coalesce(sum(images), 0) as images,
  coalesce(sum(gpu_ms), 0) / 1000.0 as gpuSeconds, coalesce(sum(credits), 0) as credits`;

const groups = {
  byDay: 'day',
  byModel: 'model',
  byKey: 'key_id',
  byFeature: 'feature',
  byTenant: 'tenant',
} as const;

export type UsageReport = { readonly totals: UsageTotals } & {
  readonly [Group in keyof typeof groups]: readonly (UsageTotals & { readonly name: string })[];
};

/** What a tenant used since a day (2026-11-20), in all and by day, model, key and feature; null: all of them. */
export function usageReport(db: Database, tenant: string | null, since: string): UsageReport {
  const whose = tenant === null ? ':tenant is null' : 'tenant = :tenant';
  const by = (group: keyof typeof groups) =>
    db
      .prepare<[{ tenant: string | null; since: string }], UsageTotals & { name: string }>(
        `select ${groups[group]} as name, ${sums} from usage_daily where ${whose} and day >= :since
         group by 1 order by ${group === 'byDay' ? '1 desc' : 'requests desc, 1'}`,
      )
      .all({ tenant, since });
  const totals = db
    .prepare<[{ tenant: string | null; since: string }], UsageTotals>(
      `select ${sums} from usage_daily where ${whose} and day >= :since`,
    )
    .get({ tenant, since }) as UsageTotals;
  return {
    totals,
    byDay: by('byDay'),
    byModel: by('byModel'),
    byKey: by('byKey'),
    byFeature: by('byFeature'),
    byTenant: by('byTenant'),
  };
}
