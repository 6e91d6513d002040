-- Durable timers: what is to be done at some time, by whichever server runs then.

-- name: set_timer
insert into timer (tenant_id, kind, key, due_at, next_at, wrapped_key, sealed) values ($1, $2, $3, $4, $4, $5, $6)
on conflict (tenant_id, kind, key) do update
set due_at = excluded.due_at, next_at = excluded.next_at, attempts = 0, turn = timer.turn + 1,
    wrapped_key = excluded.wrapped_key, sealed = excluded.sealed

-- name: cancel_timer
delete from timer where tenant_id = $1 and kind = $2 and key = $3

-- name: take_due
-- Takes a turn at timers that are due, the oldest first; nobody else takes them before $5.
with due as (
  select kind, key from timer
  where tenant_id = $1 and next_at <= $3 and kind = any ($2::text[])
  order by next_at limit $4 for update skip locked
)
update timer t set next_at = $5, attempts = t.attempts + 1, turn = t.turn + 1
from due where t.tenant_id = $1 and t.kind = due.kind and t.key = due.key
returning t.kind, t.key, t.due_at, t.attempts, t.turn, t.wrapped_key, t.sealed

-- name: timer_done
delete from timer where tenant_id = $1 and kind = $2 and key = $3 and turn = $4

-- name: timer_failed
update timer set next_at = coalesce($5, 'infinity'::timestamptz) where tenant_id = $1 and kind = $2 and key = $3 and turn = $4

-- name: next_timer
select min(next_at) from timer where tenant_id = $1 and kind = any ($2::text[]) and next_at < 'infinity'

-- name: timers
select key, due_at, nullif(next_at, 'infinity') as next_at, attempts from timer where tenant_id = $1 and kind = $2 order by due_at, key limit $3
