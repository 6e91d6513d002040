-- What a second of each agent's time is worth.

-- name: active
select version, content from routing_prices where tenant_id = $1 and active

-- name: named
select content from routing_prices where tenant_id = $1 and version = $2

-- name: retire
update routing_prices set active = false where tenant_id = $1 and active and version <> $2

-- name: put
-- Under the lease's epoch: a task whose lease is over puts nothing.
insert into routing_prices (tenant_id, version, content, epoch, made_at, active)
select $1, $2, $3, $4, $5, true
where exists (select from lease l where l.tenant_id = $1 and l.name = 'queue' and l.epoch = $4 for share)
on conflict (tenant_id, version) do update set active = true, epoch = excluded.epoch

-- name: tell
select tell($1::int, 'prices', null, null, $2::text)

-- name: classes
-- Contacts of the last half hour by channel and reason, the most frequent first.
select c.channel, coalesce(c.need ->> 'intent', '') as intent, count(*)::int as contacts
from contact c where c.tenant_id = $1 and c.offered_at > $2
group by 1, 2 order by 3 desc, 1, 2 limit $3

-- name: busy
-- Of every agent who is signed in, how many seconds of the time since $2 were taken.
with taken as (
  select s.agent_id, s.channel, greatest(s.offered_at, $2) as begins, least(coalesce(s.ended_at, $3), $3) as ends
  from contact c join assignment s on s.tenant_id = c.tenant_id and s.contact_id = c.contact_id
  where c.tenant_id = $1 and c.offered_at > $2 - interval '1 hour' and coalesce(s.ended_at, $3) > $2
), load as (
  -- A contact takes its share of the places that its channel has: one of three chats is a third of the agent.
  select t.agent_id, sum(extract(epoch from t.ends - t.begins)
                         / greatest((v.profile -> 'capacity' ->> t.channel)::float8, 1)) as busy_s
  from taken t
  join agent a on a.tenant_id = $1 and a.agent_id = t.agent_id
  join agent_version v on v.tenant_id = $1 and v.agent_id = t.agent_id and v.version = a.version
  where t.ends > t.begins group by t.agent_id
)
select a.agent_id, v.profile, least(coalesce(l.busy_s, 0) / extract(epoch from $3::timestamptz - $2), 1)::float8 as occupancy
from agent a
join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.version
left join load l on l.agent_id = a.agent_id
where a.tenant_id = $1 and (a.presence <> 'offline' or l.busy_s > 0) order by a.agent_id limit $4

-- name: epoch
select epoch from lease where tenant_id = $1 and name = 'queue' and holder = $2 and expires_at > clock_timestamp()
