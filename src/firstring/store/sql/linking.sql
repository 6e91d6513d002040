-- name: active_model
select model_id from identity_model where tenant_id = $1 and state = 'active'

-- name: model
select version, model, wrapped_key, statistics, threshold from identity_model where tenant_id = $1 and model_id = $2

-- name: add_model
insert into identity_model (tenant_id, version, state, model, wrapped_key, statistics, threshold, trained_at)
values ($1, $2, 'candidate', $3, $4, $5, $6, $7) returning model_id

-- name: retire_model
update identity_model set state = 'retired' where tenant_id = $1 and state = $3 and model_id <> $2

-- name: set_model_state
update identity_model
set state = $3, activated_at = case when $3 = 'active' then $4 else activated_at end
where tenant_id = $1 and model_id = $2

-- name: context
-- What a change of records needs to know first: the version that links them, and whether anybody decided anything.
-- And what the history of records needs (0004): the time of the change is the program's.
-- What follows in the transaction looks up a few rows of tables that may have millions, by indexes. It is planned once for
-- each connection, and never to read a table from end to end: as planned for a table that is small when a server starts, or
-- by statistics of yesterday's, one statement took seconds.
select set_config('app.now', $2::timestamptz::text, true), set_config('plan_cache_mode', 'force_generic_plan', true),
       set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true),
       (select model_id from identity_model where tenant_id = $1 and state = 'active') as model_id,
       coalesce((select settling from identity_model where tenant_id = $1 and state = 'active'), false) as settling,
       exists (select from link_decision where tenant_id = $1 and revoked_at is null) as decided

-- name: copies
-- The first records of each content, in the order of their copy keys.
select w.place, x.key, x.record_id
from unnest($2::int[], $3::bytea[], $4::bytea[], $5::int[]) as w(place, low, high, bound)
cross join lateral (
  select k.key, k.record_id from record_key k
  where k.tenant_id = $1 and k.key > w.low and k.key < w.high order by k.key limit w.bound
) x

-- name: parts
-- What linking knows of records without opening them.
select record_id, person_id, external_key, content_key, link_keys, is_copy from record
where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: region
-- All records that take part of the persons that these records reach, and of the persons of their components.
with reached as materialized (
  select distinct r.person_id from record r where r.tenant_id = $1 and r.record_id = any ($2::bigint[])
), component as materialized (
  select distinct p.component_id from reached h join person p on p.tenant_id = $1 and p.person_id = h.person_id
  where p.component_id is not null
), whole as materialized (
  select person_id from reached
  union
  select p.person_id from component c join person p on p.tenant_id = $1 and p.component_id = c.component_id
)
select r.record_id, r.person_id, r.external_key, r.content_key, r.link_keys, r.is_copy, p.component_id
from whole w
join person p on p.tenant_id = $1 and p.person_id = w.person_id
join record r on r.tenant_id = $1 and r.person_id = w.person_id and not r.is_copy

-- name: met
-- Who carries each key, as far as the bound of its tag, $3, and $4 more; of a key that so many carry nobody is told, because
-- it makes no pairs.
select w.key, case when x.holders < w.bound then x.records end as records
from (select k.key, ($3::int[])[get_byte(k.key, 0) + 1] + $4::int as bound from unnest($2::bytea[]) as k(key)) w
cross join lateral (
  select array_agg(c.record_id) as records, count(*) as holders
  from (select k.record_id from record_key k where k.tenant_id = $1 and k.key = w.key limit w.bound) c
) x
where x.holders > 0

-- name: candidates
-- What is compared of records, to be opened, and whether it is in the form in which it is compared.
select record_id, external_key, content_key, wrapped_key,
       case when wrapped_key is not null then coalesce(compared, sealed) end,
       compared is not null and wrapped_key is not null
from record
where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: as_they_are
select record_id, content_key from record where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: tags
-- Which records have linking keys with these tags; a record as often as it has such keys.
select k.record_id, get_byte(k.key, 0) as tag
from (
  select r.record_id, unnest(r.link_keys) as key from record r where r.tenant_id = $1 and r.record_id = any ($2::bigint[])
) k
where octet_length(k.key) = 12 and get_byte(k.key, 0) = any ($3::int[])

-- name: sealed
select record_id, wrapped_key, sealed from record where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: holders
-- How many records carry each key, as far as $3.
select w.key, count(*)::int as holders
from unnest($2::bytea[]) as w(key)
cross join lateral (select 1 from record_key k where k.tenant_id = $1 and k.key = w.key limit $3) x
group by w.key

-- name: one_follower
-- Of each content one record that follows the first ones, if there is any. One by one along the index, by laterals that
-- cannot be flattened: there may be a million of one content.
select w.place, x.record_id, x.person_id
from unnest($2::int[], $3::bytea[], $4::bytea[]) as w(place, low, high)
cross join lateral (
  select r.record_id, r.person_id
  from (
    select k.key, k.record_id from record_key k
    where k.tenant_id = $1 and k.key > w.low and k.key < w.high order by k.key offset 0
  ) k
  cross join lateral (
    select y.record_id, y.person_id from record y where y.tenant_id = $1 and y.record_id = k.record_id and y.is_copy offset 0
  ) r
  where r.record_id <> all ($5::bigint[])
  order by k.key limit 1
) x

-- name: followers
select r.record_id, r.person_id
from record_key k join record r on r.tenant_id = $1 and r.record_id = k.record_id
where k.tenant_id = $1 and k.key > $2 and k.key < $3 and r.is_copy and r.record_id <> all ($4::bigint[])
order by k.key

-- name: rekey
update record r set link_keys = m.link_keys, is_copy = m.is_copy
from (
  select w.record_id, w.is_copy, array(select u.key from unnest($3::bigint[], $4::bytea[]) as u(record_id, key)
                                       where u.record_id = w.record_id) as link_keys
  from unnest($2::bigint[], $5::boolean[]) as w(record_id, is_copy)
) m
where r.tenant_id = $1 and r.record_id = m.record_id

-- name: drop_keys
delete from record_key k using unnest($2::bigint[], $3::bytea[]) as w(record_id, key)
where k.tenant_id = $1 and k.key = w.key and k.record_id = w.record_id

-- name: add_keys
insert into record_key (tenant_id, key, record_id) select $1, w.key, w.record_id
from unnest($2::bigint[], $3::bytea[]) as w(record_id, key) order by w.key

-- name: set_components
update person p set component_id = w.component_id
from unnest($2::bigint[], $3::bigint[]) as w(person_id, component_id)
where p.tenant_id = $1 and p.person_id = w.person_id

-- name: drop_held
delete from held_merge where tenant_id = $1 and (left_person = any ($2::bigint[]) or right_person = any ($2::bigint[]))

-- name: add_held
insert into held_merge (tenant_id, left_person, right_person, guard, probability, found_at)
select $1, w.left_person, w.right_person, w.guard, w.probability, $6
from unnest($2::bigint[], $3::bigint[], $4::text[], $5::real[]) as w(left_person, right_person, guard, probability)

-- name: decisions_among
-- Living decisions that name one of these records, and the record of each side where it is there. Each decision is read once:
-- joined to the table again, a plan made when nobody had decided anything yet looked through all of them for each.
with found as materialized (
  select decision_id, kind, left_source, left_key, right_source, right_key from link_decision
  where tenant_id = $1 and revoked_at is null and left_key = any ($2::bytea[])
  union
  select decision_id, kind, left_source, left_key, right_source, right_key from link_decision
  where tenant_id = $1 and revoked_at is null and right_key = any ($2::bytea[])
)
select d.decision_id, d.kind, d.left_key, d.right_key, l.record_id as left_record, r.record_id as right_record
from found d
left join record l on l.tenant_id = $1 and l.source_id = d.left_source and l.external_key = d.left_key
left join record r on r.tenant_id = $1 and r.source_id = d.right_source and r.external_key = d.right_key

-- name: decisions_naming
-- As decisions_among, by the sides that they name.
select decision_id, kind, left_source, left_key, right_source, right_key from link_decision
where tenant_id = $1 and revoked_at is null and left_key = any ($2::bytea[])
union
select decision_id, kind, left_source, left_key, right_source, right_key from link_decision
where tenant_id = $1 and revoked_at is null and right_key = any ($2::bytea[])

-- name: records_named
select r.external_key, r.record_id
from unnest($2::int[], $3::bytea[]) as w(source_id, external_key)
join record r on r.tenant_id = $1 and r.source_id = w.source_id and r.external_key = w.external_key

-- name: record_by_key
select record_id, person_id, external_key, content_key, link_keys, is_copy, source_id from record
where tenant_id = $1 and source_id = $2 and external_key = $3

-- name: record_by_id
select record_id, person_id, external_key, content_key, link_keys, is_copy, source_id from record
where tenant_id = $1 and record_id = $2

-- name: add_decision
insert into link_decision (tenant_id, kind, left_source, left_key, right_source, right_key, made_by, reason, made_at)
select $1, d.kind, d.left_source, d.left_key, d.right_source, d.right_key, $7, $8, $9
from unnest($2::text[], $3::int[], $4::bytea[], $5::int[], $6::bytea[]) as d(kind, left_source, left_key, right_source, right_key)
returning decision_id

-- name: try
savepoint tried

-- name: undo
rollback to savepoint tried

-- name: decisions_of_keys
-- Living decisions that name one of these records; the other records need not be there.
select decision_id, kind, left_key, right_key, made_by, made_at from link_decision
where tenant_id = $1 and revoked_at is null and (left_key = any ($2::bytea[]) or right_key = any ($2::bytea[]))
order by decision_id

-- name: decision
select decision_id, left_source, left_key, right_source, right_key, revoked_at from link_decision
where tenant_id = $1 and decision_id = $2

-- name: revoke_decision
update link_decision set revoked_by = $3, revoked_reason = $4, revoked_at = $5
where tenant_id = $1 and decision_id = $2

-- name: decisions
-- The newest first; $2: of records of this person only, $3: revoked ones too.
select d.decision_id, d.kind, ls.name as left_source, l.record_id as left_record, rs.name as right_source,
       r.record_id as right_record, d.made_by, d.reason, d.made_at, d.revoked_by, d.revoked_reason, d.revoked_at
from link_decision d
join source ls on ls.tenant_id = $1 and ls.source_id = d.left_source
join source rs on rs.tenant_id = $1 and rs.source_id = d.right_source
left join record l on l.tenant_id = $1 and l.source_id = d.left_source and l.external_key = d.left_key
left join record r on r.tenant_id = $1 and r.source_id = d.right_source and r.external_key = d.right_key
where d.tenant_id = $1 and ($2::bigint is null or $2 in (l.person_id, r.person_id)) and ($3 or d.revoked_at is null)
order by d.decision_id desc limit $4

-- name: records_of_person
select record_id, person_id, external_key, content_key, link_keys, is_copy, source_id from record
where tenant_id = $1 and person_id = $2

-- name: persons_of
select record_id, person_id from record where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: some_of_source
select record_id, person_id, external_key, content_key, link_keys, is_copy from record
where tenant_id = $1 and source_id = $2 limit $3
