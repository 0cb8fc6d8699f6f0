-- Where tenants want to be told of what happens.
create table webhooks (
  id text primary key,
  tenant text not null,
  url text not null,
  -- Types of events; an empty list is all of them.
  events text not null check (json_valid(events)),
  -- Signs what is sent. Encrypted.
  secret blob not null,
  created_at integer not null,
  -- Set when it answered 410 or failed for days; nothing is sent to it then.
  disabled_at integer,
  failing_since integer
) strict;
create index webhooks_by_tenant on webhooks (tenant);

create table webhook_deliveries (
  id text primary key,
  webhook text not null references webhooks (id) on delete cascade,
  -- The same for every attempt and every endpoint: receivers tell repetitions by it.
  event text not null,
  type text not null,
  payload text not null check (json_valid(payload)),
  created_at integer not null,
  attempts integer not null default 0,
  -- Null when there will be no further attempt.
  next_at integer,
  delivered_at integer,
  status integer,
  error text
) strict;
create index webhook_deliveries_due on webhook_deliveries (next_at) where next_at is not null;
create index webhook_deliveries_by_webhook on webhook_deliveries (webhook, id);
