-- Patterns as they run: which are on, what is under way, what fired.

-- name: lock_shared
-- Held by whoever steps states, so that no record moves between persons and no pattern is switched meanwhile.
select pg_advisory_xact_lock_shared(1179796035, $1::int)

-- name: lock_alone
select pg_advisory_xact_lock(1179796035, $1::int)

-- name: set_of
select version, is_on, changed_at, rebuilt_to, walked_to,
       exists (select from pattern_stale where tenant_id = $1) as any_stale
from pattern_set where tenant_id = $1

-- name: those_on
select number, declaration from pattern where tenant_id = $1 and is_on order by number

-- name: follow_read
-- The set, whose the records are, and their persons' states, under the lock: one round trip.
select * from follow_read($1, $2::bigint[])

-- name: states
select subject_id, content from pattern_state
where tenant_id = $1 and kind = $2 and subject_id = any ($3::bigint[]) order by subject_id for update

-- name: log_sizes
-- How many events each person has, counted up to $3.
select p.person_id, f.events
from unnest($2::bigint[]) as p(person_id)
cross join lateral (
  select count(*)::int as events from (
    select 1 from record r join event e on e.tenant_id = $1 and e.record_id = r.record_id
    where r.tenant_id = $1 and r.person_id = p.person_id limit $3
  ) x
) f

-- name: log
-- The events of each person, the newest $3 of them.
select p.person_id, x.event_id, x.record_id, x.channel, x.occurred_at, x.wrapped_key, x.sealed
from unnest($2::bigint[]) as p(person_id)
cross join lateral (
  select e.event_id, e.record_id, e.channel, e.occurred_at, e.wrapped_key, e.sealed
  from record r join event e on e.tenant_id = $1 and e.record_id = r.record_id
  where r.tenant_id = $1 and r.person_id = p.person_id
  order by e.occurred_at desc, e.event_id desc limit $3
) x

-- name: put_known
-- The rows are there and locked. By conflict and not as an update from unnest: of a table that was never analysed the planner
-- takes it that a tenant has one state, and then reads all states of the tenant for each that is written.
insert into pattern_state (tenant_id, kind, subject_id, last_ms, next_due_ms, content)
select $1, $2, w.subject_id, w.last_ms, w.next_due_ms, w.content
from unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[]) as w(subject_id, last_ms, next_due_ms, content)
on conflict (tenant_id, kind, subject_id) do update
set last_ms = excluded.last_ms, next_due_ms = excluded.next_due_ms, content = excluded.content

-- name: put_new
insert into pattern_state (tenant_id, kind, subject_id, last_ms, next_due_ms, content)
select $1, $2, w.subject_id, w.last_ms, w.next_due_ms, w.content
from unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[]) as w(subject_id, last_ms, next_due_ms, content)
order by w.subject_id
on conflict do nothing
returning subject_id

-- name: drop_states
delete from pattern_state where tenant_id = $1 and kind = $2 and subject_id = any ($3::bigint[])

-- name: due_subjects
select subject_id, kind, content from pattern_state
where tenant_id = $1 and next_due_ms <= $2 order by next_due_ms limit $3 for update skip locked

-- name: next_due
select min(next_due_ms) from pattern_state where tenant_id = $1 and next_due_ms is not null

-- name: mark_stale
insert into pattern_stale (tenant_id, person_id) select $1, p from unnest($2::bigint[]) as p

-- name: stale_marks
select stale_id, person_id from pattern_stale where tenant_id = $1 and person_id = any ($2::bigint[])

-- name: stale_persons
select distinct person_id from (
  select person_id from pattern_stale where tenant_id = $1 order by stale_id limit $2
) x

-- name: drop_marks
delete from pattern_stale where tenant_id = $1 and stale_id = any ($2::bigint[])

-- name: next_persons
-- The persons of the next $3 records, in order, and whether they may have events (the last one: always, for the records may
-- end amidst it).
with slice as materialized (
  select r.person_id, r.record_id from record r where r.tenant_id = $1 and r.person_id > $2 order by r.person_id limit $3
)
select s.person_id,
       bool_or(exists (select from event e where e.tenant_id = $1 and e.record_id = s.record_id))
         or s.person_id = (select max(person_id) from slice) as may_have_events
from slice s group by s.person_id order by s.person_id

-- name: rebuilt_to
update pattern_set set rebuilt_to = $2 where tenant_id = $1 and version = $3

-- name: evict
-- Of the next so many states those that can matter no more; how far this walk came, null at its end.
with slice as (
  select kind, subject_id, last_ms, next_due_ms from pattern_state
  where tenant_id = $1 and kind = 0 and subject_id > $2 order by subject_id limit $3
), gone as (
  delete from pattern_state p using slice s
  where p.tenant_id = $1 and p.kind = s.kind and p.subject_id = s.subject_id
    and s.last_ms < $4 and s.next_due_ms is null and p.last_ms = s.last_ms
)
select max(subject_id) as walked_to, count(*)::int as seen, count(*) filter (where last_ms < $4 and next_due_ms is null)::int as gone
from slice

-- name: walked_to
update pattern_set set walked_to = $2 where tenant_id = $1

-- name: add_fired
insert into pattern_fired (tenant_id, kind, subject_id, person_id, record_id, event_id, number, pattern, valence, at, begun_at,
                           same_key, found_at, is_past, next_at, acted_at)
select $1, w.kind, w.subject_id, w.person_id, w.record_id, w.event_id, w.number, w.pattern, w.valence, w.at, w.begun_at,
       w.same_key, $2, w.is_past, case when w.is_past or w.acted_at is not null then null else $3::timestamptz end, w.acted_at
from unnest($4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::int[], $10::text[], $11::text[],
            $12::timestamptz[], $13::timestamptz[], $14::bigint[], $15::boolean[], $16::timestamptz[])
  as w(kind, subject_id, person_id, record_id, event_id, number, pattern, valence, at, begun_at, same_key, is_past, acted_at)
where w.at >= coalesce((select s.forgotten_to from pattern_set s where s.tenant_id = $1), '-infinity')
on conflict do nothing
returning firing_id, kind, subject_id, person_id, record_id, event_id, number, pattern, valence, at, begun_at, same_key, is_past,
          acted_at

-- name: forgotten_to
-- What came true before then is forgotten, and not noted again where a log is replayed.
update pattern_set set forgotten_to = $2 where tenant_id = $1 and (forgotten_to is null or forgotten_to < $2)

-- name: forget_fired
with old as (
  select f.firing_id from pattern p
  cross join lateral (
    select x.firing_id from pattern_fired x
    where x.tenant_id = $1 and x.number = p.number and x.at < $2 and x.next_at is null
    order by x.at limit $3
  ) f
  where p.tenant_id = $1 limit $3
), gone as (
  delete from pattern_fired f using old where f.tenant_id = $1 and f.firing_id = old.firing_id returning 1
)
select count(*) from gone

-- name: fired_of
select firing_id, subject_id, number, event_id, at, begun_at, same_key, retracted_at from pattern_fired
where tenant_id = $1 and kind = $2 and subject_id = any ($3::bigint[]) and number = any ($4::int[])

-- name: elsewhere
-- The same firings of other persons, who had these events before: what was done about them is done.
select number, at, begun_at, same_key, event_id, record_id, acted_at from pattern_fired
where tenant_id = $1 and acted_at is not null and (number, at) in (select * from unnest($2::int[], $3::timestamptz[]))

-- name: retract
update pattern_fired set retracted_at = $3, next_at = null
where tenant_id = $1 and firing_id = any ($2::bigint[]) and retracted_at is null

-- name: restore
update pattern_fired
set retracted_at = null, next_at = case when acted_at is null and not is_past then $3::timestamptz end
where tenant_id = $1 and firing_id = any ($2::bigint[])

-- name: take_fired
-- Takes a turn at firings about which nothing was decided yet.
with open as (
  select firing_id from pattern_fired where tenant_id = $1 and next_at <= $2 order by next_at limit $3 for update skip locked
)
update pattern_fired f set next_at = $4, attempts = f.attempts + 1 from open o
where f.tenant_id = $1 and f.firing_id = o.firing_id
returning f.firing_id, f.kind, f.subject_id, f.person_id, f.record_id, f.event_id, f.number, f.pattern, f.valence, f.at,
          f.begun_at, f.same_key, f.is_past, f.acted_at, f.attempts

-- name: next_fired
select min(next_at) from pattern_fired where tenant_id = $1 and next_at is not null

-- name: acted
update pattern_fired set acted_at = coalesce(acted_at, $3), next_at = null
where tenant_id = $1 and firing_id = any ($2::bigint[])

-- name: claim_fired
-- Those of the firings about which nobody decided yet, and which are still so.
update pattern_fired set acted_at = $3, next_at = null
where tenant_id = $1 and firing_id = any ($2::bigint[]) and acted_at is null and retracted_at is null
returning firing_id

-- name: put_off
update pattern_fired set next_at = $3 where tenant_id = $1 and firing_id = any ($2::bigint[]) and acted_at is null

-- name: too_late
update pattern_fired set is_past = true, next_at = null
where tenant_id = $1 and firing_id = any ($2::bigint[]) and acted_at is null

-- name: homes
-- In whose household's state the events of these persons are, and of all others there.
select o.person_id, o.subject_id from pattern_home o
where o.tenant_id = $1 and o.subject_id in (
  select h.subject_id from pattern_home h where h.tenant_id = $1 and h.person_id = any ($2::bigint[]))

-- name: drop_homes
delete from pattern_home where tenant_id = $1 and (person_id = any ($2::bigint[]) or subject_id = any ($3::bigint[]))

-- name: put_homes
insert into pattern_home (tenant_id, person_id, subject_id) select $1, w.person_id, w.subject_id
from unnest($2::bigint[], $3::bigint[]) as w(person_id, subject_id)

-- name: sharers
-- For each of these persons: who carries an identifier of theirs that few people carry.
select r.person_id, array_agg(distinct f.person_id) as sharers
from record r
cross join lateral unnest(r.keys) as k(key)
cross join lateral (
  select array_agg(distinct x.person_id) as persons, count(*) as records
  from (
    select o.person_id from record_key y join record o on o.tenant_id = $1 and o.record_id = y.record_id
    where y.tenant_id = $1 and y.key = k.key limit 20 * $3::int
  ) x
) c
cross join lateral unnest(c.persons) as f(person_id)
where r.tenant_id = $1 and r.person_id = any ($2::bigint[]) and c.records < 20 * $3::int and cardinality(c.persons) <= $3
group by r.person_id

-- name: try_turn
-- One process at a time makes states anew.
select pg_try_advisory_xact_lock(1179796036, $1::int)

-- name: forget_stale
delete from pattern_stale where tenant_id = $1

-- name: current
select number, pattern, digest, declaration, is_on from pattern where tenant_id = $1 and is_current

-- name: put_away
update pattern set is_current = false, is_on = false where tenant_id = $1 and pattern = $2 and is_current

-- name: put_pattern
-- A declaration that was there before has its number of before.
insert into pattern (tenant_id, number, pattern, digest, declaration, loaded_at, loaded_by, is_current, is_on, switched_at)
select $1, coalesce(max(number), -1) + 1, $2, $3, $4, $5, $6, true, $7, $5 from pattern where tenant_id = $1
on conflict (tenant_id, pattern, digest) do update
set declaration = excluded.declaration, loaded_at = excluded.loaded_at, loaded_by = excluded.loaded_by, is_current = true,
    is_on = excluded.is_on, switched_at = excluded.switched_at

-- name: switch
update pattern set is_on = $3, switched_at = $4
where tenant_id = $1 and is_current and pattern = any ($2::text[]) and is_on <> $3
returning pattern

-- name: new_version
insert into pattern_set (tenant_id, version, is_on, changed_at, rebuilt_to)
select $1, 1, x.is_on, $2, 0 from (select exists (select from pattern where tenant_id = $1 and is_on) as is_on) x
on conflict (tenant_id) do update
set version = pattern_set.version + 1, is_on = excluded.is_on, changed_at = excluded.changed_at, rebuilt_to = 0

-- name: listed
select p.number, p.declaration, p.is_on, p.loaded_at, p.loaded_by, f.firings, f.persons
from pattern p
cross join lateral (
  select count(*)::int as firings, count(distinct x.person_id)::int as persons from pattern_fired x
  where x.tenant_id = $1 and x.number = p.number and x.at >= $2 and x.retracted_at is null
) f
where p.tenant_id = $1 and p.is_current order by p.pattern

-- name: active_persons
-- Persons with events since a moment, of the newest $3 events; in order.
select distinct r.person_id
from (
  select distinct n.record_id from (
    select e.record_id, e.occurred_at from event e where e.tenant_id = $1 order by e.event_id desc limit $3
  ) n where n.occurred_at >= $2
) e
join record r on r.tenant_id = $1 and r.record_id = e.record_id
order by r.person_id

-- name: fired_for
-- The newest firings of a person, and of the household $3; fired_before: when the same one had fired last.
select f.firing_id, f.kind, f.number, f.pattern, f.valence, f.event_id, f.at, f.begun_at, f.same_key, f.acted_at,
       f.retracted_at,
       (select max(b.at) from pattern_fired b
        where b.tenant_id = $1 and b.kind = f.kind and b.subject_id = f.subject_id and b.number = f.number
          and b.same_key = f.same_key and b.at < f.at and b.retracted_at is null) as fired_before
from pattern_fired f
where f.tenant_id = $1 and ((f.kind = 0 and f.subject_id = $2) or (f.kind = 1 and f.subject_id = $3))
  and ($4 or f.retracted_at is null)
order by f.at desc, f.firing_id desc limit $5

-- name: fired_list
-- The newest firings, of one pattern or of all, before number $3.
select f.firing_id, f.pattern, f.valence, f.person_id, f.at, f.begun_at, f.is_past, f.acted_at, f.retracted_at
from pattern_fired f
where f.tenant_id = $1 and ($2::text is null or f.pattern = $2) and f.firing_id < $3 and f.retracted_at is null
order by f.firing_id desc limit $4

-- name: how_far
-- Whether states wait to be made anew, and how large they are.
select coalesce((select rebuilt_to is not null from pattern_set where tenant_id = $1), false) as rebuilding,
       (select count(distinct person_id)::int from pattern_stale where tenant_id = $1) as stale,
       count(*)::int as states, coalesce(avg(length(content)), 0)::float8 as mean_bytes,
       coalesce(percentile_disc(0.99) within group (order by length(content)), 0)::int as p99_bytes
from pattern_state where tenant_id = $1
