-- Pictures that tenants sent, to be used by jobs.
create table uploads (
  id text primary key,
  tenant text not null,
  person text,
  -- What it was called where it came from: shown, never used as a path.
  name text not null,
  content_type text not null,
  width integer not null,
  height integer not null,
  bytes integer not null check (bytes >= 0),
  created_at integer not null,
  expires_at integer not null
) strict;
create index uploads_by_tenant on uploads (tenant, id);
create index uploads_by_end on uploads (expires_at);

-- Which of them a job was asked for with: they stay while it has not ended.
create table job_uploads (
  job text not null references jobs (id) on delete cascade,
  upload text not null references uploads (id) on delete cascade,
  primary key (job, upload)
) strict, without rowid;
create index job_uploads_by_upload on job_uploads (upload);

-- Jobs that were asked for together, and jobs that are another one once more.
alter table jobs add column batch text;
alter table jobs add column retry_of text;
create index jobs_by_batch on jobs (batch) where batch is not null;

-- A small picture of a picture: the name of its file.
alter table artefacts add column thumbnail text;
create index artefacts_by_thumbnail on artefacts (thumbnail) where thumbnail is not null;

-- What lies on the disk for each tenant, kept by the database so that it is never out of step.
create table storage (
  tenant text primary key,
  bytes integer not null
) strict, without rowid;
insert into storage (tenant, bytes) select tenant, sum(bytes) from artefacts group by tenant;
create trigger artefacts_take_room after insert on artefacts begin
  insert into storage (tenant, bytes) values (new.tenant, new.bytes)
    on conflict (tenant) do update set bytes = bytes + excluded.bytes;
end;
create trigger artefacts_give_room after delete on artefacts begin
  update storage set bytes = bytes - old.bytes where tenant = old.tenant;
end;
create trigger uploads_take_room after insert on uploads begin
  insert into storage (tenant, bytes) values (new.tenant, new.bytes)
    on conflict (tenant) do update set bytes = bytes + excluded.bytes;
end;
create trigger uploads_give_room after delete on uploads begin
  update storage set bytes = bytes - old.bytes where tenant = old.tenant;
end;
