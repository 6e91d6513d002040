-- Events of customers: what they have been through.

-- name: known_messages
-- One by one: of a table that was never analysed the planner would rather read all events of the tenant.
select e.message_key, e.wrapped_key, e.sealed
from unnest($2::bytea[]) as k(key)
cross join lateral (
  select x.message_key, x.wrapped_key, x.sealed from event x where x.tenant_id = $1 and x.message_key = k.key limit 1
) e

-- name: records_of_users
-- For each user the record that events go to: that of the name that an alias leads to, else that of the id itself.
select k.key as external_key, r.record_id
from unnest($3::bytea[]) as k(key)
join source s on s.tenant_id = $1 and s.name = $2
left join event_alias a on a.tenant_id = $1 and a.from_key = k.key
cross join lateral (
  select x.record_id from record x
  where x.tenant_id = $1 and x.source_id = s.source_id and x.external_key in (a.to_key, k.key)
  order by (x.external_key = a.to_key) is true desc limit 1
) r

-- name: behind
-- For each key: how many records carry it (counted up to one more than $3), of how many persons, and the most recent one.
select k.key, f.records, f.persons, f.record_id
from unnest($2::bytea[]) as k(key)
cross join lateral (
  select count(*)::int as records, count(distinct r.person_id)::int as persons,
         (array_agg(r.record_id order by r.last_seen desc nulls last, r.record_id desc))[1] as record_id
  from (select x.record_id from record_key x where x.tenant_id = $1 and x.key = k.key limit $3::int + 1) c
  join record r on r.tenant_id = $1 and r.record_id = c.record_id
) f
where f.records > 0

-- name: insert_events
-- A column that no event has may be empty.
insert into event (tenant_id, message_key, record_id, channel, occurred_at, received_at, issue_kind, issue_effect, standing,
                   facet, wrapped_key, sealed, visitor, came_in, mark, seen)
select $1, e.message_key, e.record_id, e.channel, e.occurred_at, e.received_at, e.issue_kind, coalesce(e.issue_effect, 0),
       coalesce(e.standing, 0), e.facet, e.wrapped_key, e.sealed, e.visitor, e.came_in, coalesce(e.mark, 0), e.seen
from unnest($2::bytea[], $3::bigint[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::smallint[],
            $9::smallint[], $10::smallint[], $11::bytea[], $12::bytea[], $13::bytea[], $14::bigint[], $15::smallint[],
            $16::bigint[])
  as e(message_key, record_id, channel, occurred_at, received_at, issue_kind, issue_effect, standing, facet, wrapped_key,
       sealed, visitor, came_in, mark, seen)
on conflict (tenant_id, message_key) do nothing
returning message_key, event_id

-- name: aliases
select from_key, to_key, turned from event_alias where tenant_id = $1 and from_key = any ($2::bytea[])

-- name: have_records
select r.external_key from record r join source s on s.tenant_id = $1 and s.source_id = r.source_id
where r.tenant_id = $1 and s.name = $2 and r.external_key = any ($3::bytea[])

-- name: add_alias
-- What led to the name given up leads to the other one from now on.
with moved as (
  update event_alias set to_key = $3 where tenant_id = $1 and to_key = $2
)
insert into event_alias (tenant_id, from_key, to_key, turned, made_at) values ($1, $2, $3, $4, $5)

-- name: reject
insert into event_rejected (tenant_id, content_key, source, format, standing, code, received_at, last_at, wrapped_key, sealed)
select $1, r.content_key, r.source, r.format, r.standing, r.code, $8, $8, r.wrapped_key, r.sealed
from unnest($2::bytea[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::bytea[], $9::bytea[])
  as r(content_key, source, format, standing, code, wrapped_key, sealed)
on conflict (tenant_id, content_key) do update
set times = event_rejected.times + 1, last_at = excluded.last_at, code = excluded.code, wrapped_key = excluded.wrapped_key,
    sealed = excluded.sealed

-- name: forget_rejected
-- Those that nobody looked at in time, and the oldest of more than are kept.
delete from event_rejected
where tenant_id = $1
  and (last_at < $2 or rejected_id <= (select max(x.rejected_id) from event_rejected x where x.tenant_id = $1) - $3::bigint)

-- name: rejected
select rejected_id, source, format, standing, code, times, received_at, last_at, wrapped_key, sealed from event_rejected
where tenant_id = $1 and rejected_id > $2 and ($3::text is null or code = $3)
order by rejected_id limit $4

-- name: rejected_of
select rejected_id, source, format, standing, code, times, received_at, last_at, wrapped_key, sealed from event_rejected
where tenant_id = $1 and rejected_id = any ($2::bigint[]) order by rejected_id

-- name: rejected_by_code
select code, count(*)::int as events, sum(times)::int as times, max(last_at) as last_at from event_rejected
where tenant_id = $1 group by code order by code

-- name: settle_rejected
delete from event_rejected where tenant_id = $1 and rejected_id = any ($2::bigint[])
