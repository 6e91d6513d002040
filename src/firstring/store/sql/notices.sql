-- Notices that a process sends by itself, after the transactions they are about.

-- name: without_waiting_for_the_disk
-- A notice is no data: what it is about is durable already.
set synchronous_commit = off

-- name: send
select pg_notify('firstring', payload) from unnest($1::text[]) as payload
