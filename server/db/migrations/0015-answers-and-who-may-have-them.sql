-- Who asked, and the models and features it took: an answer is given again only to who may have it.
alter table idempotency add column person text;
alter table idempotency add column needs text not null default '[]' check (json_valid(needs));
create index idempotency_by_person on idempotency (person) where person is not null;
