-- name: active_model
select model_id from identity_model where tenant_id = $1 and state = 'active'

-- name: model
select version, model, wrapped_key, statistics, threshold from identity_model where tenant_id = $1 and model_id = $2

-- name: add_model
insert into identity_model (tenant_id, version, state, model, wrapped_key, statistics, threshold, trained_at)
values ($1, $2, 'candidate', $3, $4, $5, $6, $7) returning model_id

-- name: retire_model
update identity_model set state = 'retired' where tenant_id = $1 and state = $3 and model_id <> $2

-- name: set_model_state
update identity_model
set state = $3, activated_at = case when $3 = 'active' then $4 else activated_at end
where tenant_id = $1 and model_id = $2
