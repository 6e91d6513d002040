-- The hygiene job: where it is, what it found.

-- name: newest_sweep
select sweep_id, version, position, report, started_at, advanced_at, finished_at from hygiene_sweep
where tenant_id = $1 order by sweep_id desc limit 1

-- name: last_finished
select sweep_id, version, position, report, started_at, advanced_at, finished_at from hygiene_sweep
where tenant_id = $1 and finished_at is not null order by sweep_id desc limit 1

-- name: start_sweep
insert into hygiene_sweep (tenant_id, version, report, started_at, advanced_at) values ($1, $2, $3, $4, $4)
on conflict do nothing

-- name: advance_sweep
-- Only from where this batch began: two programs at it do not both count.
update hygiene_sweep set position = $4, report = $5, advanced_at = $6, finished_at = $7
where tenant_id = $1 and sweep_id = $2 and position = $3 and finished_at is null
returning sweep_id

-- name: forget_sweeps
-- All but the newest 50.
delete from hygiene_sweep
where tenant_id = $1 and sweep_id < (select min(x.sweep_id) from (
  select sweep_id from hygiene_sweep where tenant_id = $1 order by sweep_id desc limit 50) x)

-- name: next_persons
select person_id from person where tenant_id = $1 and person_id > $2 and merged_into is null order by person_id limit $3

-- name: cursor
select record_id, history_id from hygiene_cursor where tenant_id = $1

-- name: start_cursor
insert into hygiene_cursor (tenant_id, record_id, history_id)
select $1, coalesce((select max(record_id) from record where tenant_id = $1), 0),
       coalesce((select max(history_id) from record_history where tenant_id = $1), 0)
on conflict (tenant_id) do nothing

-- name: new_records
select record_id, person_id from record where tenant_id = $1 and record_id > $2 order by record_id limit $3

-- name: new_history
-- Records that changed, moved or went: the persons they were of, and are of now.
select h.history_id, h.person_id as was, r.person_id as is
from record_history h left join record r on r.tenant_id = $1 and r.record_id = h.record_id
where h.tenant_id = $1 and h.history_id > $2 order by h.history_id limit $3

-- name: move_cursor
update hygiene_cursor set record_id = $2, history_id = $3 where tenant_id = $1

-- name: clear_stale
delete from person_stale
where tenant_id = $1 and person_id = any ($2::bigint[]) and not person_id = any ($3::bigint[])

-- name: put_stale
insert into person_stale (tenant_id, person_id, fields, found_at)
select $1, x.person_id, string_to_array(x.fields, ','), $4 from unnest($2::bigint[], $3::text[]) as x(person_id, fields)
on conflict (tenant_id, person_id) do update set fields = excluded.fields

-- name: stale
select person_id, fields, found_at from person_stale
where tenant_id = $1 and person_id > $2 order by person_id limit $3
