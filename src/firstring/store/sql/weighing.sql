-- name: model_of_version
select model_id from identity_model where tenant_id = $1 and version = $2 order by model_id desc limit 1
