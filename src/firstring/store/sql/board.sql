-- What people of the house did; the waits that were told, and how they came out.

-- name: add_intervention
insert into intervention (tenant_id, at, done_by, what, contact_id, agent_id, detail, wrapped_key, sealed)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning intervention_id

-- name: refused
update intervention set detail = $3 where tenant_id = $1 and intervention_id = $2

-- name: interventions
select intervention_id, at, done_by, what, contact_id, agent_id, detail, wrapped_key, sealed
from intervention where tenant_id = $1 and ($3::uuid is null or contact_id = $3)
order by at desc, intervention_id desc limit $2

-- name: at_work
-- Everybody who is not offline, with the contacts they have.
select a.agent_id, a.version, v.profile, a.presence, a.presence_at, s.contact_id, s.channel, s.state,
       coalesce(s.answered_at, s.offered_at) as since
from agent a
join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.version
left join assignment s on s.tenant_id = a.tenant_id and s.agent_id = a.agent_id and s.ended_at is null
where a.tenant_id = $1 order by a.agent_id, s.offered_at

-- name: line_of
-- The place of a contact in its line (1 is next; none behind 1,000 is counted), and the wait that was told.
select c.state, c.channel, c.adapter, c.told_wait_s, c.told_low_s, c.told_high_s, c.told_at, c.elsewhere,
       c.said_wait_s, c.said_low_s, c.said_high_s, c.said_place, c.said_at, c.callback_at,
       (select count(*)::int from (select from contact o where o.tenant_id = c.tenant_id and o.channel = c.channel
          and o.state in ('offered', 'waiting') and o.turn_at <= c.turn_at limit 1000) ahead) as place
from contact c where c.tenant_id = $1 and c.contact_id = $2

-- name: tell_waits
update contact c set told_wait_s = t.wait_s, told_low_s = t.low_s, told_high_s = t.high_s, told_at = $2
from unnest($3::uuid[], $4::real[], $5::real[], $6::real[]) as t(contact_id, wait_s, low_s, high_s)
where c.tenant_id = $1 and c.contact_id = t.contact_id and c.state = 'waiting' and c.told_at is null

-- name: say_waits
-- What is announced of a wait, and whether a call-back is offered (over $8 seconds, 0: never; to callers, not of calls that we make).
update contact c set said_wait_s = t.wait_s, said_low_s = t.low_s, said_high_s = t.high_s, said_place = t.place, said_at = $2,
       callback_at = case when $8::real > 0 and t.wait_s > $8 and c.channel = 'voice' and split_part(c.adapter, ':', 1) <> 'callback'
                          then coalesce(c.callback_at, $2) else c.callback_at end
from unnest($3::uuid[], $4::real[], $5::real[], $6::real[], $7::int[]) as t(contact_id, wait_s, low_s, high_s, place)
where c.tenant_id = $1 and c.contact_id = t.contact_id and c.state = 'waiting'

-- name: told
-- Of the latest waits that were told since $2 and are over, what was told and what came: seconds until an agent was claimed.
select c.told_wait_s, c.told_low_s, c.told_high_s,
       extract(epoch from coalesce(s.offered_at, c.ended_at) - c.told_at)::float8 as waited_s, s.offered_at is not null as served
from contact c
left join lateral (
  select a.offered_at from assignment a where a.tenant_id = c.tenant_id and a.contact_id = c.contact_id and a.offered_at >= c.told_at
  order by a.offered_at limit 1
) s on true
where c.tenant_id = $1 and c.told_at > $2 and (s.offered_at is not null or c.ended_at is not null)
order by c.told_at desc limit $3

-- name: handle_s
-- How long agents had contacts that ended since $2, by channel, wrap-up included.
select s.channel, avg(extract(epoch from s.ended_at - s.offered_at))::float8 as handle_s, count(*)::int as contacts
from contact c join assignment s on s.tenant_id = c.tenant_id and s.contact_id = c.contact_id
where c.tenant_id = $1 and c.offered_at > $2 and s.answered_at is not null and s.ended_at is not null group by s.channel
