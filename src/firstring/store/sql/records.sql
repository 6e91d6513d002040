-- Source records and the persons they resolve into.

-- name: lock_applier
-- One transaction at a time changes a tenant's records: arrivals meet here and nowhere else.
select pg_advisory_xact_lock(1179796033, $1::int)

-- name: write_behind
-- The commit does not wait for the disk: for an import, whose place in the file is written by the same commit.
set local synchronous_commit = off

-- name: source
select source_id from source where tenant_id = $1 and name = $2

-- name: add_source
insert into source (tenant_id, name, created_at) values ($1, $2, $3)
on conflict (tenant_id, name) do update set name = excluded.name returning source_id

-- name: existing
select record_id, external_key, content_key, person_id, link_keys, is_copy from record
where tenant_id = $1 and source_id = $2 and external_key = any ($3::bytea[])

-- name: few_members
-- Who carries these keys now, as long as it is not more than $3 rows in all: one walk through the index, which is what
-- makes arrivals fast, since most keys are new.
select key, record_id from record_key where tenant_id = $1 and key = any ($2::bytea[]) limit $3

-- name: members
-- Who carries these keys now, for each key at most so many: bounded also where a key has a million records.
select w.key, r.record_id
from unnest($2::bytea[], $3::int[]) as w(key, bound)
cross join lateral (
  select x.record_id from record_key x where x.tenant_id = $1 and x.key = w.key limit w.bound
) r

-- name: records_of_same_persons
-- All records of the persons of these records.
select r.record_id, r.person_id, r.link_keys
from (select distinct x.person_id from record x where x.tenant_id = $1 and x.record_id = any ($2::bigint[])) p
join record r on r.tenant_id = $1 and r.person_id = p.person_id

-- name: links
select record_id, link_keys from record where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: new_record_ids
select nextval('firstring.record_record_id_seq'::regclass) from generate_series(1, $1::int)

-- name: new_persons
insert into person (tenant_id, created_at) select $1, $3 from generate_series(1, $2::int) returning person_id

-- name: incoming_table
create temporary table incoming (
  record_id bigint, fresh boolean, external_key bytea, content_key bytea, person_id bigint, keys bytea[], link_keys bytea[],
  is_copy boolean, wrapped_key bytea, sealed bytea, compared bytea, last_seen timestamptz, verified_at timestamptz
) on commit drop

-- name: insert_incoming
insert into record (tenant_id, record_id, source_id, external_key, content_key, person_id, keys, link_keys, is_copy,
                    wrapped_key, sealed, compared, last_seen, verified_at, created_at, updated_at)
overriding system value
select $1, i.record_id, $2, i.external_key, i.content_key, i.person_id, i.keys, i.link_keys, i.is_copy, i.wrapped_key,
       i.sealed, i.compared, i.last_seen, i.verified_at, $3, $3
from incoming i where i.fresh

-- name: insert_one
-- As insert_incoming, for records that are few: a temporary table costs more than they do.
insert into record (tenant_id, record_id, source_id, external_key, content_key, person_id, keys, link_keys, is_copy,
                    wrapped_key, sealed, compared, last_seen, verified_at, created_at, updated_at)
overriding system value
values ($1, $4, $2, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $3, $3)

-- name: delete_keys
-- Row by row through the index, by a lateral that cannot be flattened: of a table that is filling up there are no
-- statistics yet, and a join would be planned for a handful of rows.
with old as materialized (
  select r.record_id, u.key
  from record r cross join lateral unnest(r.keys || r.link_keys) as u(key)
  where r.tenant_id = $1 and r.record_id = any ($2::bigint[])
)
delete from record_key k where k.tenant_id = $1 and k.ctid = any (array(
  select x.place from old cross join lateral (
    select y.ctid as place from record_key y where y.tenant_id = $1 and y.key = old.key and y.record_id = old.record_id offset 0
  ) x
))

-- name: delete_changed_keys
-- Of changed records the keys that they have no more; see delete_keys.
with old as materialized (
  select r.record_id, u.key
  from incoming i
  cross join lateral (
    select r.record_id, r.keys, r.link_keys from record r where r.tenant_id = $1 and r.record_id = i.record_id offset 0
  ) r
  cross join lateral unnest(r.keys || r.link_keys) as u(key)
  where not i.fresh and u.key <> all (i.keys || i.link_keys)
)
delete from record_key k where k.tenant_id = $1 and k.ctid = any (array(
  select x.place from old cross join lateral (
    select y.ctid as place from record_key y where y.tenant_id = $1 and y.key = old.key and y.record_id = old.record_id offset 0
  ) x
))

-- name: insert_changed_keys
-- Of changed records the keys that they did not have; before update_incoming.
insert into record_key (tenant_id, key, record_id)
select $1, u.key, i.record_id
from incoming i
cross join lateral (
  select r.keys, r.link_keys from record r where r.tenant_id = $1 and r.record_id = i.record_id offset 0
) r
cross join lateral unnest(i.keys || i.link_keys) as u(key)
where not i.fresh and octet_length(u.key) <> 20 and u.key <> all (r.keys || r.link_keys)
order by u.key

-- name: update_incoming
update record r
set version = r.version + 1, content_key = i.content_key, person_id = i.person_id, keys = i.keys, link_keys = i.link_keys,
    is_copy = i.is_copy, wrapped_key = i.wrapped_key, sealed = i.sealed, compared = i.compared, last_seen = i.last_seen,
    verified_at = i.verified_at, updated_at = $2
from incoming i
where not i.fresh and r.tenant_id = $1 and r.record_id = i.record_id

-- name: insert_keys
-- Narrow link keys are longer (store/identity/partition.py): they stay in the record.
insert into record_key (tenant_id, key, record_id)
select $1, u.key, i.record_id
from incoming i cross join lateral unnest(i.keys || i.link_keys) as u(key)
where i.fresh and octet_length(u.key) <> 20
order by u.key

-- name: move_records
-- A record that changes its person is another version: what was read of it is not what it is now.
update record r set person_id = m.person_id, version = r.version + 1
from unnest($2::bigint[], $3::bigint[]) as m(record_id, person_id)
where r.tenant_id = $1 and r.record_id = m.record_id

-- name: redirect
-- Persons that are no more point to a living one, and so do those that pointed to them.
update person p set merged_into = m.target
from unnest($2::bigint[], $3::bigint[]) as m(gone, target)
where p.tenant_id = $1 and (p.person_id = m.gone or p.merged_into = m.gone)

-- name: note_change
insert into person_change (tenant_id, kind, person_id, other_id, cause, changed_at)
select $1, c.kind, c.person_id, c.other_id, $5, $6
from unnest($2::text[], $3::bigint[], $4::bigint[]) as c(kind, person_id, other_id)

-- name: delete_events
delete from event where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: delete_records
delete from record where tenant_id = $1 and record_id = any ($2::bigint[])

-- name: start_import
insert into import_run (tenant_id, source_id, file_key, started_at) values ($1, $2, $3, $4)
on conflict (tenant_id, source_id, file_key) do nothing

-- name: import_run
select rows_done, applied, unchanged, rejected, started_at, finished_at from import_run
where tenant_id = $1 and source_id = $2 and file_key = $3

-- name: restart_import
update import_run set rows_done = 0, applied = 0, unchanged = 0, rejected = 0, finished_at = null, started_at = $4
where tenant_id = $1 and source_id = $2 and file_key = $3

-- name: advance_import
-- Only from where this run began: two programs importing one file do not both count.
update import_run
set rows_done = $5, applied = applied + $6, unchanged = unchanged + $7, rejected = rejected + $8, finished_at = $9
where tenant_id = $1 and source_id = $2 and file_key = $3 and rows_done = $4
returning rows_done
