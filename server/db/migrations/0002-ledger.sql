-- Credits. Entries are only ever added; what the accounts hold follows from them by triggers, so that no code, ours
-- included, can move a balance without an entry, nor an entry without the balance.

create table ledger_accounts (
  id integer primary key,
  -- The tenant's id, which says nothing of who that is.
  name text not null unique,
  posted integer not null default 0 check (posted <= 9007199254740991),
  held integer not null default 0 check (held >= 0),
  last_entry integer not null default 0,
  -- What is available, posted - held, is never negative.
  check (posted >= held)
) strict;

create table ledger_entries (
  sequence integer primary key,
  -- Chosen by the caller, so that doing it twice is doing it once.
  id text not null unique,
  account integer not null references ledger_accounts (id),
  kind text not null check (kind in ('grant', 'hold', 'post', 'void', 'debit', 'expire')),
  -- What this entry adds to the balance, and to what is held of it.
  posted integer not null check (abs(posted) <= 1000000000),
  held integer not null check (abs(held) <= 1000000000),
  -- The hold that this post or void ends.
  hold integer references ledger_entries (sequence),
  at integer not null,
  expires_at integer,
  reason text not null,
  about text check (about is null or json_valid(about)),
  check (
    case kind
      when 'grant' then posted > 0 and held = 0 and hold is null
      when 'hold' then posted = 0 and held > 0 and hold is null
      when 'post' then posted <= 0 and held < 0 and posted >= held and hold is not null
      when 'void' then posted = 0 and held < 0 and hold is not null
      else posted < 0 and held = 0 and hold is null
    end
  ),
  check (expires_at is null or kind = 'grant')
) strict;
-- A hold ends once: posted or voided, never both, never twice.
create unique index one_end_of_a_hold on ledger_entries (hold) where hold is not null;
create index ledger_entries_by_account on ledger_entries (account, sequence);

create table open_holds (
  hold integer primary key references ledger_entries (sequence),
  account integer not null references ledger_accounts (id),
  credits integer not null check (credits > 0)
) strict;
create index open_holds_by_account on open_holds (account);

-- What is left of each grant. What expires soonest is spent first.
create table credit_lots (
  entry integer primary key references ledger_entries (sequence),
  account integer not null references ledger_accounts (id),
  remaining integer not null check (remaining >= 0),
  expires_at integer
) strict;
create index credit_lots_left on credit_lots (account, expires_at) where remaining > 0;
create index credit_lots_expiring on credit_lots (expires_at) where remaining > 0 and expires_at is not null;

create trigger ledger_entries_never_change before update on ledger_entries begin
  select raise(abort, 'the ledger is append-only');
end;
create trigger ledger_entries_never_go before delete on ledger_entries begin
  select raise(abort, 'the ledger is append-only');
end;
create trigger ledger_entries_end_a_hold before insert on ledger_entries when new.hold is not null begin
  select raise(abort, 'there is no such open hold') where not exists (
    select 1 from open_holds where hold = new.hold and account = new.account and credits = -new.held
  );
end;
create trigger ledger_entries_count after insert on ledger_entries begin
  update ledger_accounts
    set posted = posted + new.posted, held = held + new.held, last_entry = new.sequence
    where id = new.account;
  insert into open_holds (hold, account, credits)
    select new.sequence, new.account, new.held where new.kind = 'hold';
  delete from open_holds where hold = new.hold;
  insert into credit_lots (entry, account, remaining, expires_at)
    select new.sequence, new.account, new.posted, new.expires_at where new.kind = 'grant';
end;

create trigger ledger_accounts_begin_empty before insert on ledger_accounts
when new.posted <> 0 or new.held <> 0 begin
  select raise(abort, 'an account begins empty');
end;
create trigger ledger_accounts_follow_entries before update on ledger_accounts
when new.id <> old.id or new.name <> old.name or new.last_entry <= old.last_entry or not exists (
  select 1 from ledger_entries
  where sequence = new.last_entry and account = old.id
    and new.posted = old.posted + posted and new.held = old.held + held
) begin
  select raise(abort, 'a balance moves by entries only');
end;
create trigger ledger_accounts_never_go before delete on ledger_accounts begin
  select raise(abort, 'the ledger is append-only');
end;

-- Charges and the requests they are for are matched by id.
create index usage_charged on usage (id) where credits > 0;
