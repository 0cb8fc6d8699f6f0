-- Answers that are kept for an Idempotency-Key count as what lies on the disk for a tenant.
insert into storage (tenant, bytes)
  select tenant, sum(length(answer)) from idempotency where answer is not null group by tenant
  on conflict (tenant) do update set bytes = bytes + excluded.bytes;
create trigger answers_take_room after update of answer on idempotency
when coalesce(length(new.answer), 0) <> coalesce(length(old.answer), 0) begin
  insert into storage (tenant, bytes)
    values (new.tenant, coalesce(length(new.answer), 0) - coalesce(length(old.answer), 0))
    on conflict (tenant) do update set bytes = bytes + excluded.bytes;
end;
create trigger answers_give_room after delete on idempotency when old.answer is not null begin
  update storage set bytes = bytes - length(old.answer) where tenant = old.tenant;
end;
