import type { Database } from 'better-sqlite3';

export interface TrafficMinute {
  /** The beginning of the minute, wall-clock milliseconds. */
  readonly at: number;
  readonly requests: number;
  readonly failed: number;
  readonly tokens: number;
  readonly images: number;
}

const minuteMs = 60_000;
const minutes = 60;

/** What all tenants asked for in each minute of the last hour, oldest first, the current one last. */
export function trafficOf(db: Database, now: number): TrafficMinute[] {
  const first = Math.floor(now / minuteMs) - minutes + 1;
  const found = db
    .prepare<[number], { minute: number } & Omit<TrafficMinute, 'at'>>(
      `select at / ${minuteMs} as minute, count(*) as requests, sum(status = 'failed') as failed,
         sum(prompt_tokens + completion_tokens) as tokens, sum(images) as images
       from usage where at >= ? group by 1`,
    )
    .all(first * minuteMs);
  const byMinute = new Map(found.map(({ minute, ...sums }) => [minute, sums]));
  return Array.from({ length: minutes }, (_, index) => {
    const nothing = { requests: 0, failed: 0, tokens: 0, images: 0 };
    return { at: (first + index) * minuteMs, ...(byMinute.get(first + index) ?? nothing) };
  });
}
