-- A model version that is rolled in: the persons it makes, until it takes effect, and what changes meanwhile.

create table rolled_record (             -- the person of a record under the version that is rolled in
  tenant_id     int not null,
  record_id     bigint not null,
  first_id      bigint not null,         -- the smallest record of its person
  component_id  bigint,                  -- the smallest record that likely pairs reach; null where there are none
  primary key (tenant_id, record_id)
);

create table rolled_touched (            -- records that came, changed or went while a version is rolled in
  tenant_id     int not null,
  record_id     bigint not null,
  keys          bytea[] not null,        -- all that they had before
  primary key (tenant_id, record_id)
);

do $$
declare t text;
begin
  foreach t in array array['rolled_record', 'rolled_touched'] loop
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
    insert into rolled_touched (tenant_id, record_id, keys)
    select tenant_id, record_id, '{}' from after_rows order by record_id
    on conflict (tenant_id, record_id) do nothing;
  elsif tg_op = 'DELETE' then
    insert into rolled_touched as t (tenant_id, record_id, keys)
    select tenant_id, record_id, keys || link_keys from before_rows order by record_id
    on conflict (tenant_id, record_id) do update set keys = t.keys || excluded.keys;
  else
    insert into rolled_touched as t (tenant_id, record_id, keys)
    select b.tenant_id, b.record_id, b.keys || b.link_keys
    from before_rows b join after_rows a using (tenant_id, record_id)
    where a.content_key <> b.content_key order by b.record_id
    on conflict (tenant_id, record_id) do update set keys = t.keys || excluded.keys;
  end if;
  return null;
end $$;

create trigger record_came after insert on record
  referencing new table as after_rows for each statement execute function note_touched();
create trigger record_changed after update on record
  referencing old table as before_rows new table as after_rows for each statement execute function note_touched();
create trigger record_went after delete on record
  referencing old table as before_rows for each statement execute function note_touched();
