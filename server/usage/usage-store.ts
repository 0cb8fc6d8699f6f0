import type { Database } from 'better-sqlite3';
import { limits } from '../contract/limits.ts';

/** chat, completion, embedding, image, or the name of a kind of job. */
export type Feature = string;

export interface UsageRow {
  readonly id: string;
  /** Wall-clock milliseconds. */
  readonly at: number;
  readonly tenant: string;
  /** The key, or the person where one signed in. */
  readonly keyId: string;
  /** Who asked, or made the key that did; null where nobody is known. */
  readonly person: string | null;
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

/** Rows of one commit: more would hold the event loop too long, fewer would wait for the disk too often. */
const batching = { rows: 64, everyMs: 250 } as const;

/** In the order of the insert. */
function columnsOf(row: UsageRow): (string | number | null)[] {
  return [
    row.id,
    row.at,
    row.tenant,
    row.keyId,
    row.person,
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
      `insert into usage (id, at, tenant, key_id, person, feature, model, status, error_code, prompt_tokens,
         completion_tokens, images, queue_ms, swap_ms, run_ms, gpu_ms, credits)
       values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
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

  /** Requests of every tenant since a moment: what the rate limits start from after a restart. */
  countsSince(since: number): { tenant: string; requests: number }[] {
    return this.#db
      .prepare<[number], { tenant: string; requests: number }>(
        `select tenant, count(*) as requests from usage where at >= ? and status <> 'refused' group by tenant`,
      )
      .all(since);
  }

  /** Pictures of every tenant since a moment. */
  imagesSince(since: number): { tenant: string; count: number }[] {
    return this.#db
      .prepare<[number], { tenant: string; count: number }>(
        'select tenant, sum(images) as count from usage where at >= ? group by tenant having sum(images) > 0',
      )
      .all(since);
  }

  /** Requests of a tenant, or of one person of it, newest first, also those it had hidden: what an export holds. */
  *rows(tenant: string, person?: string): Generator<UsageRow> {
    this.flush();
    const page = this.#db.prepare<
      { tenant: string; person: string | null; at: number; sequence: number },
      UsageRow & { sequence: number }
    >(
      `select sequence, id, at, tenant, key_id as keyId, person, feature, model, status, error_code as errorCode,
         prompt_tokens as promptTokens, completion_tokens as completionTokens, images, queue_ms as queueMs,
         swap_ms as swapMs, run_ms as runMs, gpu_ms as gpuMs, credits
       from usage where tenant = :tenant and (:person is null or person = :person) and (at, sequence) < (:at, :sequence)
       order by at desc, sequence desc limit ${limits.turn.rows}`,
    );
    let last = { at: Number.MAX_SAFE_INTEGER, sequence: 0 };
    for (;;) {
      const rows = page.all({ tenant, person: person ?? null, ...last });
      for (const { sequence, ...row } of rows) {
        last = { at: row.at, sequence };
        yield row;
      }
      if (rows.length < limits.turn.rows) return;
    }
  }

  close(): void {
    this.flush();
  }
}
