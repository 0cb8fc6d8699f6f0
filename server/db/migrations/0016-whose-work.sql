-- Whether everybody of a company sees everybody's jobs and uploads.
alter table tenants add column shares_work integer not null default 0 check (shares_work in (0, 1));
-- Whether a job goes on although whoever asked for it has lost the right to ask.
alter table jobs add column outlives_asker integer not null default 0 check (outlives_asker in (0, 1));
create index jobs_of_one on jobs (tenant, person, id);
create index uploads_of_one on uploads (tenant, person, id);
