-- One row for each request that reached admission: who, what, how long, how it ended. Prompts are never stored.
create table usage (
  sequence integer primary key,
  id text not null,
  at integer not null,
  tenant text not null,
  key_id text not null,
  feature text not null check (feature in ('chat', 'completion', 'embedding', 'image')),
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

create index usage_by_tenant on usage (tenant, at);
