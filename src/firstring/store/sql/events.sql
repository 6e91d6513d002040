-- Events of customers: what they have been through.

-- name: known_messages
select message_key from event where tenant_id = $1 and message_key = any ($2::bytea[])

-- name: records_of_users
select r.external_key, r.record_id
from record r join source s on s.tenant_id = $1 and s.source_id = r.source_id
where r.tenant_id = $1 and s.name = $2 and r.external_key = any ($3::bytea[])

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
insert into event (tenant_id, message_key, record_id, channel, occurred_at, received_at, issue_kind, issue_effect,
                   wrapped_key, sealed)
select $1, e.message_key, e.record_id, e.channel, e.occurred_at, e.received_at, e.issue_kind,
       e.issue_effect, e.wrapped_key, e.sealed
from unnest($2::bytea[], $3::bigint[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::smallint[],
            $9::bytea[], $10::bytea[])
  as e(message_key, record_id, channel, occurred_at, received_at, issue_kind, issue_effect, wrapped_key, sealed)
on conflict (tenant_id, message_key) do nothing
returning message_key
