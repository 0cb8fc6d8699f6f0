-- On whose account a message is sent: tenants take turns.
alter table outbox add column tenant text;
