-- Who did what to whom. Only ever added to; the one thing that can be taken out is the address of a person who asked
-- to be forgotten. Names and e-mail addresses are not written here.
create table audit (
  sequence integer primary key,
  at integer not null,
  actor_kind text not null check (actor_kind in ('operator', 'user', 'system')),
  actor text,
  address text,
  action text not null,
  target text,
  tenant text,
  before text check (before is null or json_valid(before)),
  after text check (after is null or json_valid(after)),
  reason text,
  request_id text
) strict;
create index audit_by_tenant on audit (tenant, sequence);
create index audit_by_actor on audit (actor, sequence);
create index audit_by_target on audit (target) where target is not null;
create trigger audit_never_changes before update on audit
when new.address is not null
  or (new.sequence, new.at, new.actor_kind, new.actor, new.action, new.target, new.tenant, new.before, new.after,
      new.reason, new.request_id)
  is not (old.sequence, old.at, old.actor_kind, old.actor, old.action, old.target, old.tenant, old.before, old.after,
      old.reason, old.request_id)
begin
  select raise(abort, 'the audit log is append-only');
end;
create trigger audit_never_goes before delete on audit begin
  select raise(abort, 'the audit log is append-only');
end;

-- Prompts and answers of tenants who want them kept, encrypted.
create table history (
  sequence integer primary key,
  id text not null unique,
  tenant text not null references tenants (id) on delete cascade,
  user text,
  feature text not null,
  model text not null,
  at integer not null,
  content blob not null
) strict;
create index history_by_tenant on history (tenant, sequence);
create index history_by_user on history (user);

-- What was answered to requests with an Idempotency-Key.
create table idempotency (
  tenant text not null,
  key text not null,
  -- Of the method, path and body: the same key for something else is refused.
  fingerprint text not null,
  -- The run of the appliance that works on it; null when it is done.
  boot text,
  request_id text not null,
  status integer,
  content_type text,
  -- Encrypted; null when the answer was too long to keep.
  answer blob,
  at integer not null,
  primary key (tenant, key)
) strict, without rowid;
create index idempotency_by_age on idempotency (at);
