-- Work that outlives the connection it was asked for on.
create table jobs (
  id text primary key,
  tenant text not null,
  -- The key or person that asked, and the person behind it.
  asked_by text not null,
  person text,
  feature text not null,
  model text not null,
  state text not null default 'queued'
    check (state in ('queued', 'starting', 'processing', 'succeeded', 'failed', 'canceled', 'expired')),
  -- What was asked, encrypted.
  input blob not null,
  -- Goes up with every claim. Whoever writes for an earlier one is refused (J2).
  attempt integer not null default 0,
  -- The run of the appliance that works on it.
  boot text,
  -- How often an engine died under it, and how often the appliance did.
  engine_failures integer not null default 0,
  interruptions integer not null default 0,
  -- What is held for it; 0 where it costs nothing.
  credits_held integer not null default 0 check (credits_held >= 0),
  credits integer not null default 0 check (credits >= 0),
  -- What things cost when it was asked for: it is charged by that.
  prices text not null check (json_valid(prices)),
  progress real not null default 0 check (progress between 0 and 1),
  step text,
  error_code text,
  error_message text,
  created_at integer not null,
  -- Not begun by then, it is dropped.
  start_by integer,
  started_at integer,
  finished_at integer,
  queue_ms integer not null default 0,
  swap_ms integer not null default 0,
  run_ms integer not null default 0,
  gpu_ms integer not null default 0,
  check ((state in ('succeeded', 'failed', 'canceled', 'expired')) = (finished_at is not null)),
  check (credits <= credits_held)
) strict;
create index jobs_open on jobs (id) where finished_at is null;
create index jobs_by_tenant on jobs (tenant, id);
-- Who is first in each line, without reading the lines.
create index jobs_queued on jobs (tenant, model, id) where state = 'queued';
create index jobs_to_start_by on jobs (start_by) where state = 'queued' and start_by is not null;
create index jobs_ended on jobs (tenant, finished_at) where finished_at is not null;

-- J8: the only ways from one state to another; server/jobs/states.ts says the same.
create trigger jobs_move_along_the_edges before update of state on jobs
when old.state <> new.state and (old.state, new.state) not in (values
  ('queued', 'starting'), ('queued', 'canceled'), ('queued', 'expired'), ('queued', 'failed'),
  ('starting', 'processing'), ('starting', 'queued'), ('starting', 'canceled'), ('starting', 'failed'),
  ('processing', 'succeeded'), ('processing', 'queued'), ('processing', 'canceled'), ('processing', 'failed'))
begin
  select raise(abort, 'a job does not go from this state to that');
end;

-- What a step came to: it is not done again.
create table job_steps (
  job text not null references jobs (id) on delete cascade,
  name text not null,
  result text not null check (json_valid(result)),
  at integer not null,
  primary key (job, name)
) strict, without rowid;

create table job_events (
  sequence integer primary key,
  job text not null references jobs (id) on delete cascade,
  type text not null,
  data text not null check (json_valid(data)),
  at integer not null
) strict;
create index job_events_by_job on job_events (job, sequence);

create table artefacts (
  id text primary key,
  job text not null references jobs (id) on delete cascade,
  tenant text not null,
  name text not null,
  content_type text not null,
  bytes integer not null,
  metadata text not null check (json_valid(metadata)),
  created_at integer not null
) strict;
create index artefacts_by_job on artefacts (job);
create index artefacts_by_tenant on artefacts (tenant);

-- Jobs leave rows in the usage table, under the names of their features.
create table usage_next (
  sequence integer primary key,
  id text not null,
  at integer not null,
  tenant text not null,
  key_id text not null,
  feature text not null check (feature <> ''),
  model text not null,
  status text not null check (status in ('ok', 'failed', 'refused', 'abandoned')),
  error_code text,
  prompt_tokens integer not null default 0 check (prompt_tokens >= 0),
  completion_tokens integer not null default 0 check (completion_tokens >= 0),
  images integer not null default 0 check (images >= 0),
  queue_ms integer not null default 0 check (queue_ms >= 0),
  swap_ms integer not null default 0 check (swap_ms >= 0),
  run_ms integer not null default 0 check (run_ms >= 0),
  gpu_ms integer not null default 0 check (gpu_ms >= 0),
  credits integer not null default 0 check (credits >= 0)
) strict;
insert into usage_next select * from usage;
drop table usage;
alter table usage_next rename to usage;
create index usage_by_tenant on usage (tenant, at);
create index usage_charged on usage (id) where credits > 0;
