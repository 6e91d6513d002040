-- name: model_of_version
select model_id from identity_model where tenant_id = $1 and version = $2 order by model_id desc limit 1

-- name: priors_in_force
select version, basis, fitted from ring_priors where tenant_id = $1 and in_force

-- name: priors_of_version
select version, basis, fitted from ring_priors where tenant_id = $1 and version = $2 order by priors_id desc limit 1

-- name: retire_priors
update ring_priors set in_force = false where tenant_id = $1 and in_force

-- name: add_priors
insert into ring_priors (tenant_id, version, basis, fitted, report, in_force, fitted_at)
values ($1, $2, $3, $4, $5, true, $6)

-- name: known_contacts
-- The newest contacts about which an agent, or the caller, said who it is: their first decision and their last.
select d.contact_id, d.revision, d.cause, d.outcome, d.agent_id, d.assignment_id, d.decide_ms, d.wrapped_key, d.sealed,
       null as agent_address
from (
  select contact_id, max(decided_at) as decided_at from decision
  where tenant_id = $1 and cause in ('confirmed', 'said') and wrapped_key is not null
  group by contact_id order by max(decided_at) desc, contact_id limit $2
) known
cross join lateral (
  (select * from decision x where x.tenant_id = $1 and x.contact_id = known.contact_id and x.revision = 1)
  union all
  (select * from decision x where x.tenant_id = $1 and x.contact_id = known.contact_id and x.revision > 1
   order by x.revision desc limit 1)
) d
where d.wrapped_key is not null
order by known.decided_at, d.contact_id, d.revision
