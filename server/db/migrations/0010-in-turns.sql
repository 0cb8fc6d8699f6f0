-- What is past its time is found by an index, a few rows at a time, however much there is.
create index sessions_by_end on sessions (expires_at);
create index sessions_ended on sessions (ended_at) where ended_at is not null;
create index mailed_tokens_by_end on mailed_tokens (expires_at);
create index invitations_by_end on invitations (expires_at);
create index outbox_by_age on outbox (created_at);
create index outbox_sent on outbox (sent_at) where sent_at is not null;
create index webhook_deliveries_over on webhook_deliveries (created_at) where next_at is null;
create index history_by_age on history (tenant, at);
create index jobs_by_person on jobs (person) where person is not null;
create index audit_addresses on audit (tenant) where address is not null;
create index audit_addresses_of_actor on audit (actor) where address is not null;
create index audit_addresses_of_target on audit (target) where address is not null;

-- People and companies that are being forgotten: it takes more than one transaction, and goes on after a crash.
create table erasures (
  -- Of the person, or of the company.
  id text primary key,
  tenant text not null,
  kind text not null check (kind in ('person', 'company')),
  -- Who asked for it, for the audit log.
  actor text not null check (json_valid(actor)),
  at integer not null
) strict, without rowid;
