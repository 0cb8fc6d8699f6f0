import { setImmediate } from 'node:timers/promises';
import type { Database } from 'better-sqlite3';

/** The whole ledger in sums. All of `granted` is either still there or went one of the three ways. */
export interface Proof {
  readonly entries: number;
  readonly accounts: number;
  readonly granted: number;
  readonly spent: number;
  readonly takenBack: number;
  readonly expired: number;
  readonly balances: number;
  readonly held: number;
  /** What does not add up, in words; empty when everything does. */
  readonly faults: readonly string[];
}

/**
 * Adds up every entry and compares with what is stored: balances (L1), what is available (L2), open holds (L3), ends
 * of holds (L4, L5), what is left of grants, and the sums of the whole database (L12).
 */
export function proveLedger(db: Database): Proof {
  const proving = prove(db);
  for (;;) {
    const step = proving.next();
    if (step.done) return step.value;
  }
}

/** The same while serving: others get their turn every few milliseconds (S5). */
export async function proveLedgerInTurns(db: Database): Promise<Proof> {
  const proving = prove(db);
  for (;;) {
    const step = proving.next();
    if (step.done) return step.value;
    await setImmediate();
  }
}

const entriesAtATime = 20_000;

/** What is stored is read first, at once; entries are only added, so those up to then can be summed bit by bit. */
function* prove(db: Database): Generator<undefined, Proof> {
  const last =
    db.prepare<[], number>('select coalesce(max(sequence), 0) from ledger_entries').pluck().get() ?? 0;
  const accounts = db
    .prepare<[], { id: number; name: string; posted: number; held: number; open: number; left: number }>(
      `select id, name, posted, held,
         (select coalesce(sum(credits), 0) from open_holds where account = id) as open,
         (select coalesce(sum(remaining), 0) from credit_lots where account = id and remaining > 0) as left
       from ledger_accounts`,
    )
    .all();
  const byAccount = new Map<number, Sums>();
  const part = db.prepare<[number, number], Sums & { account: number }>(
    `select account, count(*) as entries, sum(posted) as posted, sum(held) as held,
       sum(case kind when 'grant' then posted else 0 end) as granted,
       -sum(case kind when 'post' then posted else 0 end) as spent,
       -sum(case kind when 'debit' then posted else 0 end) as takenBack,
       -sum(case kind when 'expire' then posted else 0 end) as expired
     from ledger_entries where sequence > ? and sequence <= ? group by account`,
  );
  for (let from = 0; from < last; from += entriesAtATime) {
    const until = Math.min(last, from + entriesAtATime);
    for (const { account, ...sums } of part.all(from, until)) {
      byAccount.set(account, plus(byAccount.get(account) ?? nothing, sums));
    }
    yield;
  }
  const faults: string[] = [];
  let total = nothing;
  const stored = { balances: 0, held: 0 };
  for (const { id, name, posted, held, open, left } of accounts) {
    const sum = byAccount.get(id) ?? nothing;
    if (sum.posted !== posted)
      faults.push(`L1: ${name} holds ${posted} credits, and its entries say ${sum.posted}`);
    if (posted < held) faults.push(`L2: ${name} has ${held} credits held of ${posted}`);
    if (sum.held !== held || open !== held)
      faults.push(`L3: ${name} has ${held} credits held, its entries say ${sum.held}, its holds ${open}`);
    if (left !== posted)
      faults.push(`L1: ${name} holds ${posted} credits, and what is left of its grants is ${left}`);
    total = plus(total, sum);
    stored.balances += posted;
    stored.held += held;
    byAccount.delete(id);
  }
  for (const account of byAccount.keys())
    faults.push(`L1: entries of an account ${account} that is not there`);
  const { entries, granted, spent, takenBack, expired } = total;
  const out = stored.balances + spent + takenBack + expired;
  if (granted !== out) faults.push(`L12: ${granted} credits came in, and ${out} are there or went out`);
  return { entries, granted, spent, takenBack, expired, ...stored, accounts: accounts.length, faults };
}

interface Sums {
  readonly entries: number;
  readonly posted: number;
  readonly held: number;
  readonly granted: number;
  readonly spent: number;
  readonly takenBack: number;
  readonly expired: number;
}

const nothing: Sums = { entries: 0, posted: 0, held: 0, granted: 0, spent: 0, takenBack: 0, expired: 0 };

function plus(a: Sums, b: Sums): Sums {
  return {
    entries: a.entries + b.entries,
    posted: a.posted + b.posted,
    held: a.held + b.held,
    granted: a.granted + b.granted,
    spent: a.spent + b.spent,
    takenBack: a.takenBack + b.takenBack,
    expired: a.expired + b.expired,
  };
}

/** The ledger does not add up; nothing is served from it. */
export class LedgerBroken extends Error {
  override readonly name = 'LedgerBroken';
  constructor(faults: readonly string[]) {
    super(
      `The ledger does not add up, so nothing is served: ${faults.slice(0, 5).join('; ')}. Restore a backup, or ask for help with a copy of the database.`,
    );
  }
}
