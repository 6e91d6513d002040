-- Training on the store, rolling a model version in, drift.

-- name: extent
-- How many records there are, and the largest id.
select count(*) as records, coalesce(max(record_id), 0) as last_id from record where tenant_id = $1

-- name: sources
select source_id, name from source where tenant_id = $1 order by name

-- name: records_after
select record_id, source_id, content_key, wrapped_key, sealed from record
where tenant_id = $1 and record_id > $2 and record_id <= $3 order by record_id limit $4

-- name: versions
select model_id, version, state, threshold, report, trained_at, activated_at from identity_model
where tenant_id = $1 order by model_id

-- name: note_report
-- Adds to what is known of a version: training, roll-in and drift have a part each.
update identity_model set report = coalesce(report, '{}') || $3 where tenant_id = $1 and model_id = $2
