import type { Database } from 'better-sqlite3';
import { limits } from '../contract/limits.ts';
import type { EntryKind } from './ledger.ts';

/** One line of an account's history, as its owner sees it. */
export interface StatementLine {
  readonly id: string;
  readonly at: string;
  readonly kind: EntryKind;
  /** What it added to the balance; negative for a charge. */
  readonly credits: number;
  /** What it added to what is held of the balance. */
  readonly held: number;
  /** The hold that a post or void ended. */
  readonly holdId: string | null;
  readonly reason: string;
  readonly expiresAt: string | null;
  readonly about: Readonly<Record<string, unknown>>;
}

export interface Page<Item> {
  readonly items: readonly Item[];
  /** Where the next page begins; null on the last. */
  readonly next: string | null;
}

interface Row {
  readonly sequence: number;
  readonly id: string;
  readonly at: number;
  readonly kind: EntryKind;
  readonly posted: number;
  readonly held: number;
  readonly holdId: string | null;
  readonly reason: string;
  readonly expires_at: number | null;
  readonly about: string | null;
}

const query = `select entry.sequence, entry.id, entry.at, entry.kind, entry.posted, entry.held, hold.id as holdId,
    entry.reason, entry.expires_at, coalesce(entry.about, hold.about) as about
  from ledger_entries entry left join ledger_entries hold on hold.sequence = entry.hold
  where entry.account = (select id from ledger_accounts where name = ?)`;

/** The entries of an account, newest first, from a cursor of an earlier page on. */
export function statementPage(
  db: Database,
  account: string,
  options: { readonly after?: string | undefined; readonly limit: number },
): Page<StatementLine> {
  const before = options.after === undefined ? Number.MAX_SAFE_INTEGER : Number(options.after);
  const rows = db
    .prepare<[string, number, number], Row>(
      `${query} and entry.sequence < ? order by entry.sequence desc limit ?`,
    )
    .all(account, before, options.limit + 1);
  const shown = rows.slice(0, options.limit);
  const last = shown.at(-1);
  return {
    items: shown.map(lineOf),
    next: rows.length > shown.length && last ? String(last.sequence) : null,
  };
}

/** Every entry of an account, newest first, read a page at a time so that nothing else has to wait. */
export function* statement(db: Database, account: string): Generator<StatementLine> {
  let after: string | undefined;
  do {
    const page = statementPage(db, account, { after, limit: limits.turn.rows });
    yield* page.items;
    after = page.next ?? undefined;
  } while (after !== undefined);
}

function lineOf({ posted, expires_at, about, sequence: _, ...row }: Row): StatementLine {
  return {
    ...row,
    at: new Date(row.at).toISOString(),
    credits: posted,
    expiresAt: expires_at === null ? null : new Date(expires_at).toISOString(),
    about: about === null ? {} : (JSON.parse(about) as Record<string, unknown>),
  };
}
