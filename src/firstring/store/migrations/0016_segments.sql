-- Segments: who is in which, and whose membership is to be looked at again.

create table segment (
  tenant_id     int not null references tenant,
  segment       text not null,           -- its id
  title         text not null,
  condition     text not null,           -- CEL over a person's profile
  is_on         boolean not null,
  emptied       boolean not null,        -- off, and nobody is left in it
  loaded_at     timestamptz not null,
  loaded_by     text not null,
  primary key (tenant_id, segment)
);

create table segment_set (               -- one row a tenant that ever had segments
  tenant_id     int not null references tenant,
  version       int not null,            -- one more with each change of what is on
  is_on         boolean not null,        -- whether any segment is
  walked_to     bigint,                  -- everybody is looked at, by person: up to here; null: nobody is just now
  walk_begun_at timestamptz not null,
  is_sweep      boolean not null,        -- because time has passed, not because segments were loaded
  settles_at    bigint,                  -- transactions from this one on note whom they change
  settled       boolean not null,        -- those before it are over: the walk may begin
  primary key (tenant_id)
);

create table segment_member (
  tenant_id     int not null references tenant,
  segment       text not null,
  person_id     bigint not null,
  entered_at    timestamptz not null,
  primary key (tenant_id, segment, person_id)
);
create index segment_member_person on segment_member (tenant_id, person_id);

create table segment_stale (             -- only ever added to by those who change something: nobody waits for another
  tenant_id     int not null,
  stale_id      bigint generated always as identity,
  person_id     bigint,
  record_id     bigint,                  -- where the person is whoever has this record when it is looked at
  primary key (tenant_id, stale_id)
);

-- --- who is to be looked at again --------------------------------------------------------------------------------

create function segments_on(p_tenant int) returns boolean language sql stable as $$
  select exists (select from segment_set where tenant_id = p_tenant and is_on)
$$;

create function segment_new_rows() returns trigger language plpgsql as $$
begin
  insert into segment_stale (tenant_id, record_id)
  select distinct n.tenant_id, n.record_id from added n join segment_set s on s.tenant_id = n.tenant_id and s.is_on;
  return null;
end $$;
create trigger event_segments after insert on event referencing new table as added
  for each statement execute function segment_new_rows();
create trigger record_segments after insert on record referencing new table as added
  for each statement execute function segment_new_rows();

create function segment_gone_events() returns trigger language plpgsql as $$
begin
  insert into segment_stale (tenant_id, record_id)
  select distinct g.tenant_id, g.record_id from gone g join segment_set s on s.tenant_id = g.tenant_id and s.is_on;
  return null;
end $$;
create trigger event_gone_segments after delete on event referencing old table as gone
  for each statement execute function segment_gone_events();

create function segment_moved_event() returns trigger language plpgsql as $$
begin
  if segments_on(new.tenant_id) then
    insert into segment_stale (tenant_id, record_id) values (old.tenant_id, old.record_id), (new.tenant_id, new.record_id);
  end if;
  return null;
end $$;
create trigger event_moved_segments after update of record_id on event for each row
  when (old.record_id is distinct from new.record_id) execute function segment_moved_event();

create function segment_changed_record() returns trigger language plpgsql as $$
begin
  if segments_on(new.tenant_id) then
    insert into segment_stale (tenant_id, person_id) values (new.tenant_id, new.person_id);
    if old.person_id <> new.person_id then
      insert into segment_stale (tenant_id, person_id) values (old.tenant_id, old.person_id);
    end if;
  end if;
  return null;
end $$;
create trigger record_changed_segments after update on record for each row
  when (old.content_key is distinct from new.content_key or old.person_id is distinct from new.person_id
        or old.chosen is distinct from new.chosen or old.last_seen is distinct from new.last_seen
        or old.verified_at is distinct from new.verified_at)
  execute function segment_changed_record();

create function segment_gone_records() returns trigger language plpgsql as $$
begin
  insert into segment_stale (tenant_id, person_id)
  select distinct g.tenant_id, g.person_id from gone g join segment_set s on s.tenant_id = g.tenant_id and s.is_on;
  return null;
end $$;
create trigger record_gone_segments after delete on record referencing old table as gone
  for each statement execute function segment_gone_records();

create function segment_enriched() returns trigger language plpgsql as $$
begin
  if segments_on(coalesce(new.tenant_id, old.tenant_id)) then
    insert into segment_stale (tenant_id, record_id)
    values (coalesce(new.tenant_id, old.tenant_id), coalesce(new.record_id, old.record_id));
  end if;
  return null;
end $$;
create trigger enrichment_segments after insert or update or delete on enrichment
  for each row execute function segment_enriched();

create function segment_fired() returns trigger language plpgsql as $$
begin
  if segments_on(new.tenant_id) then
    insert into segment_stale (tenant_id, person_id) values (new.tenant_id, new.person_id);
  end if;
  return null;
end $$;
create trigger fired_segments after insert or update of retracted_at on pattern_fired
  for each row execute function segment_fired();

-- --- the feed of changes -----------------------------------------------------------------------------------------

create function note_entered() returns trigger language plpgsql as $$
begin
  insert into change (tenant_id, kind, person_id, what)
  select n.tenant_id, 'entered', n.person_id, n.segment from added n join change_feed f on f.tenant_id = n.tenant_id
  order by n.person_id, n.segment;
  return null;
end $$;
create trigger member_entered after insert on segment_member referencing new table as added
  for each statement execute function note_entered();

create function note_left() returns trigger language plpgsql as $$
begin
  insert into change (tenant_id, kind, person_id, what)
  select g.tenant_id, 'left', g.person_id, g.segment from gone g join change_feed f on f.tenant_id = g.tenant_id
  order by g.person_id, g.segment;
  return null;
end $$;
create trigger member_left after delete on segment_member referencing old table as gone
  for each statement execute function note_left();

do $$
declare t text;
begin
  foreach t in array array['segment', 'segment_set', 'segment_member', 'segment_stale'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
