-- Segments: what is declared, who is in them, whose membership is to be looked at again.

-- name: lock
-- Who declares segments does so alone. Whoever looks at persons takes its turn by `try_turn`.
select pg_advisory_xact_lock(1179796047, $1::int)

-- name: try_turn
-- One process at a time: so the order in which memberships are written is the order of commit.
select pg_try_advisory_xact_lock(1179796048, $1::int)

-- name: declared
select segment, title, condition, is_on from segment where tenant_id = $1 order by segment

-- name: newest_records
select wrapped_key, sealed from record where tenant_id = $1 order by record_id desc limit $2

-- name: put_segment
insert into segment (tenant_id, segment, title, condition, is_on, emptied, loaded_at, loaded_by)
values ($1, $2, $3, $4, true, false, $5, $6)
on conflict (tenant_id, segment) do update
set title = excluded.title, condition = excluded.condition, is_on = true, emptied = false,
    loaded_at = excluded.loaded_at, loaded_by = excluded.loaded_by

-- name: switch_off
update segment set is_on = false where tenant_id = $1 and segment = $2 and is_on returning segment

-- name: new_version
-- $3: everybody is looked at again.
insert into segment_set (tenant_id, version, is_on, walked_to, walk_begun_at, is_sweep, settles_at, settled)
values ($1, 1, true, 0, $2, false, null, false)
on conflict (tenant_id) do update
set version = segment_set.version + 1,
    is_on = exists (select from segment where tenant_id = $1 and is_on),
    walked_to = case when $3 then 0 else segment_set.walked_to end,
    walk_begun_at = case when $3 then $2 else segment_set.walk_begun_at end,
    is_sweep = segment_set.is_sweep and not $3,
    settles_at = case when $3 then null else segment_set.settles_at end,
    settled = segment_set.settled and not $3

-- name: current_set
select version, is_on, walked_to, walk_begun_at, is_sweep, settles_at is not null as settling, settled from segment_set
where tenant_id = $1

-- name: begin_settling
-- Transactions from this number on began to write when the segments were there to be seen: they note whom they change.
update segment_set set settles_at = pg_snapshot_xmax(pg_current_snapshot())::text::bigint
where tenant_id = $1 and version = $2 and settles_at is null

-- name: try_settled
update segment_set set settled = true
where tenant_id = $1 and version = $2 and settles_at <= pg_snapshot_xmin(pg_current_snapshot())::text::bigint returning true

-- name: walked
update segment_set set walked_to = $3 where tenant_id = $1 and version = $2

-- name: begin_sweep
update segment_set set walked_to = 0, walk_begun_at = $3, is_sweep = true where tenant_id = $1 and version = $2

-- name: next_persons
select person_id from person where tenant_id = $1 and person_id > $2 and merged_into is null order by person_id limit $3

-- name: stale
select m.stale_id, coalesce(m.person_id, r.person_id) as person_id
from segment_stale m left join record r on r.tenant_id = m.tenant_id and r.record_id = m.record_id
where m.tenant_id = $1 order by m.stale_id limit $2

-- name: not_stale
delete from segment_stale where tenant_id = $1 and stale_id = any ($2::bigint[])

-- name: forget_stale
delete from segment_stale where tenant_id = $1 and stale_id in (
  select stale_id from segment_stale where tenant_id = $1 order by stale_id limit $2
)

-- name: memberships
select segment, person_id from segment_member where tenant_id = $1 and person_id = any ($2::bigint[])

-- name: enter
insert into segment_member (tenant_id, segment, person_id, entered_at)
select $1, x.segment, x.person_id, $4 from unnest($2::text[], $3::bigint[]) as x (segment, person_id)
on conflict do nothing

-- name: leave
delete from segment_member m using unnest($2::text[], $3::bigint[]) as x (segment, person_id)
where m.tenant_id = $1 and m.segment = x.segment and m.person_id = x.person_id

-- name: to_empty
select segment from segment where tenant_id = $1 and not is_on and not emptied order by segment limit 1

-- name: empty_some
with gone as (
  delete from segment_member where tenant_id = $1 and segment = $2 and person_id in (
    select person_id from segment_member where tenant_id = $1 and segment = $2 order by person_id limit $3
  ) returning 1
)
select count(*) from gone

-- name: emptied
update segment set emptied = true where tenant_id = $1 and segment = $2 and not is_on

-- name: listed
select s.segment, s.title, s.condition, s.is_on, s.loaded_at, s.loaded_by,
       (select count(*) from segment_member m where m.tenant_id = s.tenant_id and m.segment = s.segment) as members
from segment s where s.tenant_id = $1 order by s.segment

-- name: how_far
select coalesce((select walked_to is not null and not is_sweep and is_on from segment_set where tenant_id = $1), false)
         as evaluating,
       (select count(*) from segment_stale where tenant_id = $1) as waiting

-- name: is_there
select true from segment where tenant_id = $1 and segment = $2

-- name: members
-- Persons that are no more are left out at once, also where nobody has looked at them yet.
select m.person_id, m.entered_at from segment_member m
where m.tenant_id = $1 and m.segment = $2 and m.person_id > $3
  and exists (select from record r where r.tenant_id = m.tenant_id and r.person_id = m.person_id)
order by m.person_id limit $4

-- name: patterns_of
select distinct pattern from pattern_fired
where tenant_id = $1 and person_id = $2 and at > $3 and retracted_at is null order by pattern
