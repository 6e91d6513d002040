-- What supervisors see of the lines and of the day.

-- name: line
-- The first $2 of each channel in the order of the line, with what was told of the wait.
select w.*
from unnest($3::text[]) as wanted(channel)
cross join lateral (
  select c.contact_id, c.channel, c.priority, c.need, coalesce(c.waiting_since, c.offered_at) as since,
         c.told_wait_s, c.told_low_s, c.told_high_s, c.told_at,
         row_number() over (order by c.turn_at)::int as place
  from contact c
  where c.tenant_id = $1 and c.channel = wanted.channel and c.state in ('offered', 'waiting')
  order by c.turn_at limit $2
) w
order by w.since

-- name: lengths
-- How many wait on each channel, and since when the longest of them.
select c.channel, count(*)::int as contacts, min(coalesce(c.waiting_since, c.offered_at)) as since
from contact c where c.tenant_id = $1 and c.state in ('offered', 'waiting') group by c.channel

-- name: day
-- Calls offered since $2; $3: the promise, in seconds. told: answered calls whose wait had been told; kept: within what was told.
select count(*)::int as offered,
       count(c.answered_at)::int as answered,
       (count(*) filter (where c.answered_at is null and c.end_reason = 'cancelled'))::int as abandoned,
       (count(*) filter (where c.answered_at - c.offered_at <= make_interval(secs => $3)))::int as in_time,
       (coalesce(avg(extract(epoch from c.answered_at - c.offered_at)), 0))::float8 as wait_s,
       (count(*) filter (where c.told_wait_s is not null and c.answered_at is not null))::int as told,
       (count(*) filter (where extract(epoch from c.answered_at - c.told_at) between c.told_low_s and c.told_high_s))::int as kept
from contact c
where c.tenant_id = $1 and c.channel = 'voice' and c.offered_at >= $2

-- name: there
-- Who is there for each channel: agents ready, and those of them with a free place.
select g.channel, count(distinct g.agent_id)::int as ready,
       (count(distinct g.agent_id) filter (where g.free_since is not null))::int as free
from agent_place g join agent a on a.tenant_id = g.tenant_id and a.agent_id = g.agent_id
where g.tenant_id = $1 and a.presence = 'ready' group by g.channel
