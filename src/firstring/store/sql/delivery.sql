-- Actions on their way to customers.

-- name: enqueue
-- keys: of the pages that may show it, as in `addressees`.
insert into delivery (tenant_id, delivery_id, decision_id, record_id, route, action, kind, not_before, expires_at, next_at,
                      created_at, state_at, wrapped_key, sealed)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8, $10, $10, $11, $12)
on conflict (tenant_id, delivery_id) do nothing
returning case when $5 = 'web' then (
  select array_agg(distinct u.key)
  from (select x.keys, x.external_key from record r
        join record x on x.tenant_id = r.tenant_id and x.person_id = r.person_id
        where r.tenant_id = $1 and r.record_id = $4 limit $13) y
  cross join lateral unnest(y.keys || y.external_key) as u(key)
) end as keys

-- name: addressees
-- A delivery that may be shown on a page, and by which keys its person's pages are known: the identifiers of the records
-- (visitors' ids among them), and the records' own ids.
select d.wrapped_key, d.sealed, d.attempts, d.state, k.keys
from delivery d
join record r on r.tenant_id = d.tenant_id and r.record_id = d.record_id
cross join lateral (
  select array_agg(distinct u.key) as keys
  from (select x.keys, x.external_key from record x
        where x.tenant_id = r.tenant_id and x.person_id = r.person_id limit $4) y
  cross join lateral unnest(y.keys || y.external_key) as u(key)
) k
where d.tenant_id = $1 and d.delivery_id = $2 and d.state = 'pending' and d.route = 'web' and d.not_before <= $3
  and d.expires_at > $3

-- name: visitor_keys
-- The records' own ids by which a page is known: that of the visitor, and that of the user who is signed in, by whatever
-- name they are known.
select k.key as asked, coalesce(a.to_key, k.key) as key
from unnest($2::bytea[]) as k(key)
left join event_alias a on a.tenant_id = $1 and a.from_key = k.key

-- name: visitor_persons
-- Who is before a page: the persons of the records of its visitor and of its user, who is signed in there by what one's own
-- servers know (by whatever name they are known), and whoever else carries the visitor's id, where that is one person alone.
with carrying as (
  select distinct r.person_id
  from (select x.record_id from record_key x where x.tenant_id = $1 and x.key = $3 limit $5) c
  join record r on r.tenant_id = $1 and r.record_id = c.record_id
)
select r.person_id from record r join source s on s.tenant_id = $1 and s.source_id = r.source_id
where r.tenant_id = $1 and s.name = $2 and r.external_key = any (array(
  select k.key from unnest($4::bytea[]) as k(key)
  union all
  select a.to_key from event_alias a where a.tenant_id = $1 and a.from_key = any ($4::bytea[])
))
union
select r.person_id from visitor_records($1, array[$3::bytea]) v join record r on r.tenant_id = $1 and r.record_id = v.record_id
union
select person_id from carrying where (select count(*) from carrying) = 1

-- name: open_for_persons
select d.wrapped_key, d.sealed, d.attempts
from record r join delivery d on d.tenant_id = r.tenant_id and d.record_id = r.record_id
where r.tenant_id = $1 and r.person_id = any ($2::bigint[]) and d.state = 'pending' and d.route = 'web'
  and d.not_before <= $3 and d.expires_at > $3
order by d.created_at limit $4

-- name: at_desk
-- What agents are to do for these persons. Of several agents who look at one moment one waits for the other.
select d.delivery_id, d.state, d.wrapped_key, d.sealed, r.person_id
from record r join delivery d on d.tenant_id = r.tenant_id and d.record_id = r.record_id
where r.tenant_id = $1 and r.person_id = any ($2::bigint[]) and d.state in ('pending', 'shown') and d.route = 'desk'
  and d.not_before <= $3 and d.expires_at > $3
order by d.created_at, d.delivery_id limit $4 for update of d

-- name: to_show
-- `locked` for a delivery on pages, and `visitor_persons` of who asks, in one round trip.
with carrying as (
  select distinct r.person_id
  from (select x.record_id from record_key x where x.tenant_id = $1 and x.key = $4 limit $6) c
  join record r on r.tenant_id = $1 and r.record_id = c.record_id
), locked as materialized (
  select d.state, d.route, d.not_before, d.expires_at, d.wrapped_key, d.sealed, d.attempts, r.person_id
  from delivery d left join record r on r.tenant_id = d.tenant_id and r.record_id = d.record_id
  where d.tenant_id = $1 and d.delivery_id = $2 for update of d
)
select l.*, l.person_id in (
  select r.person_id from record r join source s on s.tenant_id = $1 and s.source_id = r.source_id
  where r.tenant_id = $1 and s.name = $3 and r.external_key = any (array(
    select k.key from unnest($5::bytea[]) as k(key)
    union all
    select a.to_key from event_alias a where a.tenant_id = $1 and a.from_key = any ($5::bytea[])
  ))
  union
  select r.person_id from visitor_records($1, array[$4::bytea]) v join record r on r.tenant_id = $1 and r.record_id = v.record_id
  union
  select person_id from carrying where (select count(*) from carrying) = 1
) as is_theirs
from locked l

-- name: locked
select d.state, d.state_at, d.route, d.not_before, d.expires_at, d.wrapped_key, d.sealed, d.attempts, r.person_id
from delivery d left join record r on r.tenant_id = d.tenant_id and r.record_id = d.record_id
where d.tenant_id = $1 and d.delivery_id = $2 for update of d

-- name: set_state
update delivery set state = $3, reason = $4, state_at = $5 where tenant_id = $1 and delivery_id = $2

-- name: become
-- A state that is to be told of: both at once.
with told as (
  insert into delivery_happening (tenant_id, delivery_id, what, at) values ($1, $2, $3, $5)
  on conflict (tenant_id, delivery_id, what) do nothing
)
update delivery set state = $3, reason = $4, state_at = $5 where tenant_id = $1 and delivery_id = $2

-- name: happened
insert into delivery_happening (tenant_id, delivery_id, what, at) values ($1, $2, $3, $4)
on conflict (tenant_id, delivery_id, what) do nothing

-- name: take_due
-- What this process carries out now; whoever takes it has until $5, then somebody else tries.
update delivery d set next_at = $5, attempts = d.attempts + 1
from (
  select x.delivery_id from delivery x
  where x.tenant_id = $1 and x.state = 'pending' and x.route = any ($2::text[]) and x.next_at <= $3 and x.not_before <= $3
    and x.expires_at > $3
  order by x.next_at limit $4 for update skip locked
) due
where d.tenant_id = $1 and d.delivery_id = due.delivery_id
returning d.wrapped_key, d.sealed, d.attempts

-- name: put_off
-- $5: whether that was a try.
update delivery set next_at = $3, reason = $4, attempts = attempts - case when $5::boolean then 0 else 1 end
where tenant_id = $1 and delivery_id = $2 and state = 'pending'

-- name: expire
with over as (
  select x.delivery_id from delivery x where x.tenant_id = $1 and x.state = 'pending' and x.expires_at <= $2
  limit $3 for update skip locked
)
update delivery d set state = 'expired', state_at = $2 from over
where d.tenant_id = $1 and d.delivery_id = over.delivery_id

-- name: ignore
-- What was shown and never answered.
with over as (
  select x.delivery_id from delivery x where x.tenant_id = $1 and x.state = 'shown' and x.expires_at <= $2
  limit $3 for update skip locked
), done as (
  update delivery d set state = 'ignored', state_at = $2 from over
  where d.tenant_id = $1 and d.delivery_id = over.delivery_id returning d.delivery_id
)
insert into delivery_happening (tenant_id, delivery_id, what, at)
select $1, done.delivery_id, 'ignored', $2 from done on conflict do nothing

-- name: forget
delete from delivery d where d.tenant_id = $1 and d.created_at < $2 and d.state <> 'pending'
  and not exists (select from delivery_happening h
                  where h.tenant_id = d.tenant_id and h.delivery_id = d.delivery_id and h.told_at is null)

-- name: forget_happenings
delete from delivery_happening h where h.tenant_id = $1 and h.at < $2 and h.told_at is not null

-- name: untold
select h.delivery_id, h.what, h.at, d.decision_id, d.action, d.route, d.kind, d.reason, d.record_id
from delivery_happening h
left join delivery d on d.tenant_id = h.tenant_id and d.delivery_id = h.delivery_id
where h.tenant_id = $1 and h.told_at is null order by h.at limit $2

-- name: told
update delivery_happening h set told_at = $4
from unnest($2::uuid[], $3::text[]) as t(delivery_id, what)
where h.tenant_id = $1 and h.delivery_id = t.delivery_id and h.what = t.what

-- name: listed
select delivery_id, decision_id, record_id, route, action, kind, state, reason, not_before, expires_at, attempts, created_at,
       state_at
from delivery where tenant_id = $1 and ($2::text is null or state = $2) order by created_at desc limit $3

-- name: retry
update delivery set state = 'pending', reason = null, attempts = 0, next_at = $3, expires_at = greatest(expires_at, $4),
                    state_at = $3
where tenant_id = $1 and delivery_id = $2 and state = 'failed' returning delivery_id

-- name: person_of
select person_id from record where tenant_id = $1 and record_id = $2
