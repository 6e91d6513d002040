-- Who is there for the lines, and who was taken out of them.

-- name: there
-- Everybody who is ready, by channel, free or not, with how many contacts they have in all.
select g.agent_id, g.channel, max(g.version) as version, max(a.presence_at) as presence_at,
       coalesce(max(t.taken), 0)::bigint as taken
from agent_place g
join agent a on a.tenant_id = g.tenant_id and a.agent_id = g.agent_id and a.presence = 'ready'
left join (
  select s.agent_id, count(*) as taken from assignment s where s.tenant_id = $1 and s.ended_at is null group by s.agent_id
) t on t.agent_id = g.agent_id
where g.tenant_id = $1 group by g.agent_id, g.channel order by g.agent_id

-- name: waiting
-- How many wait on each channel, counted up to 200.
select k.channel, (select count(*)::int from (
         select from contact c where c.tenant_id = $1 and c.channel = k.channel and c.state in ('offered', 'waiting')
           and c.state = 'waiting' limit 200) w) as contacts
from (select distinct g.channel from agent_place g where g.tenant_id = $1) k

-- name: assigned
-- Assignments on a channel since $3, the newest $4, with the place that the contact had in the line.
select s.assignment_id, s.agent_id, s.agent_version, s.offered_at, c.contact_id, c.need, c.turn_at,
       coalesce(c.waiting_since, c.offered_at) as since
from (
  select * from assignment x where x.tenant_id = $1 and x.ended_at is null and x.channel = $2 and x.offered_at > $3
  union all
  select * from assignment x where x.tenant_id = $1 and x.ended_at > $3 and x.channel = $2 and x.offered_at > $3
) s
join contact c on c.tenant_id = $1 and c.contact_id = s.contact_id
order by s.offered_at desc limit $4
