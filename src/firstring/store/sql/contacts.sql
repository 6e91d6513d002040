-- Contacts and their decisions.

-- name: contact
select c.state, c.revision, c.adapter, c.adapter_ref, c.wrapped_key, c.sealed, c.offered_at, c.waiting_since, c.person_id,
       case when c.excluded_until > now() then c.excluded else '{}' end as excluded, a.agent_id
from contact c
left join assignment a on a.tenant_id = c.tenant_id and a.contact_id = c.contact_id and a.ended_at is null
where c.tenant_id = $1 and c.contact_id = $2

-- name: open_contact_by_call
select contact_id from contact where tenant_id = $1 and call_key = $2 and state <> 'ended'

-- name: decision
select d.revision, d.cause, d.outcome, d.agent_id, d.assignment_id, d.decide_ms, d.wrapped_key, d.sealed,
       v.profile ->> 'address' as agent_address
from decision d
left join agent a on a.tenant_id = d.tenant_id and a.agent_id = d.agent_id
left join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.version
where d.tenant_id = $1 and d.contact_id = $2 and ($3::int is null or d.revision = $3)
order by d.revision desc limit 1
