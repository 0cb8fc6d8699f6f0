import { limits } from '../contract/limits.ts';
import type { Database } from 'better-sqlite3';
import type { ErasureDeps } from './erase.ts';

const everyMs = 10 * 60_000;

/** Removes what is past its time: history by plan, credits, sessions, tokens, invitations, messages, kept answers. */
export class Sweeper {
  readonly #db: Database;
  readonly #deps: ErasureDeps;
  readonly #onError: (error: unknown) => void;
  readonly #timer: NodeJS.Timeout;

  constructor(db: Database, deps: ErasureDeps, onError: (error: unknown) => void) {
    this.#db = db;
    this.#deps = deps;
    this.#onError = onError;
    this.sweep();
    this.#timer = setInterval(() => this.sweep(), everyMs).unref();
  }

  sweep(): void {
    const { ledger, sessions, mailedTokens, invitations, outbox, idempotency, jobs, uploads, webhooks } =
      this.#deps;
    const chores = [
      () => ledger.expire(),
      () => sessions.sweep(),
      () => mailedTokens.sweep(),
      () => invitations.sweep(),
      () => outbox.sweep(),
      () => idempotency.sweep(),
      () => jobs.sweep(),
      () => uploads.sweep(),
      () => webhooks.sweep(Date.now() - limits.webhooks.keptMs),
      () => sweepHistory(this.#db, this.#deps),
    ];
    for (const chore of chores) {
      try {
        chore();
      } catch (error) {
        this.#onError(error);
      }
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** Removes requests that are older than their tenant's plan keeps them. */
export function sweepHistory(
  db: Database,
  { tenants, history }: Pick<ErasureDeps, 'tenants' | 'history'>,
): void {
  const kept = db.prepare<[], { id: string; version: number }>(
    'select id, version from tenants where id in (select distinct tenant from history)',
  );
  for (const { id, version } of kept.all()) {
    const { historyDays } = tenants.resolve(id, version).limits;
    if (historyDays !== null) history.removeBefore(id, Date.now() - historyDays * 24 * 3_600_000);
  }
}
