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

interface AccountSums {
  readonly account: number;
  readonly entries: number;
  readonly posted: number;
  readonly held: number;
  readonly granted: number;
  readonly spent: number;
  readonly takenBack: number;
  readonly expired: number;
}

/**
 * Adds up every entry and compares with what is stored: balances (L1), what is available (L2), open holds (L3), ends
 * of holds (L4, L5), what is left of grants, and the sums of the whole database (L12). One pass over the entries.
 */
export function proveLedger(db: Database): Proof {
  const sums = db
    .prepare<[], AccountSums>(
      `select account, count(*) as entries, sum(posted) as posted, sum(held) as held,
         sum(case kind when 'grant' then posted else 0 end) as granted,
         -sum(case kind when 'post' then posted else 0 end) as spent,
         -sum(case kind when 'debit' then posted else 0 end) as takenBack,
         -sum(case kind when 'expire' then posted else 0 end) as expired
       from ledger_entries group by account`,
    )
    .all();
  const byAccount = new Map(sums.map((sum) => [sum.account, sum]));
  const faults: string[] = [];
  const accounts = db
    .prepare<[], { id: number; name: string; posted: number; held: number; open: number; left: number }>(
      `select id, name, posted, held,
         (select coalesce(sum(credits), 0) from open_holds where account = id) as open,
         (select coalesce(sum(remaining), 0) from credit_lots where account = id and remaining > 0) as left
       from ledger_accounts`,
    )
    .all();
  const total = { entries: 0, granted: 0, spent: 0, takenBack: 0, expired: 0, balances: 0, held: 0 };
  for (const { id, name, posted, held, open, left } of accounts) {
    const sum = byAccount.get(id) ?? nothing;
    if (sum.posted !== posted)
      faults.push(`L1: ${name} holds ${posted} credits, and its entries say ${sum.posted}`);
    if (posted < held) faults.push(`L2: ${name} has ${held} credits held of ${posted}`);
    if (sum.held !== held || open !== held)
      faults.push(`L3: ${name} has ${held} credits held, its entries say ${sum.held}, its holds ${open}`);
    if (left !== posted)
      faults.push(`L1: ${name} holds ${posted} credits, and what is left of its grants is ${left}`);
    total.entries += sum.entries;
    total.granted += sum.granted;
    total.spent += sum.spent;
    total.takenBack += sum.takenBack;
    total.expired += sum.expired;
    total.balances += posted;
    total.held += held;
    byAccount.delete(id);
  }
  for (const account of byAccount.keys())
    faults.push(`L1: entries of an account ${account} that is not there`);
  const out = total.balances + total.spent + total.takenBack + total.expired;
  if (total.granted !== out)
    faults.push(`L12: ${total.granted} credits came in, and ${out} are there or went out`);
  return { ...total, accounts: accounts.length, faults };
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

const nothing = { entries: 0, posted: 0, held: 0, granted: 0, spent: 0, takenBack: 0, expired: 0 } as const;
