-- What came of contacts by agent, and the models of who fits that are learned of it.

-- name: lock
-- One process settles and trains at a time.
select pg_try_advisory_xact_lock(hashtextextended('firstring fit ' || $1::int, 0))

-- name: to_learn
-- Contacts that are over and past their wrap-up, the oldest first, with the decision that knew most.
select c.contact_id, c.channel, c.offered_at, c.answered_at, c.ended_at, c.end_reason, c.outcome,
       d.wrapped_key, d.sealed, d.versions ->> 'routing' as policy, d.propensity,
       f.wrapped_key as first_wrapped_key, f.sealed as first_sealed
from contact c
left join lateral (
  select x.* from decision x where x.tenant_id = c.tenant_id and x.contact_id = c.contact_id and x.wrapped_key is not null
  order by x.revision desc limit 1
) d on true
left join decision f on f.tenant_id = c.tenant_id and f.contact_id = c.contact_id and f.revision = 1
where c.tenant_id = $1 and c.state = 'ended' and c.learned_at is null
  and not exists (select 1 from assignment a where a.tenant_id = c.tenant_id and a.contact_id = c.contact_id and a.ended_at is null)
order by c.ended_at, c.contact_id limit $2

-- name: served_by_assignments
-- Whoever had these contacts, in turn, with the decision that chose them.
select a.contact_id, a.assignment_id, a.agent_id, a.agent_version, a.answered_at, a.ended_at, a.offered_at, a.outcome,
       v.profile -> 'languages' as languages, d.propensity, d.versions ->> 'routing' as policy,
       d.wrapped_key, d.sealed, d.revision
from assignment a
left join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.agent_version
left join decision d on d.tenant_id = a.tenant_id and d.contact_id = a.contact_id and d.revision = a.revision
where a.tenant_id = $1 and a.contact_id = any ($2::uuid[]) and a.ended_at is not null
  and (a.answered_at is not null or a.outcome = 'finished')
order by a.contact_id, a.offered_at, a.revision

-- name: merged
-- Persons who were merged into these.
select p.person_id, p.merged_into from person p where p.tenant_id = $1 and p.merged_into = any ($2::bigint[])

-- name: served_by
-- For each of these persons ($2, under the ids $5 that they have or had) the agents who served them before $3, the latest first.
select asked.person_id, o.agent_id, max(o.ended_at) as at
from unnest($2::bigint[], $5::bigint[]) as asked(person_id, had_id)
cross join lateral (
  select x.agent_id, x.ended_at from routing_outcome x
  where x.tenant_id = $1 and x.person_id = asked.had_id and x.agent_id is not null and x.ended_at <= $3 and x.ended_at > $4
  order by x.ended_at desc limit 20
) o
group by asked.person_id, o.agent_id
order by asked.person_id, at desc

-- name: living
select p.person_id, coalesce(p.merged_into, p.person_id) as now_id from person p
where p.tenant_id = $1 and p.person_id = any ($2::bigint[])

-- name: add_outcomes
insert into routing_outcome (tenant_id, contact_id, assignment_id, agent_id, agent_version, last, person_id, known, recognised,
  channel, intent, language, tier, experience, facts, language_level, last_agent, met, offered_at, waited_s, answered_at,
  ended_at, handle_s, outcome, success, policy, propensity, withholdable, withheld, cases)
select $1, x.contact_id, x.assignment_id, x.agent_id, x.agent_version, x.last, x.person_id, x.known, x.recognised,
  x.channel, x.intent, x.language, x.tier, x.experience, x.facts, x.language_level, x.last_agent, x.met, x.offered_at,
  x.waited_s, x.answered_at, x.ended_at, x.handle_s, x.outcome, x.success, x.policy, x.propensity, x.withholdable, x.withheld,
  coalesce(x.cases, '[]')
from jsonb_to_recordset($2::jsonb) as x(contact_id uuid, assignment_id uuid, agent_id bigint, agent_version int, last boolean,
  person_id bigint, known real, recognised boolean, channel text, intent text, language text, tier text, experience real,
  facts jsonb, language_level smallint, last_agent boolean, met boolean, offered_at timestamptz, waited_s real,
  answered_at timestamptz, ended_at timestamptz, handle_s real, outcome text, success boolean, policy text, propensity real,
  withholdable boolean, withheld boolean, cases jsonb)
on conflict do nothing

-- name: learned
update contact set learned_at = $3 where tenant_id = $1 and contact_id = any ($2::uuid[])

-- name: repeated
-- Contacts of the same persons (under the ids $2 that they have or had) that ended within a week before these began.
update routing_outcome o set repeated = true
from (
  select distinct x.contact_id, x.assignment_id
  from unnest($2::bigint[], $3::timestamptz[], $4::uuid[]) as n(person_id, offered_at, contact_id)
  cross join lateral (
    select y.contact_id, y.assignment_id from routing_outcome y
    where y.tenant_id = $1 and y.person_id = n.person_id and y.repeated is null and y.agent_id is not null
      and y.contact_id <> n.contact_id and y.ended_at <= n.offered_at
      and y.ended_at > n.offered_at - make_interval(secs => $5)
    order by y.ended_at desc limit 100
  ) x
) found
where o.tenant_id = $1 and o.contact_id = found.contact_id and o.assignment_id = found.assignment_id
returning o.agent_id, o.channel, o.intent, o.language, o.tier, o.experience, o.facts, o.cases, o.language_level, o.last_agent, o.met,
          o.handle_s, o.success, o.repeated

-- name: not_repeated
update routing_outcome o set repeated = false
where (o.tenant_id, o.contact_id, o.assignment_id) in (
  select x.tenant_id, x.contact_id, x.assignment_id from routing_outcome x
  where x.tenant_id = $1 and x.person_id is not null and x.repeated is null and x.ended_at < $2
  order by x.ended_at limit $3)
returning o.agent_id, o.channel, o.intent, o.language, o.tier, o.experience, o.facts, o.cases, o.language_level, o.last_agent, o.met,
          o.handle_s, o.success, o.repeated

-- name: newest_event
select coalesce(max(event_id), 0) from event where tenant_id = $1

-- name: complained
-- Somebody complained, by an event after $2, within three days after the contact began: the last one before it counts.
update routing_outcome o set complained = true
from (
  select distinct on (e.event_id) x.contact_id, x.assignment_id
  from event e
  join record r on r.tenant_id = e.tenant_id and r.record_id = e.record_id
  cross join lateral (
    select r.person_id
    union all
    select p.person_id from person p where p.tenant_id = $1 and p.merged_into = r.person_id
  ) c
  join routing_outcome x on x.tenant_id = $1 and x.person_id = c.person_id
    and x.offered_at < e.occurred_at and x.offered_at > e.occurred_at - interval '3 days' and x.last
  where e.tenant_id = $1 and e.event_id > $2 and e.event_id <= $3 and e.issue_kind = 'complaint' and e.issue_effect > 0
  order by e.event_id, x.offered_at desc
) found
where o.tenant_id = $1 and o.contact_id = found.contact_id and o.assignment_id = found.assignment_id and not o.complained

-- name: outcomes
-- The newest $3 since $2.
select agent_id, channel, intent, language, tier, experience, facts, cases, language_level, last_agent, met, handle_s,
       success, repeated, ended_at
from (
  select * from routing_outcome o
  where o.tenant_id = $1 and o.agent_id is not null and o.ended_at > $2 order by o.ended_at desc, o.assignment_id limit $3
) newest
order by ended_at, assignment_id

-- name: enough_since
-- How many outcomes there are, up to $3.
select count(*) from (
  select from routing_outcome
  where tenant_id = $1 and agent_id is not null and ended_at > $2 and (success is not null or handle_s is not null) limit $3
) few

-- name: active_model
select version, parent, root, made_at, until from routing_model where tenant_id = $1 and active

-- name: chain_since
-- The updates of a model up to $2 since $3; all of them with the trained model where $3 is none of them.
with recursive chain as (
  select m.version, m.parent, m.content, 0 as back from routing_model m where m.tenant_id = $1 and m.version = $2
  union all
  select m.version, m.parent, m.content, c.back + 1
  from chain c join routing_model m on m.tenant_id = $1 and m.version = c.parent
  where c.parent <> $3
)
select version, parent, content from chain order by back desc

-- name: chain
-- A trained model and the updates of it up to the one asked for, each after the one that it changes.
with recursive chain as (
  select m.version, m.parent, m.content, 0 as back from routing_model m where m.tenant_id = $1 and m.version = $2
  union all
  select m.version, m.parent, m.content, c.back + 1
  from chain c join routing_model m on m.tenant_id = $1 and m.version = c.parent
)
select version, parent, content from chain order by back desc

-- name: retire
update routing_model set active = false where tenant_id = $1 and active and version <> $2

-- name: add_model
insert into routing_model (tenant_id, version, parent, root, content, outcomes, until, made_at, made_by, active)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, true)
on conflict (tenant_id, version) do update set active = true

-- name: tell
select tell($1, 'fit', null, null, $2)

-- name: models
select m.version, m.outcomes, m.until, m.made_at, m.made_by, m.root = a.root as active,
       (select count(*) - 1 from routing_model u where u.tenant_id = m.tenant_id and u.root = m.root) as updates
from routing_model m
left join routing_model a on a.tenant_id = m.tenant_id and a.active
where m.tenant_id = $1 and m.parent is null
order by m.made_at desc limit $2

-- name: newest_of_root
select version from routing_model where tenant_id = $1 and root = $2 order by made_at desc limit 1

-- name: reactivate
update routing_model set active = true where tenant_id = $1 and version = $2

-- name: forget_outcomes
delete from routing_outcome where tenant_id = $1 and ended_at < $2

-- name: forget
-- Models that were last updated before $2.
delete from routing_model m
where m.tenant_id = $1 and not m.active and m.root in (
  select x.root from routing_model x where x.tenant_id = $1
  group by x.root having max(x.made_at) < $2 and not bool_or(x.active))

-- name: hard
-- How many hard contacts each agent had since $2: one that was no success, was complained about, of a customer who has been
-- through much (experience below $3), or longer than $4 seconds.
select agent_id, count(*)::int as contacts from routing_outcome
where tenant_id = $1 and agent_id is not null and ended_at > $2
  and (complained or success is false or experience < $3 or handle_s > $4)
group by agent_id

-- name: trained_until
select until from routing_model where tenant_id = $1 and version = $2
