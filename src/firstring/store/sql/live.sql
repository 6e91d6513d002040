-- Who is there just now.

-- name: there
-- The persons of the newest events, by when they were there last.
with newest as (
  select e.record_id, e.channel, e.occurred_at from event e where e.tenant_id = $1 order by e.event_id desc limit $3
)
select r.person_id, max(n.occurred_at) as last_at, (array_agg(n.channel order by n.occurred_at desc))[1] as channel
from newest n join record r on r.tenant_id = $1 and r.record_id = n.record_id
where n.occurred_at > $2 and n.channel <> 'backend'
group by r.person_id order by last_at desc, r.person_id limit $4

-- name: fired
select person_id, pattern, valence, max(at) as at from pattern_fired
where tenant_id = $1 and person_id = any ($2::bigint[]) and at > $3 and retracted_at is null
group by person_id, pattern, valence order by at desc

-- name: under_way
select subject_id, content from pattern_state where tenant_id = $1 and kind = 0 and subject_id = any ($2::bigint[])

-- name: sent
select r.person_id, d.action, d.state, d.state_at
from record r join delivery d on d.tenant_id = r.tenant_id and d.record_id = r.record_id
where r.tenant_id = $1 and r.person_id = any ($2::bigint[]) and d.created_at > $3
order by d.created_at desc
