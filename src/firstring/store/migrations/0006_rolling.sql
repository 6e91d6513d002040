-- A model version that is rolled in: what it makes of the records, until it takes effect, and what changes meanwhile.

create table rolled_record (             -- a record as the version saw it: its person and its component
  tenant_id     int not null,
  record_id     bigint not null,
  first_id      bigint not null,         -- the first record of its person
  component_id  bigint not null,         -- the first record that likely pairs reach
  is_copy       boolean not null,
  primary key (tenant_id, record_id)
);

create table rolled_key (                -- linking keys that a record gets, where they are not those that it has
  tenant_id     int not null,
  record_id     bigint not null,
  link_keys     bytea[] not null,
  primary key (tenant_id, record_id)
);

create table rolled_held (               -- merges that a guard holds back, by the first records of the persons
  tenant_id     int not null,
  left_id       bigint not null,
  right_id      bigint not null,
  guard         text not null,
  probability   real not null,
  primary key (tenant_id, left_id, right_id)
);

create table rolled_touched (            -- records that came, changed or went meanwhile
  tenant_id     int not null,
  record_id     bigint not null,
  external_key  bytea not null,
  link_keys     bytea[] not null,        -- before the first of it
  primary key (tenant_id, record_id)
);

do $$
declare t text;
begin
  foreach t in array array['rolled_record', 'rolled_key', 'rolled_held', 'rolled_touched'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;

-- One statement is one tenant's: row-level security sees to it. Without a version that is rolled in, one look at a table
-- of a few rows is all it costs.
create function note_touched() returns trigger
language plpgsql as $$
begin
  if not exists (select 1 from identity_model where state = 'rolling') then
    return null;
  end if;
  if tg_op = 'INSERT' then
    insert into rolled_touched (tenant_id, record_id, external_key, link_keys)
    select tenant_id, record_id, external_key, '{}' from after_rows order by record_id
    on conflict (tenant_id, record_id) do nothing;
  elsif tg_op = 'DELETE' then
    insert into rolled_touched (tenant_id, record_id, external_key, link_keys)
    select tenant_id, record_id, external_key, link_keys from before_rows order by record_id
    on conflict (tenant_id, record_id) do nothing;
  else
    insert into rolled_touched (tenant_id, record_id, external_key, link_keys)
    select b.tenant_id, b.record_id, b.external_key, b.link_keys
    from before_rows b join after_rows a using (tenant_id, record_id)
    where a.content_key <> b.content_key order by b.record_id
    on conflict (tenant_id, record_id) do nothing;
  end if;
  return null;
end $$;

create trigger record_came after insert on record
  referencing new table as after_rows for each statement execute function note_touched();
create trigger record_changed after update on record
  referencing old table as before_rows new table as after_rows for each statement execute function note_touched();
create trigger record_went after delete on record
  referencing old table as before_rows for each statement execute function note_touched();
