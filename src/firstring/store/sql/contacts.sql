-- Contacts and their decisions.

-- name: contact
select c.state, c.revision, c.wrapped_key, c.sealed, c.waiting_since, c.person_id, c.excluded, c.excluded_until,
       c.elsewhere, a.agent_id, a.assignment_id, (c.need -> 'hold')::text as hold
from contact c
left join assignment a on a.tenant_id = c.tenant_id and a.contact_id = c.contact_id and a.ended_at is null
where c.tenant_id = $1 and c.contact_id = $2

-- name: open_contact_by_call
select contact_id from contact where tenant_id = $1 and call_key = $2 and state <> 'ended'

-- name: call_event
-- What happened to the open contact of a channel's own id ($2), found and told in one round trip. $8: it is told of the phone
-- ($9, '' for any) of whoever has the contact now; of another's phone, or where no contact is open, no row comes.
select c.contact_id, e.before, e.after, e.agent_id, e.assignment_id
from (
  select o.contact_id, o.assignment_id from open_call($1, $2) o
  where o.contact_id is not null and not ($8 and $9 <> '' and coalesce(o.address, '') not in ('', $9))
  offset 0
) c
cross join lateral contact_event($1, c.contact_id, $3, $4, $5, null, $6, $7, case when $8 then c.assignment_id end) e

-- name: newest_decisions
-- Of each of these contacts, where it is still readable.
select c.contact_id, d.wrapped_key, d.sealed
from unnest($2::uuid[]) as c(contact_id)
cross join lateral (
  select x.wrapped_key, x.sealed from decision x where x.tenant_id = $1 and x.contact_id = c.contact_id
  order by x.revision desc limit 1
) d
where d.wrapped_key is not null

-- name: newest_decisions_whole
-- Of each of these contacts, where it is still readable.
select c.contact_id, d.revision, d.cause, d.outcome, d.agent_id, d.assignment_id, d.decide_ms, d.wrapped_key, d.sealed,
       null as agent_address
from unnest($2::uuid[]) as c(contact_id)
cross join lateral (
  select * from decision x where x.tenant_id = $1 and x.contact_id = c.contact_id order by x.revision desc limit 1
) d
where d.wrapped_key is not null

-- name: decision
-- With the agent's address while the claim holds.
select d.revision, d.cause, d.outcome, d.agent_id, d.assignment_id, d.decide_ms, d.wrapped_key, d.sealed,
       case when a.assignment_id is not null then v.profile ->> 'address' end as agent_address
from decision d
left join assignment a on a.tenant_id = d.tenant_id and a.assignment_id = d.assignment_id and a.ended_at is null
left join agent_version v on v.tenant_id = d.tenant_id and v.agent_id = d.agent_id and v.version = d.agent_version
where d.tenant_id = $1 and d.contact_id = $2 and ($3::int is null or d.revision = $3)
order by d.revision desc limit 1

-- name: waiting
-- The first $3 of each channel in the order of the line, behind $6: those who wait for agents of one do not hold up another.
select w.contact_id, w.channel, w.need, w.since, w.excluded, w.turn_at, w.told_at, w.revision
from unnest($5::text[]) as wanted(channel)
cross join lateral (
  select contact_id, channel, need, turn_at, told_at, revision, coalesce(waiting_since, offered_at) as since,
         case when excluded_until > $2 and excluded_until <= $2 + make_interval(secs => $4) then excluded else '{}' end
         as excluded
  from contact c
  where tenant_id = $1 and channel = wanted.channel and turn_at > $6 and state in ('offered', 'waiting') and (state = 'waiting' or (state = 'offered'
    -- offered or given back within a second (of a clock that may have jumped): whoever was told so is deciding
    and greatest(offered_at, excluded_until - make_interval(secs => $4))
        not between $2 - interval '1 second' and $2 + interval '1 second'))
  order by turn_at limit $3
) w
order by w.turn_at

-- name: expired
select contact_id, state from assignment where tenant_id = $1 and ended_at is null and expires_at < $2
order by expires_at limit 100

-- name: overdue
-- Calls only: nobody holds a line for an e-mail, nor does a caller who hung up, keeps the place and is to be called back: that was
-- promised after the contact came. (Calls that were promised before are tried again at another time.)
select contact_id from contact c
where tenant_id = $1 and channel = 'voice' and state in ('offered', 'waiting') and coalesce(waiting_since, offered_at) < $2
  and not (adapter = 'callback' and not exists (
    select from callback b where b.tenant_id = c.tenant_id and b.contact_id = c.contact_id and b.state = 'offered'
      and b.booked_at < c.offered_at))
limit 100

-- name: of_agent
select c.contact_id, c.channel, c.state, c.revision, c.priority, c.offered_at, a.agent_id, c.waiting_since, c.answered_at,
       c.ended_at, c.end_reason, c.outcome, a.state as assignment_state
from assignment a join contact c on c.tenant_id = a.tenant_id and c.contact_id = a.contact_id
where a.tenant_id = $1 and a.agent_id = $2 and a.ended_at is null
order by a.offered_at

-- name: recent
select c.contact_id, c.channel, c.state, c.revision, c.priority, c.offered_at, a.agent_id, c.waiting_since, c.answered_at,
       c.ended_at, c.end_reason, c.outcome, a.state as assignment_state
from contact c
left join lateral (select * from assignment x where x.tenant_id = c.tenant_id and x.contact_id = c.contact_id
                   order by x.ended_at is null desc, x.offered_at desc limit 1) a on true
where c.tenant_id = $1 order by c.offered_at desc limit $2

-- name: open_calls
select c.contact_id, c.state, c.call_key from contact c
where c.tenant_id = $1 and c.state <> 'ended' and split_part(c.adapter, ':', 1) = $2

-- name: decisions
select d.revision, d.cause, d.outcome, d.agent_id, d.assignment_id, d.decide_ms, d.wrapped_key, d.sealed, null as agent_address
from decision d
where d.tenant_id = $1 and ($2::uuid is null or d.contact_id = $2) and d.wrapped_key is not null
order by d.decided_at desc, d.contact_id, d.revision limit $3 offset $4

-- name: ended_not_logged
select c.contact_id, c.channel, c.offered_at, c.answered_at, c.ended_at, c.end_reason, c.outcome, c.elsewhere,
       (select a.agent_id from assignment a where a.tenant_id = c.tenant_id and a.contact_id = c.contact_id
                                              and (a.answered_at is not null or c.end_reason = 'finished')
        order by a.offered_at desc limit 1) as agent_id
from contact c
where c.tenant_id = $1 and c.state = 'ended' and c.logged_at is null
  and not exists (select 1 from assignment a where a.tenant_id = c.tenant_id and a.contact_id = c.contact_id and a.ended_at is null)
order by c.ended_at limit $2

-- name: logged
update contact set logged_at = $3 where tenant_id = $1 and contact_id = any ($2::uuid[])
