-- Places that are no agent's, and what decisions know of the moment.

-- name: tiers_seen
-- When a customer of each tier came last, since $2.
select c.need ->> 'tier' as tier, max(c.offered_at) as at from contact c
where c.tenant_id = $1 and c.offered_at >= $2 and c.need ? 'tier' group by 1

-- name: lines
-- How many wait on each channel.
select c.channel, count(*)::int as contacts from contact c
where c.tenant_id = $1 and c.state in ('offered', 'waiting') group by c.channel

-- name: there
-- How many contacts are at each place.
select c.elsewhere as name, count(*)::int as contacts from contact c
where c.tenant_id = $1 and c.state = 'elsewhere' and c.state <> 'ended' group by 1

-- name: contained
-- Of visits since $2, how many contacts were done there, and how many came back.
select v.name, count(*) filter (where v.done)::int as contained, count(*) filter (where not v.done)::int as back
from place_visit v where v.tenant_id = $1 and v.at >= $2 and v.done is not null group by v.name

-- name: judge
-- Whether contacts were done at their places: not those that left for a person, were sent back, or whose person was in contact
-- again within $4. An outcome that was told ($5 success, $6 not judged) says so at once; else it is said once that time is over,
-- the same for both, so that what fails quickly does not count first. Of nobody known only what was told, or that they left.
update place_visit t set done = j.done
from (
  select v.contact_id, v.revision, case
      when v.left_at is null and c.outcome = any ($5::text[]) then true
      when v.left_at is null and c.outcome is not null and not c.outcome = any ($6::text[]) then false
      when v.at > $3::timestamptz - $4::interval then null
      when v.left_at is not null or c.end_reason = 'defaulted' then false
      when c.state <> 'ended' or c.person_id is null then null
      else not exists (select from unnest(again.at) as o(at) where o.at > v.at and o.at <= v.at + $4::interval)
    end as done
  from place_visit v
  join contact c on c.tenant_id = v.tenant_id and c.contact_id = v.contact_id
  left join (
    select o.person_id, array_agg(o.offered_at) as at from contact o
    where o.tenant_id = $1 and o.offered_at > $2 and o.person_id is not null group by o.person_id having count(*) > 1
  ) again on again.person_id = c.person_id
  where v.tenant_id = $1 and v.done is null and v.at > $2
) j
where t.tenant_id = $1 and t.contact_id = j.contact_id and t.revision = j.revision and j.done is not null

-- name: gone
-- Contacts at a place for longer than anybody stays: whoever has them does not say when they end.
select contact_id from contact c
where c.tenant_id = $1 and c.state = 'elsewhere' and exists (
  select from place_visit v where v.tenant_id = c.tenant_id and v.contact_id = c.contact_id and v.left_at is null and v.at < $2)
limit 100
