import type { Database } from 'better-sqlite3';

export interface TrafficMinute {
  /** The beginning of the minute, wall-clock milliseconds. */
  readonly at: number;
  readonly requests: number;
  readonly failed: number;
  /** Turned away by a limit, a right or a full queue, before any work was done. */
  readonly refused: number;
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
         sum(status = 'refused') as refused,         sum(prompt_tokens + completion_tokens) as tokens, sum(images) as images
       from usage where at >= ? group by 1`,
    )
    .all(first * minuteMs);
  const byMinute = new Map(found.map(({ minute, ...sums }) => [minute, sums]));
  return Array.from({ length: minutes }, (_, index) => {
    const nothing = { requests: 0, failed: 0, refused: 0, tokens: 0, images: 0 };
    return { at: (first + index) * minuteMs, ...(byMinute.get(first + index) ?? nothing) };
  });
}

/** Why requests of the last hour were refused, the most frequent reason first. */
export function refusalsOf(db: Database, now: number): { code: string; count: number }[] {
  return db
    .prepare<[number], { code: string; count: number }>(
      `select coalesce(error_code, 'unknown') as code, count(*) as count from usage
       where at >= ? and status = 'refused' group by 1 order by 2 desc, 1`,
    )
    .all(now - minutes * minuteMs);
}
