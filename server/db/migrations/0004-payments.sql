-- What was ordered, at the price it was ordered at. What is paid, refunded and disputed is believed only as far as it
-- agrees with this.
create table orders (
  id text primary key,
  tenant text not null,
  user text,
  kind text not null check (kind in ('package', 'subscription', 'renewal')),
  -- The package, or the plan.
  item text not null,
  credits integer not null check (credits >= 0),
  amount_cents integer not null check (amount_cents > 0),
  currency text not null,
  provider text not null check (provider in ('stripe')),
  live integer not null check (live in (0, 1)),
  session text unique,
  payment text,
  subscription text,
  invoice text unique,
  created_at integer not null,
  paid_at integer,
  closed_at integer,
  -- For a renewal: the end of the month that its credits are for.
  period_end integer,
  refunded_cents integer not null default 0 check (refunded_cents >= 0),
  disputed integer not null default 0 check (disputed in (0, 1)),
  -- Credits that this order has brought in so far, less what was taken back.
  given integer not null default 0 check (given >= 0),
  -- How often credits moved for this order: part of the next move's id.
  moves integer not null default 0,
  -- What should have been taken back and was spent already.
  uncollected integer not null default 0 check (uncollected >= 0),
  problem text
) strict;
create index orders_by_tenant on orders (tenant, id);
create index orders_by_payment on orders (payment) where payment is not null;
create index orders_by_subscription on orders (subscription) where subscription is not null;

-- Each event counts once, for ever.
create table payment_events (
  id text primary key,
  type text not null,
  at integer not null,
  order_id text,
  outcome text not null
) strict;
