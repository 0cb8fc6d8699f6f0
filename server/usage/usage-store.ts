import type { Database } from 'better-sqlite3';

/** chat, completion, embedding, image, or the name of a kind of job. */
export type Feature = string;

export interface UsageRow {
  readonly id: string;
  /** Wall-clock milliseconds. */
  readonly at: number;
  readonly tenant: string;
  /** The key, or the person where one signed in. */
  readonly keyId: string;
  readonly feature: Feature;
  readonly model: string;
  readonly status: 'ok' | 'failed' | 'refused' | 'abandoned';
  readonly errorCode: string | null;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly images: number;
  readonly queueMs: number;
  readonly swapMs: number;
  readonly runMs: number;
  readonly gpuMs: number;
  /** What was charged. */
  readonly credits: number;
}

export interface UsageTotals {
  requests: number;
  failed: number;
  promptTokens: number;
  completionTokens: number;
  images: number;
  gpuSeconds: number;
  credits: number;
}

export interface UsageDay extends Omit<UsageTotals, 'failed' | 'credits'> {
  day: string;
  model: string;
}

const batching = { rows: 2_000, everyMs: 250 } as const;

/** In the order of the insert. */
function columnsOf(row: UsageRow): (string | number | null)[] {
  return [
    row.id,
    row.at,
    row.tenant,
    row.keyId,
    row.feature,
    row.model,
    row.status,
    row.errorCode,
    row.promptTokens,
    row.completionTokens,
    row.images,
    row.queueMs,
    row.swapMs,
    row.runMs,
    row.gpuMs,
    row.credits,
  ];
}

/**
 * Writes usage rows a batch at a time: a commit waits for the disk, and requests must not. What a crash loses is at
 * most the last quarter of a second of statistics; rows of what was charged are written with the charge.
 */
export class UsageStore {
  readonly #db: Database;
  readonly #insert: (row: UsageRow) => void;
  readonly #write: (rows: readonly UsageRow[]) => void;
  #pending: UsageRow[] = [];
  #timer: NodeJS.Timeout | null = null;
  readonly #onError: (error: unknown, lost: number) => void;

  constructor(db: Database, onError: (error: unknown, lost: number) => void) {
    this.#db = db;
    this.#onError = onError;
    const insert = db.prepare(
      `insert into usage (id, at, tenant, key_id, feature, model, status, error_code, prompt_tokens,
         completion_tokens, images, queue_ms, swap_ms, run_ms, gpu_ms, credits)
       values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#insert = (row) => void insert.run(...columnsOf(row));
    this.#write = db.transaction((rows: readonly UsageRow[]) => {
      for (const row of rows) this.#insert(row);
    });
  }

  /** Writes a row within the caller's transaction, so that it is there exactly when the charge is. */
  addNow(row: UsageRow): void {
    this.#insert(row);
  }

  add(row: UsageRow): void {
    this.#pending.push(row);
    if (this.#pending.length >= batching.rows) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), batching.everyMs);
  }

  flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    const rows = this.#pending;
    this.#pending = [];
    if (rows.length === 0) return;
    try {
      this.#write(rows);
    } catch (error) {
      // Serving goes on when the disk is full; what is lost is said.
      this.#onError(error, rows.length);
    }
  }

  totals(tenant: string, since: number): UsageTotals {
    this.flush();
    return this.#db
      .prepare<[string, number], UsageTotals>(
        `select count(*) as requests, coalesce(sum(status <> 'ok'), 0) as failed,
           coalesce(sum(prompt_tokens), 0) as promptTokens, coalesce(sum(completion_tokens), 0) as completionTokens,
           coalesce(sum(images), 0) as images, coalesce(sum(gpu_ms), 0) / 1000.0 as gpuSeconds,
           coalesce(sum(credits), 0) as credits
         from usage where tenant = ? and at >= ?`,
      )
      .get(tenant, since) as UsageTotals;
  }

  byDay(tenant: string, since: number): UsageDay[] {
    this.flush();
    return this.#db
      .prepare<[string, number], UsageDay>(
        `select date(at / 1000, 'unixepoch') as day, model, count(*) as requests,
           sum(prompt_tokens) as promptTokens, sum(completion_tokens) as completionTokens, sum(images) as images,
           sum(gpu_ms) / 1000.0 as gpuSeconds
         from usage where tenant = ? and at >= ? group by day, model order by day desc, model`,
      )
      .all(tenant, since);
  }

  /** Requests of every tenant since a moment: what the rate limits start from after a restart. */
  countsSince(since: number): { tenant: string; requests: number }[] {
    return this.#db
      .prepare<[number], { tenant: string; requests: number }>(
        `select tenant, count(*) as requests from usage where at >= ? and status <> 'refused' group by tenant`,
      )
      .all(since);
  }

  /** Requests of a tenant, newest first: what the export of its data holds. */
  *rows(tenant: string): Generator<UsageRow> {
    this.flush();
    const page = this.#db.prepare<[string, number, number], UsageRow & { sequence: number }>(
      `select sequence, id, at, tenant, key_id as keyId, feature, model, status, error_code as errorCode,
         prompt_tokens as promptTokens, completion_tokens as completionTokens, images, queue_ms as queueMs,
         swap_ms as swapMs, run_ms as runMs, gpu_ms as gpuMs, credits
       from usage where tenant = ? and sequence < ? order by sequence desc limit ?`,
    );
    let before = Number.MAX_SAFE_INTEGER;
    for (;;) {
      const rows = page.all(tenant, before, 500);
      for (const { sequence, ...row } of rows) {
        before = sequence;
        yield row;
      }
      if (rows.length < 500) return;
    }
  }

  close(): void {
    this.flush();
  }
}
