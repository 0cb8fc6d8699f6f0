-- What the operator changed of the plans, prices and packages that are delivered.
create table offers (
  name text primary key,
  definition text not null check (json_valid(definition))
) strict;

create table tenants (
  id text primary key,
  name text not null,
  plan text not null,
  overrides text not null default '{}' check (json_valid(overrides)),
  allow_nsfw integer not null default 0 check (allow_nsfw in (0, 1)),
  blocked_phrases text not null default '[]' check (json_valid(blocked_phrases)),
  -- Whether requests are kept with their prompts: not at all, or encrypted.
  history text not null default 'none' check (history in ('none', 'encrypted')),
  suspended_at integer,
  created_at integer not null,
  -- Goes up with every change, so that what was made of the row can be told to be old.
  version integer not null default 1
) strict;
create trigger tenants_count_versions after update on tenants when new.version = old.version begin
  update tenants set version = old.version + 1 where id = new.id;
end;

create table users (
  id text primary key,
  tenant text not null references tenants (id) on delete cascade,
  -- Normalised: NFKC, small letters.
  email text not null unique,
  name text not null,
  role text not null check (role in ('admin', 'member')),
  password_hash text not null,
  -- What the company allows this person; null is everything the plan allows.
  models text check (models is null or json_valid(models)),
  features text check (features is null or json_valid(features)),
  email_verified_at integer,
  disabled_at integer,
  created_at integer not null
) strict;
create index users_by_tenant on users (tenant);

create table sessions (
  id text primary key,
  user text not null references users (id) on delete cascade,
  created_at integer not null,
  expires_at integer not null,
  ended_at integer,
  address text,
  agent text
) strict;
create index sessions_by_user on sessions (user);

create table refresh_tokens (
  hash text primary key,
  session text not null references sessions (id) on delete cascade,
  created_at integer not null,
  used_at integer
) strict;
create index refresh_tokens_by_session on refresh_tokens (session);

-- Links sent by e-mail: good once, for an hour or so.
create table mailed_tokens (
  hash text primary key,
  user text not null references users (id) on delete cascade,
  purpose text not null check (purpose in ('reset', 'verify')),
  expires_at integer not null
) strict;
create index mailed_tokens_by_user on mailed_tokens (user);

create table invitations (
  id text primary key,
  hash text not null unique,
  -- The company one is invited to; null invites to found one.
  tenant text references tenants (id) on delete cascade,
  email text not null,
  role text not null check (role in ('admin', 'member')),
  plan text,
  credits integer not null default 0 check (credits >= 0),
  created_at integer not null,
  expires_at integer not null,
  accepted_at integer
) strict;
create index invitations_by_tenant on invitations (tenant);

create table api_keys (
  id text primary key,
  tenant text not null references tenants (id) on delete cascade,
  -- Null: the operator made it. A key does not outlive the person who made it.
  created_by text references users (id) on delete cascade,
  name text not null,
  hash text not null unique,
  prefix text not null,
  last_four text not null,
  models text check (models is null or json_valid(models)),
  features text check (features is null or json_valid(features)),
  created_at integer not null,
  expires_at integer,
  revoked_at integer,
  -- The key that took over from this one.
  rotated_to text references api_keys (id) on delete set null,
  last_used_at integer
) strict;
create index api_keys_by_tenant on api_keys (tenant);
create index api_keys_by_user on api_keys (created_by);

create table outbox (
  id text primary key,
  recipient text not null,
  subject text not null,
  body text not null,
  created_at integer not null,
  sent_at integer,
  attempts integer not null default 0,
  next_at integer not null,
  error text
) strict;
create index outbox_waiting on outbox (next_at) where sent_at is null;
