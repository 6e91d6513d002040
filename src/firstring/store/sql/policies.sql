-- Routing policies that were in force.

-- name: put
insert into routing_policy (tenant_id, version, content, loaded_at) values ($1, $2, $3, $4)
on conflict (tenant_id, version) do update set loaded_at = excluded.loaded_at

-- name: all
select content from routing_policy where tenant_id = $1 order by loaded_at desc limit $2
