-- Training on the store, rolling a model version in, drift.

-- name: extent
-- How many records there are, and the largest id.
select count(*) as records, coalesce(max(record_id), 0) as last_id from record where tenant_id = $1

-- name: sources
select source_id, name from source where tenant_id = $1 order by name

-- name: records_after
select record_id, source_id, external_key, content_key, link_keys, wrapped_key, sealed from record
where tenant_id = $1 and record_id > $2 and record_id <= $3 order by record_id limit $4

-- name: versions
select model_id, version, state, threshold, report, trained_at, activated_at from identity_model
where tenant_id = $1 order by model_id

-- name: note_report
-- Adds to what is known of a version: training, roll-in and drift have a part each.
update identity_model set report = coalesce(report, '{}') || $3 where tenant_id = $1 and model_id = $2

-- name: decisions
-- Decisions in force of which both records are there.
select d.kind, l.record_id as left_id, r.record_id as right_id
from link_decision d
join record l on l.tenant_id = d.tenant_id and l.source_id = d.left_source and l.external_key = d.left_key
join record r on r.tenant_id = d.tenant_id and r.source_id = d.right_source and r.external_key = d.right_key
where d.tenant_id = $1 and d.revoked_at is null
order by d.decision_id
