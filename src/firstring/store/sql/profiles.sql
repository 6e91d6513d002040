-- Profiles and timelines: the events of the records of one person.

-- name: moments
-- The newest events of these records, unopened: out of the index alone.
select e.event_id, e.record_id, e.channel, e.occurred_at, e.standing
from unnest($2::bigint[]) as r(record_id)
cross join lateral (
  select v.event_id, v.record_id, v.channel, v.occurred_at, v.standing from event v
  where v.tenant_id = $1 and v.record_id = r.record_id and v.occurred_at <= $3
  order by v.occurred_at desc, v.event_id desc limit $4
) e
order by e.occurred_at desc, e.event_id desc limit $4

-- name: first_known
-- The earliest event of each of these records that anybody's word is behind, among the first so many.
select f.event_id, f.record_id, f.channel, f.occurred_at, f.standing
from unnest($2::bigint[]) as r(record_id)
cross join lateral (
  select e.* from (
    select v.event_id, v.record_id, v.channel, v.occurred_at, v.standing from event v
    where v.tenant_id = $1 and v.record_id = r.record_id and v.occurred_at <= $3
    order by v.occurred_at, v.event_id limit $4
  ) e
  where e.standing > 0 order by e.occurred_at, e.event_id limit 1
) f
order by f.occurred_at, f.event_id limit 1

-- name: opened
-- What a profile is computed by: the newest events of these records, and those that their facet or their issue names.
with part as (
  (select v.event_id from unnest($2::bigint[]) as r(record_id) cross join lateral (
     select e.event_id, e.occurred_at from event e where e.tenant_id = $1 and e.record_id = r.record_id and e.occurred_at <= $3
     order by e.occurred_at desc, e.event_id desc limit $4) v
   order by v.occurred_at desc, v.event_id desc limit $4)
  union
  (select v.event_id from unnest($2::bigint[]) as r(record_id), (values (1, $5::int), (2, $5::int), (3, 1)) as f(facet, most)
   cross join lateral (
     select e.event_id, e.occurred_at from event e
     where e.tenant_id = $1 and e.record_id = r.record_id and e.facet = f.facet and e.occurred_at <= $3
     order by e.occurred_at desc limit f.most) v
   order by v.occurred_at desc, v.event_id desc limit 2 * $5::int)
  union
  (select v.event_id from unnest($2::bigint[]) as r(record_id) cross join lateral (
     select e.event_id, e.occurred_at from event e
     where e.tenant_id = $1 and e.record_id = r.record_id and e.issue_kind is not null and e.occurred_at <= $3
     order by e.occurred_at desc limit $6) v
   order by v.occurred_at desc, v.event_id desc limit $6)
)
select e.event_id, e.record_id, e.channel, e.occurred_at, e.standing, e.facet, e.issue_kind, e.issue_effect, e.visitor,
       e.wrapped_key, e.sealed
from part join event e on e.tenant_id = $1 and e.event_id = part.event_id

-- name: timeline
-- As timeline_read, for records that were a person's once.
select e.event_id, e.record_id, s.name as source, e.channel, e.occurred_at, e.standing, e.issue_kind, e.issue_effect,
       e.came_in is not null and e.came_in <> e.record_id as stitched, e.wrapped_key, e.sealed
from (
  select v.* from unnest($2::bigint[]) as r(record_id)
  cross join lateral (
    select x.* from event x
    where x.tenant_id = $1 and x.record_id = r.record_id and (x.occurred_at, x.event_id) < ($3, $4)
      and ($5::text is null or x.channel = $5) and x.about_id is null
    order by x.occurred_at desc, x.event_id desc limit $6
  ) v
  order by v.occurred_at desc, v.event_id desc limit $6
) e
join record o on o.tenant_id = $1 and o.record_id = e.record_id
join source s on s.tenant_id = $1 and s.source_id = o.source_id
order by e.occurred_at desc, e.event_id desc

-- name: fired
select pattern, valence, at, begun_at from pattern_fired
where tenant_id = $1 and person_id = $2 and retracted_at is null and at <= $3
order by at desc, firing_id desc limit $4

-- name: profile_read
select * from profile_read($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
