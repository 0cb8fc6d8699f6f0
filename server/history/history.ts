import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Database } from 'better-sqlite3';
import { limits } from '../contract/limits.ts';
import { crashPoint } from '../crash-point.ts';
import { inTurns } from '../db/in-turns.ts';
import { Statements } from '../db/statements.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { JobStore } from '../jobs/job-store.ts';
import { isFinal } from '../jobs/states.ts';
import type { UsageRow, UsageStore } from '../usage/usage-store.ts';
import type { HistoryStore, Whose } from './history-store.ts';

/** A request or job that has ended, as its tenant looks at it. */
export interface HistoryEntry extends Omit<UsageRow, 'tenant' | 'keyId' | 'person' | 'swapMs'> {
  readonly sequence: number;
  readonly key: string;
  readonly user: string | null;
  /** What was asked, where the tenant has it kept; null otherwise. */
  readonly prompts: unknown;
}

export interface HistoryFilter {
  readonly ids?: readonly string[] | undefined;
  readonly feature?: string | undefined;
  readonly model?: string | undefined;
  readonly key?: string | undefined;
  readonly status?: string | undefined;
  /** Wall-clock milliseconds, both included. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

/** Where a page ended: the next one goes on there. */
export interface Cursor {
  readonly at: number;
  readonly sequence: number;
}

interface HistoryParts {
  readonly db: Database;
  readonly usage: UsageStore;
  readonly prompts: HistoryStore;
  readonly jobs: Jobs;
  readonly jobStore: JobStore;
}

/**
 * Requests and jobs that have ended, the newest first, for as long as the plan keeps them. What is removed is gone for
 * its tenant, with its prompts and results; what it cost stays in the books.
 */
export class History {
  readonly #parts: HistoryParts;
  readonly #statements: Statements;

  constructor(parts: HistoryParts) {
    this.#parts = parts;
    this.#statements = new Statements(parts.db);
  }

  page(whose: Whose, filter: HistoryFilter, after: Cursor | null, limit: number): HistoryEntry[] {
    const { usage, prompts } = this.#parts;
    usage.flush();
    const { where, values } = conditionsOf(whose, filter);
    if (after) {
      where.push('(at, sequence) < (:afterAt, :afterSequence)');
      values['afterAt'] = after.at;
      values['afterSequence'] = after.sequence;
    }
    const rows = this.#statements
      .prepare<typeof values, Omit<HistoryEntry, 'prompts'>>(
        `select sequence, id, at, key_id as key, person as user, feature, model, status, error_code as errorCode,
           prompt_tokens as promptTokens, completion_tokens as completionTokens, images, queue_ms as queueMs,
           run_ms as runMs, gpu_ms as gpuMs, credits
         from usage where ${where.join(' and ')} order by at desc, sequence desc limit :limit`,
      )
      .all({ ...values, limit });
    return rows.map((row) => ({ ...row, prompts: prompts.find(whose.tenant, row.id) ?? null }));
  }

  /**
   * Entries whose prompts hold a text, whatever its case. Prompts are encrypted, so each has to be opened: after so
   * many the search stops, and goes on from the cursor it gives.
   */
  async search(
    whose: Whose,
    filter: HistoryFilter,
    text: string,
    after: Cursor | null,
    limit: number,
  ): Promise<{ entries: HistoryEntry[]; next: Cursor | null }> {
    const wanted = text.toLowerCase();
    const found: HistoryEntry[] = [];
    let cursor = after;
    for (let read = 0; read < limits.history.searched; read += limits.history.searchedAtOnce) {
      const page = this.page(whose, filter, cursor, limits.history.searchedAtOnce);
      for (const entry of page) {
        cursor = entry;
        if (entry.prompts !== null && JSON.stringify(entry.prompts).toLowerCase().includes(wanted))
          found.push(entry);
        if (found.length === limit) return { entries: found, next: cursor };
      }
      if (page.length < limits.history.searchedAtOnce) return { entries: found, next: null };
      await nextTurn();
    }
    return { entries: found, next: cursor };
  }

  /** All that a filter lets through, a page at a time. */
  *all(whose: Whose, filter: HistoryFilter): Generator<HistoryEntry> {
    let cursor: Cursor | null = null;
    for (;;) {
      const page: HistoryEntry[] = this.page(whose, filter, cursor, limits.history.searchedAtOnce);
      yield* page;
      cursor = page.at(-1) ?? null;
      if (page.length < limits.history.searchedAtOnce) return;
    }
  }

  /** Forgets what a filter lets through, with prompts, jobs and their results. Resolves to how many there were. */
  async remove(whose: Whose, filter: HistoryFilter): Promise<number> {
    const { usage, prompts, jobs, jobStore } = this.#parts;
    const hide = this.#statements.prepare<[number]>('update usage set hidden = 1 where sequence = ?');
    const { where, values } = conditionsOf(whose, filter);
    const some = this.#statements.prepare<typeof values, { sequence: number; id: string }>(
      `select sequence, id from usage where ${where.join(' and ')} order by at desc, sequence desc limit :limit`,
    );
    usage.flush();
    return inTurns(
      (limit) => {
        const page = some.all({ ...values, limit });
        const finished = page
          .flatMap(({ id }) => jobStore.find(id) ?? [])
          .filter(({ state }) => isFinal(state));
        jobs.forgetAll(finished, () => {
          for (const { sequence, id } of page) {
            hide.run(sequence);
            prompts.remove(whose.tenant, id);
          }
        });
        crashPoint('history.hidden');
        return page.length;
      },
      { most: limits.turn.jobs },
    );
  }
}

/** Each condition stands alone, so that the database takes the index that is for it. */
function conditionsOf({ tenant, user }: Whose, filter: HistoryFilter) {
  const { ids, from, to, status, ...rest } = filter;
  const where = ['tenant = :tenant', 'hidden = 0'];
  const values: Record<string, string | number | null> = { tenant };
  const add = (condition: string, name: string, value: string | number | null): void => {
    where.push(condition);
    values[name] = value;
  };
  if (user !== undefined) add('person is :user', 'user', user);
  if (ids) add('id in (select value from json_each(:ids))', 'ids', JSON.stringify(ids));
  if (from !== undefined) add('at >= :from', 'from', from);
  if (to !== undefined) add('at <= :to', 'to', to);
  if (status !== undefined) add('status = :status', 'status', status);
  // Says so for the index of what did not go well.
  if (status !== undefined && status !== 'ok') where.push("status <> 'ok'");
  const columns = { feature: 'feature', model: 'model', key: 'key_id' } as const;
  for (const [name, column] of Object.entries(columns)) {
    const value = rest[name as keyof typeof columns];
    if (value !== undefined) add(`${column} = :${name}`, name, value);
  }
  return { where, values };
}
