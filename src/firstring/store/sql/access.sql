-- Tenants, roles, staff, sessions, tokens.

-- name: own_role
select rolname, rolsuper, rolbypassrls from pg_roles where rolname = current_user

-- name: tenants
select tenant_id, name, wrapped_key from tenant order by tenant_id

-- name: tenant_by_id
select tenant_id, name, wrapped_key from tenant where tenant_id = $1

-- name: tenant_by_name
select tenant_id, name, wrapped_key from tenant where name = $1

-- name: add_tenant
insert into tenant (name, wrapped_key, created_at) values ($1, $2, $3)
on conflict (name) do nothing returning tenant_id, name, wrapped_key

-- name: add_staff
insert into staff (tenant_id, login, password_hash, role, agent_id, created_at) values ($1, $2, $3, $4, $5, $6)
on conflict (tenant_id, login) do nothing returning staff_id

-- name: staff
select staff_id, login, role, agent_id, active, created_at from staff where tenant_id = $1 order by login

-- name: staff_by_login
select staff_id, login, role, agent_id, active, created_at, password_hash from staff where tenant_id = $1 and login = $2

-- name: set_password
update staff set password_hash = $3 where tenant_id = $1 and staff_id = $2 returning staff_id

-- name: set_active
update staff set active = $3 where tenant_id = $1 and staff_id = $2 returning staff_id

-- name: first_administrator
-- Adds one where there is none. The lock on the tenant's staff keeps two programs from adding two.
insert into staff (tenant_id, login, password_hash, role, created_at)
select $1, $2, $3, 'administrator', $4
where not exists (select from staff where tenant_id = $1 and role = 'administrator' and active)
on conflict (tenant_id, login) do nothing returning staff_id

-- name: lock_staff
lock table staff in share row exclusive mode

-- name: add_session
insert into staff_session (tenant_id, session_key, staff_id, csrf, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)

-- name: session
select s.csrf, s.expires_at, t.staff_id, t.login, t.role, t.agent_id, t.active, t.created_at
from staff_session s join staff t on t.tenant_id = s.tenant_id and t.staff_id = s.staff_id
where s.tenant_id = $1 and s.session_key = $2 and s.expires_at > $3 and t.active

-- name: end_session
delete from staff_session where tenant_id = $1 and session_key = $2

-- name: end_sessions_of
delete from staff_session where tenant_id = $1 and staff_id = $2

-- name: end_expired_sessions
delete from staff_session where tenant_id = $1 and expires_at <= $2

-- name: add_token
insert into api_token (tenant_id, token_key, role, name, created_at, source) values ($1, $2, $3, $4, $5, $6) returning token_id

-- name: token
select token_id, role, name, created_at, revoked_at, source from api_token
where tenant_id = $1 and token_key = $2 and revoked_at is null

-- name: tokens
select token_id, role, name, created_at, revoked_at, source from api_token where tenant_id = $1 order by token_id

-- name: revoke_token
update api_token set revoked_at = $3 where tenant_id = $1 and token_id = $2 and revoked_at is null returning token_id
