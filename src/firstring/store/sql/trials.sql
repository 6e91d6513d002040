-- Trials of routing.

-- name: add
insert into routing_trial (tenant_id, name, plan, state, planned_by, planned_at)
values ($1, $2, $3, 'planned', $4, $5)
on conflict (tenant_id, name) do nothing
returning trial_id

-- name: named
select trial_id, name, plan, state, planned_by, planned_at, started_at, stopped_at, stopped_because, result
from routing_trial where tenant_id = $1 and name = $2

-- name: all
select trial_id, name, plan, state, planned_by, planned_at, started_at, stopped_at, stopped_because, result
from routing_trial where tenant_id = $1 order by planned_at desc, trial_id desc limit $2

-- name: running
select trial_id, name, plan, started_at from routing_trial where tenant_id = $1 and state = 'running'

-- name: start
update routing_trial set state = 'running', started_at = $3, plan = $4
where tenant_id = $1 and name = $2 and state = 'planned'
  and not exists (select from routing_trial r where r.tenant_id = $1 and r.state = 'running')
returning trial_id

-- name: stop
update routing_trial set state = $3, stopped_at = $4, stopped_because = $5
where tenant_id = $1 and name = $2 and state = 'running'
returning trial_id

-- name: drop
delete from routing_trial where tenant_id = $1 and name = $2 and state = 'planned' returning trial_id

-- name: unresolved
-- Trials that are over and whose result is not kept yet.
select name, plan, started_at, stopped_at from routing_trial
where tenant_id = $1 and state in ('stopped', 'ended') and result is null and stopped_at < $2

-- name: keep_result
update routing_trial set result = $3 where tenant_id = $1 and name = $2

-- name: tell
select tell($1, 'trial', null, null, $2)

-- name: rows
-- One for each contact offered in a time: what came of it, whoever had it.
select o.contact_id, o.offered_at, o.waited_s, o.agent_id is null as abandoned, o.success, h.handle_s, o.repeated, o.complained,
       o.withholdable
from routing_outcome o
join (
  select x.contact_id, sum(x.handle_s) as handle_s from routing_outcome x
  where x.tenant_id = $1 and x.ended_at >= $2 and x.offered_at < $3 group by x.contact_id
) h on h.contact_id = o.contact_id
where o.tenant_id = $1 and o.last and o.ended_at >= $2 and o.offered_at >= $2 and o.offered_at < $3
order by o.offered_at, o.contact_id limit $4

-- name: first_outcome
select min(offered_at) from routing_outcome where tenant_id = $1 and ended_at >= $2

-- name: judged
-- Decisions that gave a contact to an agent, where it is known what came of it; the newest first.
select d.revision, d.cause, d.outcome, d.agent_id, d.assignment_id, d.decide_ms, d.wrapped_key, d.sealed,
       null as agent_address, o.success
from decision d
join routing_outcome o on o.tenant_id = d.tenant_id and o.contact_id = d.contact_id and o.assignment_id = d.assignment_id
where d.tenant_id = $1 and d.outcome = 'route' and o.success is not null and d.wrapped_key is not null
order by d.decided_at desc, d.contact_id, d.revision limit $2 offset $3

-- name: at_the_time
-- The model of who fits and the prices that were in force at a moment.
select (select version from routing_model where tenant_id = $1 and made_at <= $2 order by made_at desc limit 1) as fit,
       (select version from routing_prices where tenant_id = $1 and made_at <= $2 order by made_at desc limit 1) as prices
