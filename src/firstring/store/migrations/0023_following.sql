-- Patterns follow events in fewer round trips.

-- What is needed to move patterns on by events that were stored now: the lock under which no record moves between persons,
-- which patterns are on, whose the records are, their persons' states, locked until the transaction ends, and whether there
-- are states that are to be made anew. Nothing but the set where no patterns are on.
create function follow_read(p_tenant int, p_records bigint[],
                            out version int, out is_on boolean, out changed_at timestamptz, out rebuilt_to bigint,
                            out any_stale boolean, out records bigint[], out persons bigint[],
                            out subjects bigint[], out contents bytea[])
language plpgsql as $$
#variable_conflict use_column
begin
  perform pg_advisory_xact_lock_shared(1179796035, p_tenant);
  select s.version, s.is_on, s.changed_at, s.rebuilt_to into version, is_on, changed_at, rebuilt_to
  from pattern_set s where s.tenant_id = p_tenant;
  if is_on is not true then return; end if;
  select array_agg(r.record_id), array_agg(r.person_id) into follow_read.records, follow_read.persons
  from record r where r.tenant_id = p_tenant and r.record_id = any (p_records);
  select array_agg(l.subject_id), array_agg(l.content) into subjects, contents
  from (
    select p.subject_id, p.content from pattern_state p
    where p.tenant_id = p_tenant and p.kind = 0 and p.subject_id = any (follow_read.persons)
    order by p.subject_id for update
  ) l;
  any_stale := exists (select from pattern_stale s where s.tenant_id = p_tenant);
end $$;

-- Events that change hands are noted for segments once for a statement, not one by one.
create or replace function segment_moved_event() returns trigger language plpgsql as $$
begin
  if not exists (select from segment_set where is_on) then return null; end if;
  insert into segment_stale (tenant_id, record_id)
  select distinct x.tenant_id, x.record_id
  from (
    select o.tenant_id, r.record_id
    from was o join became n on n.tenant_id = o.tenant_id and n.event_id = o.event_id and n.record_id <> o.record_id
    cross join lateral (values (o.record_id), (n.record_id)) as r(record_id)
  ) x
  join segment_set s on s.tenant_id = x.tenant_id and s.is_on;
  return null;
end $$;
drop trigger event_moved_segments on event;
create trigger event_moved_segments after update on event referencing old table as was new table as became
  for each statement execute function segment_moved_event();
