-- What the benchmarks look up about a database. As superuser: row-level security shows nobody else all rows.

-- name: size
select pg_database_size(current_database()) as size, (select count(*) from firstring.record_key) as keys,
       (select count(distinct person_id) from firstring.record) as persons,
       current_setting('server_version') as version

-- name: newest_import
-- How many rows the newest import has written.
select rows_done from firstring.import_run order by started_at desc limit 1

-- name: vacuum
vacuum (analyze)

-- name: checkpoint
checkpoint

-- name: persons
-- The person of every record, by the blind index of its own id.
select external_key, person_id from firstring.record


-- name: tenant
select tenant_id from tenant

-- name: rung
-- Decisions that were made when a contact came.
select count(*) from firstring.decision where revision = 1

-- name: plain_table
create table if not exists bench_plain (number int, at timestamptz)

-- name: plain
insert into bench_plain (number, at) values ($1, clock_timestamp())
