-- The pick as the simulator measures it: who is busy while it rings, what the elected task has gathered, policies as they were.

-- Who was taken lately, for the guard's memory and for how busy everybody was.
create index assignment_ended on assignment (tenant_id, ended_at) where ended_at is not null;

create table routing_state (             -- what the elected task has gathered, for the next one to go on with
  tenant_id     int not null references tenant,
  name          text not null,           -- 'load', or 'reliance:' and the trained model's version
  content       text not null,           -- JSON of store.routing: agents' numbers and sums, nothing of customers
  made_at       timestamptz not null,
  primary key (tenant_id, name)
);

create table routing_policy (            -- each policy that was in force on a server, to derive its decisions again
  tenant_id     int not null references tenant,
  version       text not null,           -- out of the content
  content       text not null,           -- JSON of routing.policy.RoutingPolicy
  loaded_at     timestamptz not null,
  primary key (tenant_id, version)
);

do $$
declare t text;
begin
  foreach t in array array['routing_state', 'routing_policy'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;

-- Agents who are there for a channel and have no place free on it, with how many contacts each has on any channel, at most
-- p_most of them; and how many wait (200: so many or more). Nothing where p_channel is null.
create function ring_busy(p_tenant int, p_channel text, p_most int, out busy_ids bigint[], out busy_versions int[],
                          out busy_taken bigint[], out waiting int)
language plpgsql stable as $$
begin
  if p_channel is null then return; end if;
  perform set_config('app.tenant', p_tenant::text, true);
  select array_agg(b.agent_id order by b.agent_id), array_agg(b.version order by b.agent_id),
         array_agg(b.taken order by b.agent_id)
  into busy_ids, busy_versions, busy_taken
  from (
    select g.agent_id, max(g.version) as version, max(t.taken) as taken
    from (
      select s.agent_id, count(*) as taken from assignment s
      where s.tenant_id = p_tenant and s.ended_at is null group by s.agent_id limit p_most
    ) t
    join agent_place g on g.tenant_id = p_tenant and g.agent_id = t.agent_id and g.channel = p_channel
    join agent a on a.tenant_id = p_tenant and a.agent_id = t.agent_id and a.presence = 'ready'
    group by g.agent_id having bool_and(g.free_since is null)
  ) b;
  select count(*)::int into waiting from (
    select from contact c where c.tenant_id = p_tenant and c.channel = p_channel and c.state = 'waiting'
      and c.state in ('offered', 'waiting') limit 200
  ) w;
end $$;
