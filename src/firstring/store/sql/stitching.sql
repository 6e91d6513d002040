-- Stitching: the logs of visitors, and whose their events are.

-- name: lock_visitors
select lock_visitors($1, $2::bigint[])

-- name: lock_at_once
-- The same with numbers in its text, to go along with the beginning of a transaction.
select lock_visitors({tenant}, {keys}::bigint[])

-- name: around
-- For stretches of visitors' logs: the last mark up to each, whether there is one after its beginning, and whether there are
-- anonymous events from that last mark on, or among the marks of the stretch and the next ones.
select p.*, l.later,
       exists (select from event e where e.tenant_id = $1 and e.visitor = v.visitor and e.came_in is not null and e.mark = 0
                                     and e.occurred_at >= coalesce(p.occurred_at, '-infinity'))
       or (l.later and (
         exists (select from event e where e.tenant_id = $1 and e.visitor = v.visitor and e.mark > 0
                                       and e.occurred_at between v.low and v.high and e.came_in is not null)
         or exists (select from (select e.came_in from event e
                                 where e.tenant_id = $1 and e.visitor = v.visitor and e.mark > 0 and e.occurred_at > v.high
                                 order by e.occurred_at limit $5) m where m.came_in is not null))) as plain
from unnest($2::bytea[], $3::timestamptz[], $4::timestamptz[]) with ordinality as v(visitor, low, high, number)
left join lateral (
  select e.event_id, e.message_key, e.occurred_at, e.mark, e.record_id, e.came_in, e.seen from event e
  where e.tenant_id = $1 and e.visitor = v.visitor and e.mark > 0 and e.occurred_at <= v.low
  order by e.occurred_at desc limit 1
) p on true
cross join lateral (
  select exists (select from event e where e.tenant_id = $1 and e.visitor = v.visitor and e.mark > 0
                                       and e.occurred_at >= v.low) as later
) l
order by v.number

-- name: marks
-- The marks in each stretch, and so many before it and behind it, in order.
select v.number::int - 1 as number, m.*
from unnest($2::bytea[], $3::timestamptz[], $4::timestamptz[]) with ordinality as v(visitor, low, high, number)
cross join lateral (
  (select e.event_id, e.message_key, e.occurred_at, e.mark, e.record_id, e.came_in, e.seen from event e
   where e.tenant_id = $1 and e.visitor = v.visitor and e.mark > 0 and e.occurred_at < v.low
   order by e.occurred_at desc, e.message_key desc limit $5)
  union all
  (select e.event_id, e.message_key, e.occurred_at, e.mark, e.record_id, e.came_in, e.seen from event e
   where e.tenant_id = $1 and e.visitor = v.visitor and e.mark > 0 and e.occurred_at between v.low and v.high)
  union all
  (select e.event_id, e.message_key, e.occurred_at, e.mark, e.record_id, e.came_in, e.seen from event e
   where e.tenant_id = $1 and e.visitor = v.visitor and e.mark > 0 and e.occurred_at > v.high
   order by e.occurred_at, e.message_key limit $5)
) m
order by v.number, m.occurred_at, m.message_key

-- name: plain_first
-- The first anonymous events from each moment on, before another.
select v.number::int - 1 as number, p.*
from unnest($2::bytea[], $3::timestamptz[], $4::timestamptz[]) with ordinality as v(visitor, low, high, number)
cross join lateral (
  select e.event_id, e.message_key, e.occurred_at, e.mark, e.record_id, e.came_in, e.seen from event e
  where e.tenant_id = $1 and e.visitor = v.visitor and e.came_in is not null and e.mark = 0
    and e.occurred_at >= v.low and e.occurred_at < v.high
  order by e.occurred_at, e.message_key limit $5
) p
order by v.number, p.occurred_at, p.message_key

-- name: plain_last
-- The last anonymous events of each such stretch.
select v.number::int - 1 as number, p.*
from unnest($2::bytea[], $3::timestamptz[], $4::timestamptz[]) with ordinality as v(visitor, low, high, number)
cross join lateral (
  select e.event_id, e.message_key, e.occurred_at, e.mark, e.record_id, e.came_in, e.seen from event e
  where e.tenant_id = $1 and e.visitor = v.visitor and e.came_in is not null and e.mark = 0
    and e.occurred_at >= v.low and e.occurred_at < v.high
  order by e.occurred_at desc, e.message_key desc limit $5
) p
order by v.number, p.occurred_at, p.message_key

-- name: move_events
update event e set record_id = x.record_id from unnest($2::bigint[], $3::bigint[]) as x(event_id, record_id)
where e.tenant_id = $1 and e.event_id = any ($2::bigint[]) and e.event_id = x.event_id
returning e.event_id, e.channel, e.occurred_at, e.wrapped_key, e.sealed

-- name: persons_of
select distinct person_id from record where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: records_there
select record_id from record where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: put_typed
insert into typed (tenant_id, key, visitor, kind, typed_at, message_key)
select $1, t.key, t.visitor, t.kind, t.typed_at, t.message_key
from unnest($2::bytea[], $3::bytea[], $4::text[], $5::timestamptz[], $6::bytea[]) as t(key, visitor, kind, typed_at, message_key)
on conflict (tenant_id, key, visitor) do update set typed_at = excluded.typed_at, message_key = excluded.message_key
where excluded.typed_at > typed.typed_at

-- name: bound_typed
-- Of each of these visitors only the newest stay; of all others only what is not too old.
delete from typed d using (
  select t.key, t.visitor, row_number() over (partition by t.visitor order by t.typed_at desc, t.key) as nth
  from typed t where t.tenant_id = $1 and t.visitor = any ($2::bytea[])
) n
where d.tenant_id = $1 and d.key = n.key and d.visitor = n.visitor and n.nth > $3

-- name: forget_typed
delete from typed where tenant_id = $1 and typed_at < $2

-- name: who_typed
select t.key, t.visitor, t.typed_at, t.message_key from typed t
where t.tenant_id = $1 and t.key = any ($2::bytea[]) and t.typed_at > $3 and t.typed_at <= $4
order by t.typed_at desc, t.visitor limit $5

-- name: confirm_typed
-- The event in which a number was typed says from now on who typed it. Only an event that names no user can.
update event set mark = 5, seen = $3
where tenant_id = $1 and message_key = any ($2::bytea[]) and came_in is not null and mark in (0, 5) and seen is distinct from $3
returning visitor, occurred_at

-- name: note_stale
-- What is about to be deleted with these records, as stretches of visitors' logs.
insert into visitor_stale (tenant_id, visitor, from_at, to_at)
select $1, x.visitor, min(x.occurred_at), max(x.occurred_at)
from (
  select e.visitor, e.occurred_at from event e
  where e.tenant_id = $1 and e.record_id = any ($2::bigint[]) and e.visitor is not null
  union all
  select e.visitor, e.occurred_at from event e
  where e.tenant_id = $1 and e.came_in = any ($2::bigint[]) and e.came_in <> e.record_id
) x
group by x.visitor
on conflict do nothing

-- name: delete_came_in
-- Events that came in with these records and are counted elsewhere; where they were counted.
delete from event where tenant_id = $1 and came_in = any ($2::bigint[]) and came_in <> record_id returning record_id

-- name: forget_visitors
-- What visitors typed whose own records are about to be deleted: their anonymous id is one of the record's keys.
delete from typed t using record r
where r.tenant_id = $1 and r.record_id = any ($2::bigint[]) and t.tenant_id = $1 and t.visitor = any (r.keys)

-- name: take_stale
delete from visitor_stale where tenant_id = $1 and visitor = any ($2::bytea[]) returning visitor, from_at, to_at

-- name: stale_visitors
select distinct visitor from visitor_stale where tenant_id = $1 limit $2
