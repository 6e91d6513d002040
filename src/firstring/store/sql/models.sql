-- Training on the store, rolling a model version in, drift.

-- name: extent
-- How many records there are, and the largest id.
select count(*) as records, coalesce(max(record_id), 0) as last_id from record where tenant_id = $1

-- name: last_record
select coalesce(max(record_id), 0) from record where tenant_id = $1

-- name: sources
select source_id, name from source where tenant_id = $1 order by name

-- name: records_after
select record_id, source_id, external_key, content_key, link_keys, wrapped_key, sealed, compared from record
where tenant_id = $1 and record_id > $2 and record_id <= $3 order by record_id limit $4

-- name: versions
select model_id, version, state, threshold, report, trained_at, activated_at from identity_model
where tenant_id = $1 order by model_id

-- name: note_report
-- Adds to what is known of a version: training, roll-in and drift have a part each.
update identity_model set report = coalesce(report, '{}') || $3 where tenant_id = $1 and model_id = $2

-- name: decisions
-- Decisions in force, and the record of each side where it is there.
select d.decision_id, d.kind, l.record_id as left_id, r.record_id as right_id
from link_decision d
left join record l on l.tenant_id = d.tenant_id and l.source_id = d.left_source and l.external_key = d.left_key
left join record r on r.tenant_id = d.tenant_id and r.source_id = d.right_source and r.external_key = d.right_key
where d.tenant_id = $1 and d.revoked_at is null
order by d.decision_id

-- --- rolling in ---------------------------------------------------------------------------------------------------

-- name: try_rolling_lock
-- One program at a time rolls a tenant's version in: held by a session, gone with it.
select pg_try_advisory_lock(1179796034, $1::int)

-- name: rolling
select model_id from identity_model where tenant_id = $1 and state = 'rolling'

-- name: copy_model
-- The same version once more, as a candidate of its own threshold.
insert into identity_model (tenant_id, version, state, model, wrapped_key, statistics, threshold, report, trained_at)
select tenant_id, version, 'candidate', model, wrapped_key, statistics, $3, report - 'rolling', trained_at
from identity_model where tenant_id = $1 and model_id = $2
returning model_id

-- name: drop_report
update identity_model set report = report - $3::text where tenant_id = $1 and model_id = $2

-- name: forget_records
delete from rolled_record where tenant_id = $1

-- name: forget_keys
delete from rolled_key where tenant_id = $1

-- name: forget_held
delete from rolled_held where tenant_id = $1

-- name: forget_touched
delete from rolled_touched where tenant_id = $1

-- name: touched_among
select record_id from rolled_touched where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: count_touched
select count(*) from rolled_touched where tenant_id = $1

-- name: add_rolled_keys
insert into rolled_key (tenant_id, record_id, link_keys)
select $1, u.record_id, array_remove(array_agg(u.key), ''::bytea)
from unnest($2::bigint[], $3::bytea[]) as u(record_id, key) group by u.record_id

-- name: trim_copies
-- Of records that follow as copies the copy key alone is kept.
update rolled_key k
set link_keys = array(select u.key from unnest(k.link_keys) as u(key) where octet_length(u.key) = 21)
where k.tenant_id = $1 and k.record_id = any ($2::bigint[])

-- name: add_rolled_records
insert into rolled_record (tenant_id, record_id, first_id, component_id, region_id, is_copy)
select $1, w.record_id, w.first_id, w.component_id, w.region_id, w.is_copy
from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::boolean[])
  as w(record_id, first_id, component_id, region_id, is_copy)

-- name: add_rolled_held
insert into rolled_held (tenant_id, left_id, right_id, guard, probability)
select $1, w.left_id, w.right_id, w.guard, w.probability
from unnest($2::bigint[], $3::bigint[], $4::text[], $5::real[]) as w(left_id, right_id, guard, probability)

-- name: persons_now
select record_id, person_id from record where tenant_id = $1

-- name: rolled_key_ids
-- Records that get other keys and were not touched, the next so many.
select k.record_id from rolled_key k
where k.tenant_id = $1 and k.record_id > $2
  and not exists (select from rolled_touched t where t.tenant_id = $1 and t.record_id = k.record_id)
order by k.record_id limit $3

-- name: add_early_keys
-- Keys under the version are looked up from the moment in which it is in force. Kinds of keys that the one before has too
-- ($3: their first bytes) are not added before that: its own look-ups would meet them.
insert into record_key (tenant_id, key, record_id)
select $1, u.key, r.record_id
from record r join rolled_key n on n.tenant_id = $1 and n.record_id = r.record_id
cross join lateral unnest(n.link_keys) as u(key)
where r.tenant_id = $1 and r.record_id = any ($2::bigint[]) and u.key <> all (r.link_keys)
  and get_byte(u.key, 0) <> all ($3::int[])
order by u.key
on conflict do nothing

-- name: late_keys
-- Records that will have other keys of those kinds: they get them in the moment of the switch.
select r.record_id
from record r join rolled_key n on n.tenant_id = $1 and n.record_id = r.record_id
where r.tenant_id = $1 and r.record_id = any ($2::bigint[]) and exists (
  select from unnest(n.link_keys) as u(key) where get_byte(u.key, 0) = any ($3::int[]) and u.key <> all (r.link_keys)
  union all
  select from unnest(r.link_keys) as u(key)
  where octet_length(u.key) = 12 and get_byte(u.key, 0) = any ($3::int[]) and u.key <> all (n.link_keys)
)

-- name: rolled_ids
-- Records for which keys are kept, the next so many.
select record_id from rolled_key where tenant_id = $1 and record_id > $2 order by record_id limit $3

-- name: cut_early_keys
-- What add_early_keys added, also of records that are gone.
delete from record_key k
using (
  select n.record_id, u.key
  from rolled_key n cross join lateral unnest(n.link_keys) as u(key)
  left join record r on r.tenant_id = $1 and r.record_id = n.record_id
  where n.tenant_id = $1 and n.record_id = any ($2::bigint[]) and u.key <> all (coalesce(r.link_keys, '{}'))
    and get_byte(u.key, 0) <> all ($3::int[])
) early
where k.tenant_id = $1 and k.key = early.key and k.record_id = early.record_id

-- name: rolled_keys_among
-- Of these records those that get other keys and were not touched.
select k.record_id from rolled_key k
where k.tenant_id = $1 and k.record_id = any ($2::bigint[])
  and not exists (select from rolled_touched t where t.tenant_id = $1 and t.record_id = k.record_id)

-- name: drop_other_keys
-- Keys that these records have and will not have: of another version, or of glue.
delete from record_key k
using (
  select r.record_id, u.key
  from record r join rolled_key n on n.tenant_id = $1 and n.record_id = r.record_id
  cross join lateral unnest(r.link_keys) as u(key)
  where r.tenant_id = $1 and r.record_id = any ($2::bigint[]) and u.key <> all (n.link_keys)
) old
where k.tenant_id = $1 and k.key = old.key and k.record_id = old.record_id

-- name: add_new_keys
insert into record_key (tenant_id, key, record_id)
select $1, u.key, r.record_id
from record r join rolled_key n on n.tenant_id = $1 and n.record_id = r.record_id
cross join lateral unnest(n.link_keys) as u(key)
where r.tenant_id = $1 and r.record_id = any ($2::bigint[]) and u.key <> all (r.link_keys)
order by u.key
on conflict do nothing

-- name: set_new_keys
update record r
set link_keys = n.link_keys, is_copy = coalesce(c.is_copy, false)
from rolled_key n left join rolled_record c on c.tenant_id = $1 and c.record_id = n.record_id
where r.tenant_id = $1 and n.tenant_id = $1 and n.record_id = r.record_id and r.record_id = any ($2::bigint[])

-- name: drop_rolled_keys
delete from rolled_key where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: touched
-- Records that came, changed or went: as they are now, and as the version saw them.
select t.record_id, t.external_key, t.link_keys as touched_keys, k.link_keys as rolled_keys,
       c.record_id is not null as was_seen, c.component_id, c.is_copy as was_copy,
       r.record_id is not null as is_there, r.person_id, r.content_key, r.link_keys, r.wrapped_key, r.sealed
from rolled_touched t
left join rolled_key k on k.tenant_id = $1 and k.record_id = t.record_id
left join rolled_record c on c.tenant_id = $1 and c.record_id = t.record_id
left join record r on r.tenant_id = $1 and r.record_id = t.record_id
where t.tenant_id = $1 and t.record_id > $2
order by t.record_id limit $3

-- name: forget_these
-- Records that were touched and are linked now.
with linked as (delete from rolled_touched where tenant_id = $1 and record_id = any ($2::bigint[]))
delete from rolled_key where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: detach_unseen
-- Persons of whom the version has seen no record have no place in its components, and no merge of theirs is held.
with unseen as materialized (
  select distinct r.person_id from unnest($2::bigint[]) as w(record_id)
  join record r on r.tenant_id = $1 and r.record_id = w.record_id
), nobody as materialized (
  select u.person_id from unseen u
  where not exists (select from record r join rolled_record c on c.tenant_id = $1 and c.record_id = r.record_id
                    where r.tenant_id = $1 and r.person_id = u.person_id)
), apart as (
  update person p set component_id = null
  where p.tenant_id = $1 and p.component_id in (
    select o.component_id from nobody n join person o on o.tenant_id = $1 and o.person_id = n.person_id
    where o.component_id is not null
  )
)
delete from held_merge h using nobody n
where h.tenant_id = $1 and n.person_id in (h.left_person, h.right_person)

-- --- settling: see store/identity/settling.py ------------------------------------------------------------------------------
-- Row by row through the indexes, by laterals that cannot be flattened, as in records.sql (delete_keys).

-- name: regions_of
-- Regions not settled yet: of these records, and of all records of their persons.
select distinct c.region_id
from (select distinct s.person_id from record s where s.tenant_id = $1 and s.record_id = any ($2::bigint[])) p
cross join lateral (
  select r.record_id from record r where r.tenant_id = $1 and r.person_id = p.person_id offset 0
) r
cross join lateral (
  select x.region_id from rolled_record x where x.tenant_id = $1 and x.record_id = r.record_id offset 0
) c
where c.region_id is not null

-- name: region_records
select record_id from rolled_record where tenant_id = $1 and region_id = any ($2::bigint[])

-- name: unsettled
-- All records of the persons of these: as the version saw them, where it did.
select r.record_id, r.person_id, c.first_id, c.component_id, c.is_copy
from (select distinct s.person_id from record s where s.tenant_id = $1 and s.record_id = any ($2::bigint[])) p
cross join lateral (
  select r.record_id, r.person_id from record r where r.tenant_id = $1 and r.person_id = p.person_id offset 0
) r
left join lateral (
  select x.first_id, x.component_id, x.is_copy from rolled_record x
  where x.tenant_id = $1 and x.record_id = r.record_id and x.region_id is not null offset 0
) c on true

-- name: components_of
select person_id, component_id from person where tenant_id = $1 and person_id = any ($2::bigint[])

-- name: clear_components
-- Components of the version before: whom else they hold is not settled yet, and needs none.
update person set component_id = null
where tenant_id = $1 and component_id = any ($2::bigint[]) and person_id <> all ($3::bigint[])

-- name: set_settled
update rolled_record set region_id = null where tenant_id = $1 and region_id = any ($2::bigint[])

-- name: next_regions
-- Records of the next regions that are not settled; of those of which none is left, what is gone.
-- From $2 on: what was settled before stands in the index until the next vacuum.
select record_id, region_id from rolled_record
where tenant_id = $1 and region_id is not null and region_id >= $2 order by region_id limit $3

-- name: count_unsettled
select count(*) from rolled_record where tenant_id = $1 and region_id is not null

-- name: forget_regions
-- Regions of these records of which no record is left.
update rolled_record set region_id = null where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: settling
select model_id from identity_model where tenant_id = $1 and settling

-- name: set_settling
update identity_model set settling = $3 where tenant_id = $1 and model_id = $2

-- name: records_of_components
select c.record_id from rolled_record c join record r on r.tenant_id = $1 and r.record_id = c.record_id
where c.tenant_id = $1 and c.component_id = any ($2::bigint[])

-- name: put_keys
insert into record_key (tenant_id, key, record_id) select $1, w.key, w.record_id
from unnest($2::bigint[], $3::bytea[]) as w(record_id, key) order by w.key
on conflict do nothing

-- name: cut_keys
delete from record_key k using unnest($2::bigint[], $3::bytea[]) as w(record_id, key)
where k.tenant_id = $1 and k.key = w.key and k.record_id = w.record_id

-- name: set_linked
-- What linking says of a record: its keys (in the order given), whether it follows as a copy, its person.
update record r
set link_keys = w.link_keys, is_copy = w.is_copy, person_id = w.person_id,
    version = r.version + case when r.person_id = w.person_id then 0 else 1 end
from (
  select i.record_id, i.is_copy, i.person_id, coalesce(k.link_keys, '{}') as link_keys
  from unnest($2::bigint[], $3::boolean[], $4::bigint[]) as i(record_id, is_copy, person_id)
  left join (
    select u.record_id, array_agg(u.key order by u.place) as link_keys
    from unnest($5::bigint[], $6::bytea[]) with ordinality as u(record_id, key, place) group by u.record_id
  ) k on k.record_id = i.record_id
) w
where r.tenant_id = $1 and r.record_id = w.record_id

-- name: keep_held
-- Merges that a guard holds back between persons of these records.
insert into held_merge (tenant_id, left_person, right_person, guard, probability, found_at)
select $1, least(l.person_id, r.person_id), greatest(l.person_id, r.person_id), min(h.guard), max(h.probability), $3
from rolled_held h
join record l on l.tenant_id = $1 and l.record_id = h.left_id
join record r on r.tenant_id = $1 and r.record_id = h.right_id
where h.tenant_id = $1 and h.left_id = any ($2::bigint[]) and l.person_id <> r.person_id
group by 2, 3

-- name: glued
-- The next records that still have keys of glue.
select record_id from record
where tenant_id = $1 and record_id > $2
  and exists (select from unnest(link_keys) as u(key) where octet_length(u.key) not in (12, 21))
order by record_id limit $3

-- name: drop_glue_keys
delete from record_key k
using (
  select r.record_id, u.key from record r cross join lateral unnest(r.link_keys) as u(key)
  where r.tenant_id = $1 and r.record_id = any ($2::bigint[]) and octet_length(u.key) not in (12, 21)
) old
where k.tenant_id = $1 and k.key = old.key and k.record_id = old.record_id

-- name: set_no_glue
update record r
set link_keys = array(select u.key from unnest(r.link_keys) as u(key) where octet_length(u.key) in (12, 21))
where r.tenant_id = $1 and r.record_id = any ($2::bigint[])

-- name: tell_model
-- Other processes hear that another version is in force.
select tell($1, 'model', null, null, $2)

-- name: count_keys
select count(*) from rolled_key where tenant_id = $1

-- name: decisions_then
-- The decisions in force when all records were linked.
select report -> 'decisions' from identity_model where tenant_id = $1 and model_id = $2

-- name: records_decided
select r.record_id
from link_decision d
join record r on r.tenant_id = $1 and ((r.source_id = d.left_source and r.external_key = d.left_key)
                                       or (r.source_id = d.right_source and r.external_key = d.right_key))
where d.tenant_id = $1 and d.decision_id = any ($2::bigint[])

-- --- drift ----------------------------------------------------------------------------------------------------------

-- name: newest
-- Of the newest records those that came or changed since.
select * from (
  select record_id, source_id, external_key, content_key, link_keys, wrapped_key, sealed, updated_at from record
  where tenant_id = $1 order by record_id desc limit $2
) r
where r.updated_at >= $3

-- name: with_them
-- Other records of the persons of these, of each person so many.
select r.record_id, r.source_id, r.external_key, r.content_key, r.link_keys, r.wrapped_key, r.sealed
from (select distinct x.person_id from record x where x.tenant_id = $1 and x.record_id = any ($2::bigint[])) p
cross join lateral (
  select * from record m where m.tenant_id = $1 and m.person_id = p.person_id and not m.is_copy
  order by m.record_id desc limit $3
) r
where r.record_id <> all ($2::bigint[])

-- name: answers
-- What people answered about pairs that a version had stated a probability of.
select probability, answer = 'same' as same from clerical_answer
where tenant_id = $1 and version = $2 and undone_at is null and answer <> 'unknown'
