-- The feed of changes, and who is told of it.

-- name: begin_feed
insert into change_feed (tenant_id, begun_at) values ($1, $2) on conflict (tenant_id) do nothing

-- name: feed_locked
select last, forgotten, begun_at from change_feed where tenant_id = $1 for update

-- name: place
-- Those that have become visible since get the next positions. Whoever does this holds the feed's row: one at a time.
with fresh as (
  select change_id from change where tenant_id = $1 and position is null order by change_id limit $3
), numbered as (
  select change_id, $2::bigint + row_number() over (order by change_id) as position from fresh
), placed as (
  update change c set position = n.position from numbered n
  where c.tenant_id = $1 and c.change_id = n.change_id returning c.position
)
update change_feed f set last = coalesce((select max(position) from placed), f.last) where f.tenant_id = $1 returning f.last

-- name: after
select position, kind, person_id, other_id, what, at from change
where tenant_id = $1 and position > $2 and ($4::text[] is null or kind = any ($4)) order by position limit $3

-- name: forget
with old as (
  delete from change where tenant_id = $1 and position is not null and at < $2 returning position
)
update change_feed set forgotten = greatest(forgotten, coalesce((select max(position) from old), 0)) where tenant_id = $1

-- name: add_feed
insert into feed (tenant_id, name, kinds, profiles, position, next_at, created_at, wrapped_key, sealed)
values ($1, $2, $3, $4, $5, $6, $6, $7, $8)
on conflict (tenant_id, name) where state = 'active' do nothing returning feed_id

-- name: feeds
select feed_id, name, kinds, profiles, position, state, failures, last_code, next_at, sent_at, created_at, wrapped_key, sealed
from feed where tenant_id = $1 and state = 'active' order by name

-- name: end_feed
update feed set state = 'ended', wrapped_key = null, sealed = null where tenant_id = $1 and name = $2 and state = 'active'
returning feed_id

-- name: take_feed
-- One whose turn it is; whoever takes it has until $3.
update feed f set next_at = $3
from (
  select x.feed_id from feed x where x.tenant_id = $1 and x.state = 'active' and x.next_at <= $2
  order by x.next_at limit 1 for update skip locked
) due
where f.tenant_id = $1 and f.feed_id = due.feed_id
returning f.feed_id, f.name, f.kinds, f.profiles, f.position, f.failures, f.wrapped_key, f.sealed

-- name: fed
-- Only from where it stood: of two that sent the same, one advances it.
update feed set position = $4, failures = 0, last_code = null, next_at = $5, sent_at = coalesce($6, sent_at)
where tenant_id = $1 and feed_id = $2 and position = $3

-- name: not_fed
update feed set failures = failures + 1, last_code = $3, next_at = $4 where tenant_id = $1 and feed_id = $2
