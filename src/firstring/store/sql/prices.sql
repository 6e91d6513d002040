-- What a second of each agent's time is worth.

-- name: active
select version, content from routing_prices where tenant_id = $1 and active

-- name: named
select content from routing_prices where tenant_id = $1 and version = $2

-- name: retire
update routing_prices set active = false where tenant_id = $1 and active and version <> $2

-- name: fence
-- Whether the lease is still of this epoch; it stays so until the transaction ends.
select true from lease l where l.tenant_id = $1 and l.name = 'queue' and l.epoch = $2 for share

-- name: put
insert into routing_prices (tenant_id, version, content, epoch, made_at, active) values ($1, $2, $3, $4, $5, true)
on conflict (tenant_id, version) do update set active = true, epoch = excluded.epoch, made_at = excluded.made_at

-- name: forget
delete from routing_prices where tenant_id = $1 and not active and made_at < $2

-- name: state
select content from routing_state where tenant_id = $1 and name = $2

-- name: put_state
insert into routing_state (tenant_id, name, content, made_at) values ($1, $2, $3, $4)
on conflict (tenant_id, name) do update set content = excluded.content, made_at = excluded.made_at

-- name: tell
select tell($1::int, 'prices', null, null, $2::text)

-- name: recent
-- The newest $3 contacts that came since $2.
select c.contact_id from contact c where c.tenant_id = $1 and c.offered_at > $2 order by c.offered_at desc limit $3

-- name: patience
-- By channel since $2: seconds that contacts waited, and how many gave up.
select c.channel, (count(*) filter (where c.end_reason = 'cancelled' and c.answered_at is null))::int as gave_up,
       coalesce(sum(extract(epoch from coalesce(c.answered_at, c.ended_at, now()) - c.offered_at)), 0)::float8 as waited_s
from contact c
where c.tenant_id = $1 and c.offered_at > $2 and c.waiting_since is not null group by c.channel

-- name: there
-- Everybody who is there or was busy since $2, up to $3: how many contacts they have, how many seconds were taken. A contact
-- takes its share of the places that its channel has: one of three chats is a third of the agent.
with taken as (
  select x.agent_id, x.channel, x.offered_at, x.ended_at from assignment x where x.tenant_id = $1 and x.ended_at is null
  union all
  select x.agent_id, x.channel, x.offered_at, x.ended_at from assignment x where x.tenant_id = $1 and x.ended_at > $2
), load as (
  select t.agent_id, (count(*) filter (where t.ended_at is null))::int as taken,
         sum(greatest(extract(epoch from least(coalesce(t.ended_at, $3), $3) - greatest(t.offered_at, $2)), 0)
             / greatest((v.profile -> 'capacity' ->> t.channel)::float8, 1))::float8 as busy_s
  from taken t
  join agent a on a.tenant_id = $1 and a.agent_id = t.agent_id
  join agent_version v on v.tenant_id = $1 and v.agent_id = t.agent_id and v.version = a.version
  group by t.agent_id
)
select a.agent_id, a.version, v.profile, a.presence = 'ready' as ready, a.presence_at, coalesce(l.taken, 0) as taken,
       coalesce(l.busy_s, 0) as busy_s
from agent a
join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.version
left join load l on l.agent_id = a.agent_id
where a.tenant_id = $1 and (a.presence = 'ready' or l.agent_id is not null) order by a.agent_id limit $4

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

-- name: expected
-- Of contacts whose outcomes were written down: the decisions that gave them to their agents, oldest first.
select o.agent_id, o.success, o.handle_s, d.wrapped_key, d.sealed
from routing_outcome o
join assignment s on s.tenant_id = o.tenant_id and s.assignment_id = o.assignment_id
join decision d on d.tenant_id = o.tenant_id and d.contact_id = o.contact_id and d.revision = s.revision
where o.tenant_id = $1 and o.contact_id = any ($2::uuid[]) and o.agent_id is not null and d.wrapped_key is not null
  and (o.success is not null or o.handle_s is not null)
order by o.ended_at, o.assignment_id

-- name: relied_before
-- What was learnt last of any trained model.
select content from routing_state where tenant_id = $1 and starts_with(name, $2) order by made_at desc limit 1
