-- What routing reached: rows for the regret meter, for time saved, for the audit.

-- name: kinds
-- How many contacts of a kind each agent had in a time (no agent: nobody did).
select o.channel, coalesce(o.intent, '') as intent, coalesce(o.tier, '') as tier,
       case when o.experience is null then '' when o.experience < 40 then 'low' when o.experience < 70 then 'middle' else 'high' end
       as band,
       o.agent_id, count(*)::int as contacts
from routing_outcome o
where o.tenant_id = $1 and o.last and o.ended_at >= $2 and o.offered_at >= $2 and o.offered_at < $3
group by 1, 2, 3, 4, 5

-- name: stretches
-- For how long each agent was at work: from contact to contact, without breaks longer than $4 seconds.
with contacts as (
  select o.agent_id, o.answered_at, o.ended_at,
         max(o.ended_at) over (partition by o.agent_id order by o.answered_at, o.assignment_id
                               rows between unbounded preceding and 1 preceding) as before
  from routing_outcome o
  where o.tenant_id = $1 and o.agent_id is not null and o.ended_at >= $2 and o.offered_at >= $2 and o.offered_at < $3
)
select agent_id,
       sum(case when before is null or answered_at - before > make_interval(secs => $4)
                then extract(epoch from ended_at - answered_at)
                else greatest(extract(epoch from ended_at - before), 0) end)::float8 as at_work_s
from contacts group by agent_id

-- name: handled
-- Contacts that were answered and timed, the newest $4.
select o.recognised, o.handle_s, o.channel, coalesce(o.intent, '') as intent, coalesce(o.language, '') as language, o.agent_id,
       extract(hour from o.offered_at at time zone 'UTC')::int as hour
from routing_outcome o
where o.tenant_id = $1 and o.agent_id is not null and o.handle_s is not null and o.ended_at >= $2 and o.offered_at < $3
order by o.ended_at desc, o.assignment_id limit $4

-- name: audited
-- One for each contact, with whoever had it last.
select o.contact_id, o.person_id, o.agent_id, o.channel, coalesce(o.intent, '') as intent, o.waited_s, o.success, o.repeated,
       o.handle_s, o.tier, o.language, o.experience
from routing_outcome o
where o.tenant_id = $1 and o.last and o.ended_at >= $2 and o.offered_at >= $2 and o.offered_at < $3
order by o.ended_at desc, o.contact_id limit $4

-- name: records_of
-- The newest records of these persons, of those whom they were merged into.
select asked.person_id, r.wrapped_key, r.sealed
from unnest($2::bigint[]) as asked(person_id)
join person p on p.tenant_id = $1 and p.person_id = asked.person_id
cross join lateral (
  select x.wrapped_key, x.sealed from record x
  where x.tenant_id = $1 and x.person_id = coalesce(p.merged_into, p.person_id) and x.sealed is not null
  order by x.last_seen desc nulls last, x.record_id limit 8
) r

-- name: how_many
-- Contacts that were offered in a time, up to $4.
select count(*) from (
  select from routing_outcome o
  where o.tenant_id = $1 and o.last and o.ended_at >= $2 and o.offered_at >= $2 and o.offered_at < $3 limit $4
) few
