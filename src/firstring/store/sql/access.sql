-- Tenants, roles, staff, sessions, tokens.

-- name: own_role
select rolname, rolsuper, rolbypassrls from pg_roles where rolname = current_user

-- name: tenants
select tenant_id, name, wrapped_key from tenant order by tenant_id

-- name: tenant_by_id
select tenant_id, name, wrapped_key from tenant where tenant_id = $1
