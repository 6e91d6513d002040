-- Calls that were promised.

-- name: lock_booking
-- One transaction at a time promises calls: two do not take the last place of a slot.
select pg_advisory_xact_lock(1179796037, $1::int)

-- name: taken
select due_at, count(*)::int as calls from callback
where tenant_id = $1 and state = 'booked' and due_at >= $2 group by due_at

-- name: open_for_number
select callback_id, due_at from callback where tenant_id = $1 and number_key = $2 and state in ('booked', 'offered')

-- name: book
insert into callback (tenant_id, callback_id, delivery_id, record_id, number_key, due_at, booked_at, state_at, wrapped_key, sealed)
values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9)

-- name: locked
select callback_id, delivery_id, record_id, state, due_at, attempts, contact_id, wrapped_key, sealed from callback
where tenant_id = $1 and callback_id = $2 for update

-- name: offered
update callback set state = 'offered', contact_id = $3, attempts = attempts + 1, state_at = $4
where tenant_id = $1 and callback_id = $2

-- name: become
update callback set state = $3, state_at = $4 where tenant_id = $1 and callback_id = $2

-- name: again
update callback set state = 'booked', due_at = $3, state_at = $4, contact_id = null where tenant_id = $1 and callback_id = $2

-- name: over
-- Calls whose contact is over, or was never made.
select b.callback_id, b.delivery_id, b.attempts, c.answered_at, c.end_reason
from callback b left join contact c on c.tenant_id = b.tenant_id and c.contact_id = b.contact_id
where b.tenant_id = $1 and b.state = 'offered' and (c.state = 'ended' or (c.contact_id is null and b.state_at < $2))
order by b.due_at limit 100

-- name: forget
update callback set wrapped_key = null, sealed = null
where tenant_id = $1 and state in ('done', 'missed', 'cancelled') and state_at < $2 and sealed is not null

-- name: listed
select callback_id, record_id, state, due_at, attempts, contact_id, booked_at, state_at from callback
where tenant_id = $1 order by due_at desc limit $2

-- name: record_fields
select wrapped_key, sealed from record where tenant_id = $1 and record_id = $2
