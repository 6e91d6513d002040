-- Agents: profiles, presence, places.

-- name: profiles
select v.agent_id, v.version, v.profile
from unnest($2::bigint[], $3::int[]) as w(agent_id, version)
join agent_version v on v.tenant_id = $1 and v.agent_id = w.agent_id and v.version = w.version

-- name: agents
select a.agent_id, a.version, v.profile, a.presence, a.presence_at,
       (select count(*) from assignment s where s.tenant_id = a.tenant_id and s.agent_id = a.agent_id and s.ended_at is null)::int as live
from agent a join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.version
where a.tenant_id = $1 order by a.agent_id

-- name: free
select agent_id, channel, max(version) as version, min(free_since) as free_since, count(*)::int as places
from agent_place where tenant_id = $1 and free_since is not null
group by agent_id, channel order by min(free_since) limit $2

-- name: agent
select a.agent_id, a.version, v.profile, a.presence, a.presence_at,
       (select count(*) from assignment s where s.tenant_id = a.tenant_id and s.agent_id = a.agent_id and s.ended_at is null)::int as live
from agent a join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.version
where a.tenant_id = $1 and a.agent_id = $2
