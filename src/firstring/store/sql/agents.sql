-- Agents: profiles, presence, places.

-- name: profiles
select v.agent_id, v.version, v.profile
from unnest($2::bigint[], $3::int[]) as w(agent_id, version)
join agent_version v on v.tenant_id = $1 and v.agent_id = w.agent_id and v.version = w.version
