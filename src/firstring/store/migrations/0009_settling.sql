-- A version comes into force at once, and its persons region by region: see docs/decisions/switching-versions.md.

-- While true, some records still have the persons and keys of the version before: rolled_record says which.
alter table identity_model add column settling boolean not null default false;

-- What moves together: records that components, or copies of one content, join. Null once the region is settled.
alter table rolled_record add column region_id bigint default 0;
create index rolled_record_region on rolled_record (tenant_id, region_id) where region_id is not null;

-- As in 0006; a record whose linking keys change though it does not (a copy that takes part from now on, or no more) is
-- noted too.
create or replace function note_touched() returns trigger
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
    where a.content_key <> b.content_key or a.link_keys <> b.link_keys order by b.record_id
    on conflict (tenant_id, record_id) do nothing;
  end if;
  return null;
end $$;
