import { setImmediate as nextTurn } from 'node:timers/promises';
import { limits } from '../contract/limits.ts';
import { inTurns } from '../db/in-turns.ts';
import type { HistoryStore } from '../history/history-store.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Directory } from '../tenants/directory.ts';
import { type ErasureDeps, finishErasures } from './erase.ts';

const everyMs = 10 * 60_000;

/**
 * Removes what is past its time: history by plan, credits, sessions, tokens, invitations, messages, kept answers. It
 * works on a few rows in each turn of the event loop, and goes on with erasures that a crash interrupted.
 */
export class Sweeper {
  readonly #deps: ErasureDeps;
  readonly #onError: (error: unknown) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #stop = new AbortController();
  #sweeping: Promise<void> | null = null;

  constructor(deps: ErasureDeps, onError: (error: unknown) => void) {
    this.#deps = deps;
    this.#onError = onError;
    void this.sweep();
    this.#timer = setInterval(() => void this.sweep(), everyMs).unref();
  }

  /** One after the other; whoever asks while one goes on gets that one. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => (this.#sweeping = null));
    return this.#sweeping;
  }

  /** Stops between two turns. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    const { ledger, sessions, mailedTokens, invitations, outbox, idempotency, jobs, uploads, webhooks } =
      this.#deps;
    const { signal } = this.#stop;
    const chores: readonly (() => Promise<unknown>)[] = [
      () => expireCredits(ledger, signal),
      ...[sessions, mailedTokens, invitations, outbox, idempotency].map(
        (store) => () => inTurns((most) => store.sweep(most), { signal }),
      ),
      () => jobs.sweep(signal),
      () => uploads.sweep(signal),
      () => inTurns((most) => webhooks.sweep(Date.now() - limits.webhooks.keptMs, most), { signal }),
      () => sweepHistory(this.#deps, signal),
      () => finishErasures(this.#deps),
    ];
    for (const chore of chores) {
      if (signal.aborted) return;
      await chore().catch(this.#onError);
    }
  }
}

async function expireCredits(ledger: Ledger, signal: AbortSignal): Promise<void> {
  let { next } = ledger.expire();
  while (next && !signal.aborted) {
    await nextTurn();
    ({ next } = ledger.expire(next));
  }
}

/** Removes requests that are older than their tenant's plan keeps them. */
export async function sweepHistory(
  { directory, history }: { readonly directory: Pick<Directory, 'tenant'>; readonly history: HistoryStore },
  signal?: AbortSignal,
): Promise<void> {
  for (const tenant of history.tenants()) {
    const historyDays = directory.tenant(tenant)?.limits.historyDays ?? null;
    if (historyDays === null) continue;
    const moment = Date.now() - historyDays * 24 * 3_600_000;
    await inTurns((most) => history.removeBefore(tenant, moment, most), { signal });
  }
}
