-- When a job that was put back may begin again; null: at once.
alter table jobs add column not_before integer;
-- How often something the job needs was away for a while: an engine, the queue, the disk.
alter table jobs add column outages integer not null default 0;
drop index jobs_queued;
create index jobs_queued on jobs (tenant, model, id, not_before) where state = 'queued';
