-- Durable timers, and patterns as they run: which are on, what is under way for whom, what fired.

create table timer (                     -- at some time, something is to be done: by whichever server runs then
  tenant_id     int not null references tenant,
  kind          text not null,           -- who handles it
  key           text not null,           -- which one of the kind: an id, never anything personal
  due_at        timestamptz not null,
  next_at       timestamptz not null,    -- when it is looked at next: due_at, or the end of somebody's turn; infinity: given up
  attempts      smallint not null default 0,
  turn          int not null default 0,  -- whoever finishes must be the one who took it last, and it was not set anew since
  wrapped_key   bytea,
  sealed        bytea,
  primary key (tenant_id, kind, key)
);
create index timer_next on timer (tenant_id, next_at);

-- Which patterns there are. A declaration keeps its number for ever: what is stored knows it by that.

create table pattern (
  tenant_id     int not null references tenant,
  number        int not null check (number between 0 and 65535),
  pattern       text not null,           -- its id
  digest        text not null,           -- of what it means
  declaration   text not null,           -- YAML
  loaded_at     timestamptz not null,
  loaded_by     text not null,
  is_current    boolean not null,        -- the newest of its id
  is_on         boolean not null,
  switched_at   timestamptz,
  primary key (tenant_id, number),
  check (is_current or not is_on)
);
create unique index pattern_digest on pattern (tenant_id, pattern, digest);
create unique index pattern_current on pattern (tenant_id, pattern) where is_current;

create table pattern_set (               -- one row a tenant that ever had patterns
  tenant_id     int not null references tenant,
  version       int not null,            -- one more with each change of what is on
  is_on         boolean not null,        -- whether any pattern is
  changed_at    timestamptz not null,    -- when that was last
  rebuilt_to    bigint,                  -- states are made anew from the log, by person: up to here; null: all are
  walked_to     bigint not null default 0, -- where the search for states that can matter no more goes on
  primary key (tenant_id)
);

create table pattern_state (             -- what is under way. A function of the event log and the patterns: can be made anew
  tenant_id     int not null references tenant,
  kind          smallint not null check (kind in (0, 1)), -- 0 of a person, 1 of a household
  subject_id    bigint not null,         -- the person; of a household the lowest of its persons
  last_ms       bigint not null,         -- its last event, in ms since 1970
  next_due_ms   bigint,                  -- when something comes true if nothing happens before
  content       bytea not null,          -- store/journey/states.Kept
  primary key (tenant_id, kind, subject_id)
) with (fillfactor = 70);
create index pattern_due on pattern_state (tenant_id, next_due_ms) where next_due_ms is not null;

create table pattern_home (              -- in which household's state a person's events are
  tenant_id     int not null references tenant,
  person_id     bigint not null,
  subject_id    bigint not null,
  primary key (tenant_id, person_id)
);
create index pattern_home_subject on pattern_home (tenant_id, subject_id);

create table pattern_stale (             -- persons whose state is no longer what their events make: it is made anew
  tenant_id     int not null references tenant,
  stale_id      bigint generated always as identity,
  person_id     bigint not null,
  primary key (tenant_id, stale_id)
);
create index pattern_stale_person on pattern_stale (tenant_id, person_id);

create table pattern_fired (
  tenant_id     int not null references tenant,
  firing_id     bigint generated always as identity,
  kind          smallint not null check (kind in (0, 1)),
  subject_id    bigint not null,         -- as in pattern_state
  person_id     bigint not null,         -- the person; of a household whose event it was
  record_id     bigint not null,         -- of the event by which it fired, or the last one before the time had passed
  event_id      bigint not null,         -- by which it fired; 0: by the passing of time
  number        int not null,
  pattern       text not null,
  valence       text not null,
  at            timestamptz not null,    -- when it came true
  begun_at      timestamptz not null,    -- when its match began
  same_key      bigint not null,         -- of `same`: 48 bits of a hash of its value, under no key; 0 without
  found_at      timestamptz not null,    -- when we saw it
  is_past       boolean not null,        -- seen too late to do anything about it
  next_at       timestamptz,             -- when it is looked whether anything was done; null: no more
  attempts      smallint not null default 0,
  acted_at      timestamptz,             -- when it was decided what to do
  retracted_at  timestamptz,             -- it is not so after all: of the log as it is now it does not follow
  primary key (tenant_id, firing_id)
);
create unique index pattern_fired_once on pattern_fired (tenant_id, kind, subject_id, number, at, begun_at, same_key, event_id);
create index pattern_fired_of on pattern_fired (tenant_id, number, at);
create index pattern_fired_person on pattern_fired (tenant_id, person_id, at);
create index pattern_fired_open on pattern_fired (tenant_id, next_at) where next_at is not null;

-- A record that goes to another person, or goes, takes its events along: the states of both are made anew. At the commit,
-- and alone: whoever steps states reads which person a record is of, and is done before, or begins after.
create function note_moved() returns trigger
language plpgsql as $$
begin
  if not exists (select from pattern_set where tenant_id = old.tenant_id and is_on) then
    return null;
  end if;
  perform pg_advisory_xact_lock(1179796035, old.tenant_id);
  insert into pattern_stale (tenant_id, person_id) values (old.tenant_id, old.person_id);
  if tg_op = 'UPDATE' then
    insert into pattern_stale (tenant_id, person_id) values (new.tenant_id, new.person_id);
  end if;
  return null;
end $$;
create constraint trigger record_moved after update on record deferrable initially deferred for each row
  when (old.person_id is distinct from new.person_id) execute function note_moved();
create constraint trigger record_gone after delete on record deferrable initially deferred for each row
  execute function note_moved();

do $$
declare t text;
begin
  foreach t in array array['timer', 'pattern', 'pattern_set', 'pattern_state', 'pattern_home', 'pattern_stale', 'pattern_fired'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
