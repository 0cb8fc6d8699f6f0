-- Requests as their tenants look at them: whose they are, and which they want forgotten. What was charged stays.
alter table usage add column person text;
alter table usage add column hidden integer not null default 0 check (hidden in (0, 1));
update usage set person = (select user from history where history.id = usage.id);

-- A page of any list is read from an index, however much there is.
create index usage_listed on usage (tenant, at, sequence);
create index usage_by_feature on usage (tenant, feature, at, sequence) where hidden = 0;
create index usage_by_model on usage (tenant, model, at, sequence) where hidden = 0;
create index usage_by_key on usage (tenant, key_id, at, sequence) where hidden = 0;
create index usage_by_person on usage (tenant, person, at, sequence) where hidden = 0;
create index usage_by_status on usage (tenant, status, at, sequence) where hidden = 0 and status <> 'ok';
create index usage_by_id on usage (id);
-- Both are found by others now.
drop index usage_by_tenant;
drop index usage_charged;
create index usage_at on usage (at);
create index jobs_by_state on jobs (tenant, state, id);
create index jobs_succeeded on jobs (id) where state = 'succeeded';
create index jobs_by_feature on jobs (tenant, feature, id);

-- What a tenant used, by day: added up as it is written, so that statistics cost the same however much there is.
create table usage_daily (
  tenant text not null,
  -- In UTC: 2026-11-20.
  day text not null,
  feature text not null,
  model text not null,
  key_id text not null,
  requests integer not null,
  succeeded integer not null,
  prompt_tokens integer not null,
  completion_tokens integer not null,
  images integer not null,
  -- Of those that succeeded: waiting and running together.
  total_ms integer not null,
  gpu_ms integer not null,
  credits integer not null,
  primary key (tenant, day, feature, model, key_id)
) strict, without rowid;

insert into usage_daily
select tenant, date(at / 1000, 'unixepoch'), feature, model, key_id, count(*), sum(status = 'ok'), sum(prompt_tokens),
  sum(completion_tokens), sum(images),
  sum(case when status = 'ok' then queue_ms + swap_ms + run_ms else 0 end), sum(gpu_ms), sum(credits)
from usage group by 1, 2, 3, 4, 5;

create trigger usage_adds_up after insert on usage begin
  insert into usage_daily values (new.tenant, date(new.at / 1000, 'unixepoch'), new.feature, new.model, new.key_id, 1,
    new.status = 'ok', new.prompt_tokens, new.completion_tokens, new.images,
    case when new.status = 'ok' then new.queue_ms + new.swap_ms + new.run_ms else 0 end, new.gpu_ms, new.credits)
  on conflict do update set requests = requests + 1, succeeded = succeeded + excluded.succeeded,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens, images = images + excluded.images,
    total_ms = total_ms + excluded.total_ms, gpu_ms = gpu_ms + excluded.gpu_ms, credits = credits + excluded.credits;
end;
