-- What was read in words, and the text models of tenants.

-- name: insert_words
-- Each goes where its event is counted, and came in where that came in.
insert into event (tenant_id, message_key, record_id, visitor, came_in, about_id, channel, occurred_at, received_at, standing,
                   wrapped_key, sealed)
select $1, w.message_key, a.record_id, a.visitor, a.came_in, a.event_id, w.channel, w.occurred_at, w.received_at, w.standing,
       w.wrapped_key, w.sealed
from unnest($2::bytea[], $3::bytea[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::smallint[], $8::bytea[], $9::bytea[])
  as w(message_key, about, channel, occurred_at, received_at, standing, wrapped_key, sealed)
join event a on a.tenant_id = $1 and a.message_key = w.about
on conflict (tenant_id, message_key) do nothing
returning event_id, record_id, message_key

-- name: model_in_force
select model_id, version, report, trained_at from reason_model where tenant_id = $1 and in_force

-- name: model_sealed
select model_id, version, wrapped_key, sealed from reason_model
where tenant_id = $1 and (model_id = $2 or version = $3) order by model_id desc limit 1

-- name: models
select model_id, version, report, in_force, trained_at from reason_model where tenant_id = $1 order by model_id

-- name: retire_model
update reason_model set in_force = false where tenant_id = $1 and in_force

-- name: add_model
insert into reason_model (tenant_id, version, report, in_force, trained_at, wrapped_key, sealed)
values ($1, $2, $3, true, $4, $5, $6) returning model_id

-- name: use_model
update reason_model set in_force = true where tenant_id = $1 and model_id = $2 returning version
