-- What the embedded server needs before migrations can run. The superuser runs each block at every start.

-- name: embedded_roles
-- Creates the owner and the application role and takes from both every right they must not have.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['firstring_owner', 'firstring_app'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I', role_name);
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN INHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION', role_name);
        -- An error message quotes the value it refuses: the client gets it, the server's log must not.
        EXECUTE format('ALTER ROLE %I SET log_min_messages = ''log''', role_name);
    END LOOP;
END $$;

-- name: embedded_database_exists
-- One row if the database is there.
SELECT 1 FROM pg_database WHERE datname = 'firstring';

-- name: embedded_create_database
-- Creates the database; it takes encoding and locale from initdb.
CREATE DATABASE firstring OWNER firstring_owner TEMPLATE template0;

-- name: embedded_connect_rights
-- Only the roles of Firstring may connect; the application role may have temporary tables, which imports use.
DO $$
BEGIN
    ALTER DATABASE firstring OWNER TO firstring_owner;
    REVOKE ALL ON DATABASE firstring, postgres, template1 FROM PUBLIC;
    GRANT CONNECT, TEMPORARY ON DATABASE firstring TO firstring_app;
END $$;

-- name: embedded_schema_rights
-- The schema belongs to the database's owner; nobody else creates anything in it.
DO $$
BEGIN
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT USAGE ON SCHEMA public TO firstring_app;
END $$;
