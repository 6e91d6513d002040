-- The foundation: tenants, people, events, contacts, decisions, agents, access.
-- Runs as the owner role with search_path = firstring; store/migrate.py grants the application role its rights afterwards.
-- Every table has tenant_id and forced row-level security (see the last block). Forced means for the owner too: a later
-- migration that changes rows sets app.tenant for one tenant after the other.
-- Tables that take rows on the ring path or by the million have no foreign key to tenant: each insert would lock, and
-- write to, that one row. Tenants are never removed.

create table tenant (
  tenant_id     int generated always as identity primary key,
  name          text not null unique check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  wrapped_key   bytea not null,          -- the tenant's secret, AES-GCM under the master key
  created_at    timestamptz not null
);

-- --- people ------------------------------------------------------------------------------------------------------

create table source (
  tenant_id     int not null references tenant,
  source_id     int generated always as identity,
  name          text not null,
  created_at    timestamptz not null,
  primary key (tenant_id, source_id),
  unique (tenant_id, name)
);

create table person (
  tenant_id     int not null,
  person_id     bigint generated always as identity,
  merged_into   bigint,                  -- a redirect that holds for ever; always names a living person
  created_at    timestamptz not null,
  primary key (tenant_id, person_id)
);
create index person_redirect on person (tenant_id, merged_into) where merged_into is not null;

create table person_change (             -- history of the partition: merges and splits, with their cause
  tenant_id     int not null,
  change_id     bigint generated always as identity,
  kind          text not null check (kind in ('merged', 'split')),
  person_id     bigint not null,         -- who stays
  other_id      bigint not null,         -- who was merged in, or split off
  cause         text not null,
  changed_at    timestamptz not null,
  primary key (tenant_id, change_id)
);

create table record (
  tenant_id     int not null,
  record_id     bigint generated always as identity,
  source_id     int not null,
  external_key  bytea not null,          -- HMAC of the source's own record id
  version       int not null default 1,
  content_key   bytea not null,          -- HMAC of the canonical content: the same row again changes nothing
  person_id     bigint not null,
  keys          bytea[] not null,        -- identifiers and the name + birth date + postcode composite
  link_keys     bytea[] not null,        -- composites that glue records into a person
  wrapped_key   bytea,                   -- this record's data key under the tenant's; null once erased
  sealed        bytea,
  last_seen     timestamptz,
  verified_at   timestamptz,
  created_at    timestamptz not null,
  updated_at    timestamptz not null,
  primary key (tenant_id, record_id)
);
create unique index record_external on record (tenant_id, source_id, external_key);
create index record_person on record (tenant_id, person_id);

create table record_key (                -- both kinds of keys, looked up by equality only
  tenant_id     int not null,
  key           bytea not null,
  record_id     bigint not null,
  primary key (tenant_id, key, record_id)
);

create table import_run (                -- so that an interrupted import goes on where it stopped
  tenant_id     int not null references tenant,
  source_id     int not null,
  file_key      bytea not null,          -- HMAC of the file's content and map
  rows_done     bigint not null default 0,
  applied       bigint not null default 0,
  unchanged     bigint not null default 0,
  rejected      bigint not null default 0,
  finished_at   timestamptz,
  started_at    timestamptz not null,
  primary key (tenant_id, source_id, file_key)
);

-- --- events ------------------------------------------------------------------------------------------------------

create table event (
  tenant_id     int not null,
  event_id      bigint generated always as identity,
  message_key   bytea not null,          -- HMAC of source and message id: the same event never counts twice
  record_id     bigint not null,
  channel       text not null,
  occurred_at   timestamptz not null,
  received_at   timestamptz not null,
  issue_kind    text,
  issue_effect  smallint not null default 0,
  wrapped_key   bytea,
  sealed        bytea,
  primary key (tenant_id, event_id)
);
create unique index event_message on event (tenant_id, message_key);
create index event_of_record on event (tenant_id, record_id, occurred_at desc);
create index event_issue on event (tenant_id, record_id, occurred_at desc) where issue_kind is not null;

-- --- agents ------------------------------------------------------------------------------------------------------

create table agent (
  tenant_id     int not null references tenant,
  agent_id      bigint generated always as identity,
  version       int not null default 1,
  presence      text not null default 'offline' check (presence in ('ready', 'away', 'offline')),
  presence_at   timestamptz not null,
  primary key (tenant_id, agent_id)
);

create table agent_version (             -- every version of a profile, so that decisions can be re-derived
  tenant_id     int not null,
  agent_id      bigint not null,
  version       int not null,
  profile       jsonb not null,
  created_at    timestamptz not null,
  primary key (tenant_id, agent_id, version)
);

create table agent_place (               -- one row per place an agent has on a channel: capacity cannot be exceeded
  tenant_id     int not null,
  agent_id      bigint not null,
  channel       text not null,
  place         smallint not null,
  version       int not null,
  free_since    timestamptz,             -- null: taken, or the agent is not ready
  assignment_id uuid,
  primary key (tenant_id, agent_id, channel, place),
  check (assignment_id is null or free_since is null)
);
create index agent_place_free on agent_place (tenant_id, channel, free_since) where free_since is not null;

-- --- contacts ----------------------------------------------------------------------------------------------------

create table contact (
  tenant_id     int not null,
  contact_id    uuid not null,
  channel       text not null,
  call_key      bytea not null,          -- HMAC of adapter kind and the channel's own id
  adapter       text not null,
  state         text not null check (state in ('offered', 'waiting', 'assigned', 'answered', 'ended')),
  revision      int not null,
  priority      int not null default 0,
  need          jsonb not null,
  excluded      bigint[] not null default '{}',
  excluded_until timestamptz,
  person_id     bigint,
  offered_at    timestamptz not null,
  waiting_since timestamptz,
  answered_at   timestamptz,
  ended_at      timestamptz,
  end_reason    text,
  outcome       text,                    -- what the agent noted at the end: a code
  logged_at     timestamptz,             -- when it became a touch in its person's journey
  wrapped_key   bytea,
  sealed        bytea,                   -- Contact and Evidence as last known
  primary key (tenant_id, contact_id)
);
create unique index contact_open on contact (tenant_id, call_key) where state <> 'ended';
create index contact_unassigned on contact (tenant_id, channel, priority desc, offered_at) where state in ('offered', 'waiting');
create index contact_to_log on contact (tenant_id, ended_at) where state = 'ended' and logged_at is null;
create index contact_offered_at on contact (tenant_id, offered_at desc);

create table assignment (
  tenant_id     int not null,
  assignment_id uuid not null,
  contact_id    uuid not null,
  agent_id      bigint not null,
  agent_version int not null,            -- of the profile at the claim
  channel       text not null,
  place         smallint not null,
  revision      int not null,
  epoch         bigint not null default 0, -- of the queue task's lease, 0 for a decision while it rings
  state         text not null check (state in ('offered', 'ringing', 'answered', 'wrap_up', 'ended')),
  outcome       text,
  offered_at    timestamptz not null,
  ringing_at    timestamptz,
  answered_at   timestamptz,
  ended_at      timestamptz,
  expires_at    timestamptz not null,
  primary key (tenant_id, assignment_id),
  check ((state = 'ended') = (ended_at is not null))
);
-- A contact in wrap-up has left the line: the place is still held, the contact is not assigned to anyone else.
create unique index assignment_contact_live on assignment (tenant_id, contact_id) where ended_at is null;
create unique index assignment_place_live on assignment (tenant_id, agent_id, channel, place) where ended_at is null;
create index assignment_expiry on assignment (tenant_id, expires_at) where ended_at is null;

create table decision (
  tenant_id     int not null,
  contact_id    uuid not null,
  revision      int not null,
  cause         text not null,
  outcome       text not null,
  agent_id      bigint,
  agent_version int,
  assignment_id uuid,
  decided_at    timestamptz not null,
  decide_ms     real not null,
  propensity    real not null,
  versions      jsonb not null,
  wrapped_key   bytea,
  sealed        bytea,                   -- contact, evidence, what was read, what was derived
  primary key (tenant_id, contact_id, revision)
);
create index decision_decided_at on decision (tenant_id, decided_at desc);

create table lease (                     -- the elected queue task of a tenant
  tenant_id     int not null references tenant,
  name          text not null,
  holder        text not null,
  epoch         bigint not null,
  expires_at    timestamptz not null,
  primary key (tenant_id, name)
);

-- --- access ------------------------------------------------------------------------------------------------------

create table staff (
  tenant_id     int not null references tenant,
  staff_id      bigint generated always as identity,
  login         text not null,
  password_hash text not null,           -- argon2id
  role          text not null check (role in ('agent', 'supervisor', 'administrator')),
  agent_id      bigint,
  active        boolean not null default true,
  created_at    timestamptz not null,
  primary key (tenant_id, staff_id),
  unique (tenant_id, login)
);

create table staff_session (
  tenant_id     int not null references tenant,
  session_key   bytea not null,          -- SHA-256 of the cookie's secret
  staff_id      bigint not null,
  csrf          text not null,
  created_at    timestamptz not null,
  expires_at    timestamptz not null,
  primary key (tenant_id, session_key)
);

create table api_token (
  tenant_id     int not null references tenant,
  token_id      bigint generated always as identity,
  token_key     bytea not null,          -- SHA-256 of the secret
  role          text not null check (role in ('administrator', 'adapter', 'import', 'events', 'write_key', 'read')),
  name          text not null,
  created_at    timestamptz not null,
  revoked_at    timestamptz,
  primary key (tenant_id, token_id),
  unique (tenant_id, token_key)
);

-- --- row-level security ------------------------------------------------------------------------------------------
-- Forced for the owner too. nullif: an unset tenant sees nothing and is no error.

do $$
declare t text;
begin
  foreach t in array array['source', 'person', 'person_change', 'record', 'record_key', 'import_run', 'event', 'agent',
                           'agent_version', 'agent_place', 'contact', 'assignment', 'decision', 'lease', 'staff',
                           'staff_session', 'api_token'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;

-- The registry of tenants: every program may list it (its keys are wrapped), and add to it.
alter table tenant enable row level security;
alter table tenant force row level security;
create policy registry on tenant using (true);
