import BetterSqlite3, { type Database, type Statement, type Transaction } from 'better-sqlite3';
import { limits } from '../contract/limits.ts';

export type EntryKind = 'grant' | 'hold' | 'post' | 'void' | 'debit' | 'expire';

/** Credits of an account, whole ones. `available` is what is not held: posted - held, never negative. */
export interface Balance {
  readonly posted: number;
  readonly held: number;
  readonly available: number;
}

/** What an entry was for. Ids and figures only: entries are kept for ever, so nothing personal belongs here. */
export type About = Readonly<Record<string, string | number | boolean | null>>;

export interface Move {
  /** Chosen by the caller. The same id a second time changes nothing, and another move under it is refused. */
  readonly id: string;
  readonly account: string;
  /** Whole credits, at least one. */
  readonly credits: number;
  readonly reason: string;
  readonly about?: About;
}

export interface Grant extends Move {
  /** Wall-clock milliseconds; what is left of the grant then is taken back. Null: never. */
  readonly expiresAt?: number | null;
}

/** The account has less than was asked for. */
export class InsufficientCredits extends Error {
  override readonly name = 'InsufficientCredits';
  readonly wanted: number;
  readonly available: number;
  constructor(wanted: number, available: number) {
    super(`${wanted} credits are needed, and ${available} are available.`);
    this.wanted = wanted;
    this.available = available;
  }
}

/** An id was used before for another move. */
export class LedgerConflict extends Error {
  override readonly name = 'LedgerConflict';
}

/** An amount that is no whole number of credits between one and the most that one entry may move. */
export class InvalidAmount extends Error {
  override readonly name = 'InvalidAmount';
}

interface EntryRow {
  readonly sequence: number;
  readonly account: number;
  readonly kind: EntryKind;
  readonly posted: number;
  readonly held: number;
}

/**
 * The one place that writes credits. A move is one transaction, and joins the caller's where there is one
 * (`atomically`), so that money and what it is for are on disk together or not at all. The database itself refuses
 * what must not be: see 0002-ledger.sql.
 */
export class Ledger {
  readonly #now: () => number;
  readonly #sql: Statements;
  readonly #transaction: Transaction<(work: () => unknown) => unknown>;

  constructor(db: Database, now: () => number = Date.now) {
    this.#now = now;
    this.#sql = statements(db);
    this.#transaction = db.transaction((work) => work());
  }

  /** Runs work as one transaction, together with every move in it. */
  atomically<Result>(work: () => Result): Result {
    return this.#transaction.immediate(work) as Result;
  }

  /** What there is now. What is past its date is not there any more, whether or not the sweeper has come by. */
  balance(account: string): Balance {
    const { posted, held } = this.#sql.balance.get(account) ?? { posted: 0, held: 0 };
    if (posted === held) return { posted, held, available: 0 };
    const expired = Math.min(this.#sql.expired.get(account, this.#now()) ?? 0, posted - held);
    return { posted: posted - expired, held, available: posted - held - expired };
  }

  /** Adds credits. False when this very grant was there already. Throws LedgerConflict and InvalidAmount. */
  grant({ id, account, credits, reason, about, expiresAt = null }: Grant): boolean {
    const posted = checkedAmount(credits);
    return this.atomically(() =>
      this.#add({ id, account, kind: 'grant', posted, held: 0, hold: null, expiresAt, reason, about }),
    );
  }

  /**
   * Sets credits aside for work that begins. False when this very hold was there already. Throws
   * InsufficientCredits, LedgerConflict and InvalidAmount.
   */
  hold({ id, account, credits, reason, about }: Move): boolean {
    const held = checkedAmount(credits);
    return this.atomically(() => {
      // What is past its date cannot be spent any more, whether or not the sweeper has come by.
      this.#expire(this.#sql.expiringOf.all(this.#idOf(account), this.#now()));
      return this.#add({
        id,
        account,
        kind: 'hold',
        posted: 0,
        held,
        hold: null,
        expiresAt: null,
        reason,
        about,
      });
    });
  }

  /**
   * Charges for work that was held for, and gives the rest back. Never more than was held: that is the caller's
   * promise to the customer. Nought is allowed. False when the hold had ended before.
   */
  post(holdId: string, credits: number, reason = 'used'): boolean {
    if (!Number.isSafeInteger(credits) || credits < 0 || Object.is(credits, -0))
      throw new InvalidAmount(`${credits} is no number of credits.`);
    return this.#end(holdId, 'post', (held) => -Math.min(credits, held), reason);
  }

  /** Gives back all that was held. False when the hold had ended before. */
  void(holdId: string, reason: string): boolean {
    return this.#end(holdId, 'void', () => 0, reason);
  }

  /**
   * Takes credits back (a refund, a dispute, a correction), as far as there are any that are not held. Returns how
   * many were taken; less than asked for is the caller's to write down.
   */
  debit({ id, account, credits, reason, about }: Move): number {
    const wanted = checkedAmount(credits);
    return this.atomically(() => {
      const earlier = this.#sql.entry.get(id);
      if (earlier) return -this.#same(earlier, id, account, 'debit').posted;
      // Otherwise it would depend on when the sweeper comes by.
      this.#expire(this.#sql.expiringOf.all(this.#idOf(account), this.#now()));
      const taken = Math.min(wanted, this.balance(account).available);
      if (taken === 0) return 0;
      this.#add({
        id,
        account,
        kind: 'debit',
        posted: -taken,
        held: 0,
        hold: null,
        expiresAt: null,
        reason,
        about,
      });
      this.#spend(this.#idOf(account), taken);
      return taken;
    });
  }

  /**
   * Takes back what is left of grants that are past their date, except what is held of it: of at most `most` grants,
   * from where an earlier call ended. Returns the credits, and where to go on; null when there are no more.
   */
  expire(
    after: ExpiryCursor | null = null,
    most: number = limits.turn.rows,
  ): { credits: number; next: ExpiryCursor | null } {
    const { expiresAt, entry } = after ?? { expiresAt: 0, entry: 0 };
    const lots = this.#sql.expiring.all(this.#now(), expiresAt, entry, most);
    const credits = lots.length === 0 ? 0 : this.atomically(() => this.#expire(lots));
    const last = lots.at(-1);
    return {
      credits,
      next: lots.length === most && last ? { expiresAt: last.expiresAt, entry: last.entry } : null,
    };
  }

  /**
   * Voids every hold that is open: for the start, when nothing can be running that it was for. `isAlive` says which
   * belong to work that goes on. Returns how many were voided.
   */
  voidOrphans(isAlive: (holdId: string) => boolean = () => false): number {
    return this.atomically(() => {
      const orphans = this.#sql.openHolds.all().filter(({ id }) => !isAlive(id));
      for (const { id } of orphans) this.void(id, 'the appliance stopped while this ran');
      return orphans.length;
    });
  }

  #end(holdId: string, kind: 'post' | 'void', charge: (held: number) => number, reason: string): boolean {
    return this.atomically(() => {
      const hold = this.#sql.openHold.get(holdId);
      if (!hold) return false;
      const posted = charge(hold.credits);
      const id = `${holdId}:${kind}`;
      this.#sql.insert.run(
        id,
        hold.account,
        kind,
        posted,
        -hold.credits,
        hold.hold,
        this.#now(),
        null,
        reason,
        null,
      );
      this.#spend(hold.account, -posted);
      return true;
    });
  }

  #add(entry: {
    id: string;
    account: string;
    kind: EntryKind;
    posted: number;
    held: number;
    hold: number | null;
    expiresAt: number | null;
    reason: string;
    about: About | undefined;
  }): boolean {
    const { id, account, kind, posted, held, hold, expiresAt, reason, about } = entry;
    const earlier = this.#sql.entry.get(id);
    if (earlier) {
      const { posted: before, held: heldBefore } = this.#same(earlier, id, account, kind);
      if (before !== posted || heldBefore !== held)
        throw new LedgerConflict(`"${id}" moved another number of credits before.`);
      return false;
    }
    try {
      const row = this.#idOf(account);
      const text = about ? JSON.stringify(about) : null;
      this.#sql.insert.run(id, row, kind, posted, held, hold, this.#now(), expiresAt, reason, text);
      return true;
    } catch (error) {
      // The account's own check: what is available is never negative.
      if (kind === 'hold' && isCheck(error))
        throw new InsufficientCredits(held, this.balance(account).available);
      throw error;
    }
  }

  #same(earlier: EntryRow, id: string, account: string, kind: EntryKind): EntryRow {
    if (earlier.kind === kind && earlier.account === this.#idOf(account)) return earlier;
    throw new LedgerConflict(`"${id}" was another move before.`);
  }

  /** Takes credits from what is left of the grants, the soonest to expire first. */
  #spend(account: number, credits: number): void {
    let left = credits;
    while (left > 0) {
      const lot = this.#sql.nextLot.get(account);
      if (!lot) throw new Error(`Account ${account} has spent more than it was granted.`);
      const taken = Math.min(left, lot.remaining);
      this.#sql.takeFromLot.run(taken, lot.entry);
      left -= taken;
    }
  }

  #expire(lots: readonly LotRow[]): number {
    let expired = 0;
    for (const { entry, account, remaining, name } of lots) {
      const { posted, held } = this.#sql.balance.get(name) ?? { posted: 0, held: 0 };
      const credits = Math.min(remaining, posted - held);
      if (credits === 0) continue;
      const id = `expire:${entry}:${remaining}`;
      this.#sql.insert.run(
        id,
        account,
        'expire',
        -credits,
        0,
        null,
        this.#now(),
        null,
        'past its date',
        null,
      );
      this.#sql.takeFromLot.run(credits, entry);
      expired += credits;
    }
    return expired;
  }

  #idOf(account: string): number {
    const known = this.#sql.accountId.get(account);
    if (known !== undefined) return known;
    return Number(this.#sql.addAccount.run(account).lastInsertRowid);
  }
}

/** L7: what reaches SQL is a whole number of credits, at least one and at most what one entry may move. */
function checkedAmount(credits: number): number {
  if (Number.isSafeInteger(credits) && credits >= 1 && credits <= limits.ledger.credits) return credits;
  throw new InvalidAmount(
    `${credits} is not allowed: whole credits from 1 to ${limits.ledger.credits} can be moved at once.`,
  );
}

function isCheck(error: unknown): boolean {
  return error instanceof BetterSqlite3.SqliteError && error.code === 'SQLITE_CONSTRAINT_CHECK';
}

/** Where a sweep of grants past their date ended. */
export interface ExpiryCursor {
  readonly expiresAt: number;
  readonly entry: number;
}

interface LotRow extends ExpiryCursor {
  readonly account: number;
  readonly remaining: number;
  readonly name: string;
}

type InsertParameters = [
  id: string,
  account: number,
  kind: EntryKind,
  posted: number,
  held: number,
  hold: number | null,
  at: number,
  expiresAt: number | null,
  reason: string,
  about: string | null,
];

interface Statements {
  readonly balance: Statement<[string], { posted: number; held: number }>;
  readonly accountId: Statement<[string], number>;
  readonly addAccount: Statement<[string]>;
  readonly entry: Statement<[string], EntryRow>;
  readonly insert: Statement<InsertParameters>;
  readonly openHold: Statement<[string], { hold: number; account: number; credits: number }>;
  readonly openHolds: Statement<[], { id: string }>;
  readonly nextLot: Statement<[number], { entry: number; remaining: number }>;
  readonly takeFromLot: Statement<[number, number]>;
  readonly expiring: Statement<[number, number, number, number], LotRow>;
  readonly expiringOf: Statement<[number, number], LotRow>;
  readonly expired: Statement<[string, number], number>;
}

function statements(db: Database): Statements {
  const lots =
    'select entry, account, remaining, name, expires_at as expiresAt from credit_lots join ledger_accounts on id = account where remaining > 0';
  return {
    balance: db.prepare('select posted, held from ledger_accounts where name = ?'),
    accountId: db.prepare<[string], number>('select id from ledger_accounts where name = ?').pluck(),
    addAccount: db.prepare('insert into ledger_accounts (name) values (?)'),
    entry: db.prepare('select sequence, account, kind, posted, held from ledger_entries where id = ?'),
    insert: db.prepare(
      `insert into ledger_entries (id, account, kind, posted, held, hold, at, expires_at, reason, about)
       values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    openHold: db.prepare(
      `select open.hold, open.account, open.credits from ledger_entries entry
         join open_holds open on open.hold = entry.sequence where entry.id = ?`,
    ),
    openHolds: db.prepare('select id from open_holds join ledger_entries on sequence = open_holds.hold'),
    nextLot: db.prepare(
      `select entry, remaining from credit_lots where account = ? and remaining > 0
       order by expires_at is null, expires_at, entry limit 1`,
    ),
    takeFromLot: db.prepare('update credit_lots set remaining = remaining - ? where entry = ?'),
    expiring: db.prepare(
      `${lots} and expires_at <= ? and (expires_at, entry) > (?, ?) order by expires_at, entry limit ?`,
    ),
    expired: db
      .prepare<[string, number], number>(
        `select coalesce(sum(remaining), 0) from credit_lots
         where account = (select id from ledger_accounts where name = ?) and remaining > 0 and expires_at <= ?`,
      )
      .pluck(),
    expiringOf: db.prepare(`${lots} and account = ? and expires_at <= ?`),
  };
}
