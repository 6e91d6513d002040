-- Migrations: what was applied, and the application role's rights.

-- name: lock
-- One upgrade at a time in this database; the session's end unlocks it.
select pg_advisory_lock(hashtext('firstring.schema'), 1)

-- name: has_schema
-- Whether the schema and the list of migrations exist.
select to_regnamespace('firstring') is not null as schema, to_regclass('firstring.schema_migration') is not null as list

-- name: create_schema
create schema firstring

-- name: create_list
create table schema_migration (
  number      int primary key,
  name        text not null,
  sha256      text not null,
  applied_at  timestamptz not null default now()
)

-- name: applied
select number, name, sha256 from schema_migration order by number

-- name: record
insert into schema_migration (number, name, sha256) values ($1, $2, $3)

-- name: role_exists
select exists (select from pg_roles where rolname = $1)

-- name: grants
-- One statement a row: the rights of the application role $1. The registry and the list of migrations only grow.
select format('grant usage on schema firstring to %I', $1::text) as statement
union all
select format('grant usage, select on all sequences in schema firstring to %I', $1::text)
union all
select format('grant execute on all functions in schema firstring to %I', $1::text)
union all
select format(case when c.relname = 'schema_migration' then 'grant select on %I to %I'
                   when c.relname = 'tenant' then 'grant select, insert on %I to %I'
                   else 'grant select, insert, update, delete on %I to %I' end, c.relname, $1::text)
from pg_class c
where c.relnamespace = 'firstring'::regnamespace and c.relkind in ('r', 'p', 'v')
