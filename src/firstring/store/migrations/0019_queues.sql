-- Queues: the line as it is served, mixes of channels, waits as they are told, what people of the house do about it, prices.

-- The place in the line, as a time: waiting since, less what the priority is worth (need.ahead_s). It is what the queue is
-- served by, so the first so many of a line of any length are read by an index.
alter table contact add column turn_at timestamptz not null default 'epoch';
update contact set turn_at = coalesce(waiting_since, offered_at) where state <> 'ended';
drop index contact_unassigned;
create index contact_turn on contact (tenant_id, channel, turn_at) where state in ('offered', 'waiting');

-- The wait that was told when the contact came into the queue (seconds; 80 % of waits are to lie between low and high).
alter table contact add column told_wait_s real, add column told_low_s real, add column told_high_s real,
                    add column told_at timestamptz;
create index contact_told on contact (tenant_id, told_at) where told_at is not null;

-- An agent with a mix of channels, or a limit over all of them: a claim looks at everything the agent has.
alter table agent_place add column mixed boolean not null default false;

create table intervention (              -- what people of the house did about contacts and agents
  tenant_id     int not null,
  intervention_id bigint generated always as identity,
  at            timestamptz not null,
  done_by       text not null,           -- a login
  what          text not null,
  contact_id    uuid,
  agent_id      bigint,
  detail        text,                    -- codes and numbers; what was written is sealed
  wrapped_key   bytea,
  sealed        bytea,                   -- why, and the note
  primary key (tenant_id, intervention_id)
);
create index intervention_at on intervention (tenant_id, at desc);

create table routing_prices (            -- what a second of each agent's time is worth, as the elected task found it
  tenant_id     int not null references tenant,
  version       text not null,           -- out of the content
  content       text not null,           -- JSON of routing.live: agents' numbers and prices, nothing of customers
  epoch         bigint not null,         -- of the lease under which it was made
  made_at       timestamptz not null,
  active        boolean not null,
  primary key (tenant_id, version)
);
create unique index routing_prices_active on routing_prices (tenant_id) where active;

do $$
declare t text;
begin
  foreach t in array array['intervention', 'routing_prices'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;

-- Whether one more contact on p_channel fits beside what an agent has, by the profile's mix and at_once (as
-- routing.agents.may_take). The caller holds the agent's row.
create function fits_mix(p_tenant int, p_agent bigint, p_profile jsonb, p_channel text) returns boolean
language plpgsql as $$
declare
  has jsonb;
  total int;
begin
  select coalesce(jsonb_object_agg(n.channel, n.held), '{}'), coalesce(sum(n.held), 0)::int into has, total from (
    select g.channel, count(*)::int as held from agent_place g
    where g.tenant_id = p_tenant and g.agent_id = p_agent and g.assignment_id is not null group by g.channel
  ) n;
  if coalesce((p_profile ->> 'at_once')::int, 0) > 0 and total + 1 > (p_profile ->> 'at_once')::int then return false; end if;
  if coalesce(jsonb_array_length(p_profile -> 'mix'), 0) = 0 then return true; end if;
  has := jsonb_set(has, array[p_channel], to_jsonb(coalesce((has ->> p_channel)::int, 0) + 1));
  return exists (
    select from jsonb_array_elements(p_profile -> 'mix') m(allowed)
    where not exists (select from jsonb_each_text(has) h where h.value::int > coalesce((m.allowed ->> h.key)::int, 0))
  );
end $$;

-- Opens the free places of a mixed agent on channels where one more contact fits, and closes the others. The caller holds
-- the agent's row; all that changes places of such an agent holds it first.
create function open_places(p_tenant int, p_agent bigint, p_at timestamptz) returns void
language plpgsql as $$
declare
  profile jsonb;
  ready boolean;
  one record;
begin
  select v.profile, a.presence = 'ready' into profile, ready
  from agent a join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.version
  where a.tenant_id = p_tenant and a.agent_id = p_agent;
  for one in
    select distinct g.channel from agent_place g
    where g.tenant_id = p_tenant and g.agent_id = p_agent and g.assignment_id is null
  loop
    if ready and fits_mix(p_tenant, p_agent, profile, one.channel) then
      update agent_place g set free_since = p_at
      where g.tenant_id = p_tenant and g.agent_id = p_agent and g.channel = one.channel
        and g.assignment_id is null and g.free_since is null;
    else
      update agent_place g set free_since = null
      where g.tenant_id = p_tenant and g.agent_id = p_agent and g.channel = one.channel and g.free_since is not null;
    end if;
  end loop;
end $$;

-- As before, for agents with a mix too; the line's place, and the channel's own id and adapter (a caller who is called back
-- keeps the place) are those of the decision.
create or replace function ring_commit(p_tenant int, p_contact uuid, p_revision int, p_cause text, p_channel text, p_call_key bytea,
                            p_adapter text, p_offered_at timestamptz, p_at timestamptz,
                            p_priority int, p_need jsonb, p_person bigint, p_agents bigint[], p_keep boolean,
                            p_assignment uuid, p_epoch bigint, p_offer_expires timestamptz,
                            p_contact_wrapped bytea, p_contact_sealed bytea,
                            p_decide_ms real, p_propensity real, p_versions jsonb, p_wrapped bytea, p_sealed bytea,
                            p_origin text,
                            out status text, out contact_id uuid, out outcome text, out agent_id bigint,
                            out agent_version int, out assignment_id uuid)
language plpgsql as $$
#variable_conflict use_column
declare
  c contact%rowtype;
  d decision%rowtype;
  pl record;
  candidate bigint;
  new_state text;
  mixed_profile jsonb;
  ahead interval := make_interval(secs => coalesce((p_need ->> 'ahead_s')::float8, 0));
begin
  perform set_config('app.tenant', p_tenant::text, true);
  contact_id := p_contact;

  if p_epoch > 0 and not exists (
    select 1 from lease l where l.tenant_id = p_tenant and l.name = 'queue' and l.epoch = p_epoch for share
  ) then
    status := 'stale'; return;
  end if;

  loop
    if p_revision = 1 then
      insert into contact (tenant_id, contact_id, channel, call_key, adapter, state, revision, priority,
                           need, person_id, offered_at, turn_at, wrapped_key, sealed)
      values (p_tenant, p_contact, p_channel, p_call_key, p_adapter, 'offered', 0, p_priority, p_need,
              p_person, p_offered_at, p_offered_at - ahead, p_contact_wrapped, p_contact_sealed)
      on conflict do nothing;
    end if;
    select * into c from contact x where x.tenant_id = p_tenant and x.contact_id = p_contact for update;
    exit when found;
    if p_revision > 1 then status := 'stale'; return; end if;
    select x.contact_id into contact_id from contact x
    where x.tenant_id = p_tenant and x.call_key = p_call_key and x.state <> 'ended';
    if found then status := 'duplicate'; return; end if;
    contact_id := p_contact;  -- the other contact of this call ended just now: once more
  end loop;
  if c.revision >= p_revision then
    select * into d from decision x where x.tenant_id = p_tenant and x.contact_id = p_contact and x.revision = p_revision;
    if d.sealed = p_sealed then
      status := 'committed'; outcome := d.outcome; agent_id := d.agent_id; assignment_id := d.assignment_id;
      agent_version := d.agent_version;
    else
      status := 'stale';
    end if;
    return;
  end if;
  if c.state = 'ended' then status := 'ended'; return; end if;
  if c.revision <> p_revision - 1 then status := 'stale'; return; end if;

  if p_keep then
    outcome := 'keep'; new_state := c.state;
    select a.agent_id, a.assignment_id, a.agent_version into agent_id, assignment_id, agent_version from assignment a
    where a.tenant_id = p_tenant and a.contact_id = p_contact and a.ended_at is null;
    if not found then outcome := null; status := 'stale'; return; end if;  -- it was given back: somebody is to be found
  elsif exists (select 1 from assignment a where a.tenant_id = p_tenant and a.contact_id = p_contact and a.ended_at is null) then
    status := 'stale'; return;  -- somebody has it already: never two agents on one contact
  else
    outcome := 'wait'; new_state := 'waiting';
    foreach candidate in array coalesce(p_agents, '{}') loop
      select g.place, g.version into pl from agent_place g
      where g.tenant_id = p_tenant and g.agent_id = candidate and g.channel = p_channel and g.free_since is not null
        and not g.mixed
      order by g.place limit 1 for update skip locked;
      mixed_profile := null;
      if not found then
        -- An agent with a mix: whoever holds the agent's row alone may change any of the places. Nobody waits for it here:
        -- the next one is tried, and the queue task comes back.
        if not exists (select from agent_place g where g.tenant_id = p_tenant and g.agent_id = candidate
                         and g.channel = p_channel and g.free_since is not null and g.mixed) then continue; end if;
        perform from agent a where a.tenant_id = p_tenant and a.agent_id = candidate for update skip locked;
        if not found then continue; end if;
        select v.profile into mixed_profile
        from agent a join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.version
        where a.tenant_id = p_tenant and a.agent_id = candidate;
        if not fits_mix(p_tenant, candidate, mixed_profile, p_channel) then continue; end if;
        select g.place, g.version into pl from agent_place g
        where g.tenant_id = p_tenant and g.agent_id = candidate and g.channel = p_channel and g.free_since is not null
          and g.mixed
        order by g.place limit 1 for update;
      end if;
      if found then
        update agent_place g set free_since = null, assignment_id = p_assignment
        where g.tenant_id = p_tenant and g.agent_id = candidate and g.channel = p_channel and g.place = pl.place;
        insert into assignment (tenant_id, assignment_id, contact_id, agent_id, agent_version, channel, place, revision,
                                epoch, state, offered_at, expires_at)
        values (p_tenant, p_assignment, p_contact, candidate, pl.version, p_channel, pl.place, p_revision,
                p_epoch, 'offered', p_at, p_offer_expires);
        if mixed_profile is not null then perform open_places(p_tenant, candidate, p_at); end if;
        outcome := 'route'; new_state := 'assigned';
        agent_id := candidate; agent_version := pl.version; assignment_id := p_assignment;
        exit;
      end if;
    end loop;
  end if;

  update contact x set state = new_state, revision = p_revision, priority = p_priority, need = p_need,
         person_id = p_person, wrapped_key = p_contact_wrapped, sealed = p_contact_sealed,
         call_key = p_call_key, adapter = p_adapter,
         turn_at = case when new_state = 'waiting' then coalesce(x.waiting_since, p_at)
                        else coalesce(x.waiting_since, x.offered_at) end - ahead,
         waiting_since = case when new_state = 'waiting' then coalesce(x.waiting_since, p_at) else x.waiting_since end
  where x.tenant_id = p_tenant and x.contact_id = p_contact;
  insert into decision (tenant_id, contact_id, revision, cause, outcome, agent_id, agent_version, assignment_id,
                        decided_at, decide_ms, propensity, versions, wrapped_key, sealed)
  values (p_tenant, p_contact, p_revision, p_cause, outcome, agent_id, agent_version, assignment_id,
          p_at, p_decide_ms, p_propensity, p_versions, p_wrapped, p_sealed);
  perform tell(p_tenant, outcome, p_contact, agent_id, p_origin);
  status := 'committed';
end $$;

-- As before, and what a mix kept closed opens.
create or replace function free_place(p_tenant int, p_assignment uuid, p_agent bigint, p_channel text, p_place smallint,
                           p_at timestamptz) returns void
language plpgsql as $$
declare
  holder agent%rowtype;
  capacity int;
begin
  select * into holder from agent a where a.tenant_id = p_tenant and a.agent_id = p_agent for update;
  select coalesce((v.profile -> 'capacity' ->> p_channel)::int, 0) into capacity from agent_version v
  where v.tenant_id = p_tenant and v.agent_id = p_agent and v.version = holder.version;
  if (select count(*) from agent_place g where g.tenant_id = p_tenant and g.agent_id = p_agent and g.channel = p_channel)
     > capacity then
    delete from agent_place g
    where g.tenant_id = p_tenant and g.agent_id = p_agent and g.channel = p_channel and g.place = p_place
      and g.assignment_id = p_assignment;
  else
    update agent_place g set assignment_id = null, free_since = case when holder.presence = 'ready' then p_at end
    where g.tenant_id = p_tenant and g.agent_id = p_agent and g.channel = p_channel and g.place = p_place
      and g.assignment_id = p_assignment;
  end if;
  if exists (select from agent_place g where g.tenant_id = p_tenant and g.agent_id = p_agent and g.mixed) then
    perform open_places(p_tenant, p_agent, p_at);
  end if;
end $$;

-- As before, and `transferred` gives a contact back that somebody talks to.
create or replace function contact_event(p_tenant int, p_contact uuid, p_what text, p_at timestamptz, p_expires timestamptz,
                              p_outcome text, p_exclude_s real, p_origin text, p_assignment uuid default null,
                              out before text, out after text, out agent_id bigint, out assignment_id uuid,
                              out changed boolean)
language plpgsql as $$
#variable_conflict use_column
declare
  c contact%rowtype;
  a assignment%rowtype;
  live boolean;
  what text := p_what;
begin
  perform set_config('app.tenant', p_tenant::text, true);
  changed := false;
  select * into c from contact x where x.tenant_id = p_tenant and x.contact_id = p_contact for update;
  if not found then return; end if;
  select * into a from assignment x
  where x.tenant_id = p_tenant and x.contact_id = p_contact and x.ended_at is null for update;
  live := found;
  before := c.state; after := c.state; agent_id := a.agent_id; assignment_id := a.assignment_id;
  if p_assignment is not null and a.assignment_id is distinct from p_assignment then return; end if;
  if what = 'expired' then
    if not live or a.expires_at > p_at then return; end if;
    if a.state in ('answered', 'wrap_up') then what := 'finished';
    elsif c.channel = 'voice' and split_part(c.adapter, ':', 1) <> 'kamailio' then what := 'ended';
    end if;
  end if;

  if what = 'ringing' and live and a.state = 'offered' then
    -- Nothing hangs on it but a longer time until the claim expires: not worth waiting for the disk.
    perform set_config('synchronous_commit', 'off', true);
    update assignment x set state = 'ringing', ringing_at = p_at, expires_at = p_expires
    where x.tenant_id = p_tenant and x.assignment_id = a.assignment_id;
    changed := true;
  elsif what = 'answered' and live and a.state in ('offered', 'ringing') then
    update assignment x set state = 'answered', answered_at = p_at, expires_at = p_expires
    where x.tenant_id = p_tenant and x.assignment_id = a.assignment_id;
    after := 'answered';
  elsif what in ('busy', 'no_answer', 'rejected', 'expired') and live and a.state in ('offered', 'ringing') then
    update assignment x set state = 'ended', ended_at = p_at, outcome = p_what
    where x.tenant_id = p_tenant and x.assignment_id = a.assignment_id;
    if what = 'no_answer' or (what = 'expired' and (a.state = 'ringing' or c.channel <> 'voice')) then
      update agent x set presence = 'away', presence_at = p_at where x.tenant_id = p_tenant and x.agent_id = a.agent_id;
      update agent_place g set free_since = null where g.tenant_id = p_tenant and g.agent_id = a.agent_id;
    end if;
    perform free_place(p_tenant, a.assignment_id, a.agent_id, a.channel, a.place, p_at);
    update contact x set excluded = case when x.excluded_until > p_at then x.excluded else '{}' end || a.agent_id,
                         excluded_until = p_at + make_interval(secs => p_exclude_s)
    where x.tenant_id = p_tenant and x.contact_id = p_contact;
    after := 'offered'; changed := true;
  elsif what = 'transferred' then
    -- Whoever had it hands it on, without a wrap-up; it does not come back to them at once.
    if not live or a.state = 'wrap_up' then return; end if;
    update assignment x set state = 'ended', ended_at = p_at, outcome = 'transferred'
    where x.tenant_id = p_tenant and x.assignment_id = a.assignment_id;
    perform free_place(p_tenant, a.assignment_id, a.agent_id, a.channel, a.place, p_at);
    update contact x set excluded = case when x.excluded_until > p_at then x.excluded else '{}' end || a.agent_id,
                         excluded_until = p_at + make_interval(secs => p_exclude_s)
    where x.tenant_id = p_tenant and x.contact_id = p_contact;
    after := 'offered'; changed := true;
  elsif what = 'ended' and live and a.state = 'answered' and p_expires > p_at then
    update assignment x set state = 'wrap_up', expires_at = p_expires
    where x.tenant_id = p_tenant and x.assignment_id = a.assignment_id;
    after := 'ended';
  elsif what in ('ended', 'cancelled', 'defaulted', 'finished') then
    if live and (a.state <> 'wrap_up' or what = 'finished') then
      update assignment x set state = 'ended', ended_at = p_at, outcome = coalesce(p_outcome, p_what)
      where x.tenant_id = p_tenant and x.assignment_id = a.assignment_id;
      perform free_place(p_tenant, a.assignment_id, a.agent_id, a.channel, a.place, p_at);
      changed := true;
    end if;
    after := 'ended';
  end if;

  changed := changed or after <> before or (what = 'finished' and p_outcome is distinct from c.outcome and p_outcome is not null);
  if not changed then return; end if;
  update contact x set state = after,
         answered_at = case when after = 'answered' then coalesce(x.answered_at, p_at) else x.answered_at end,
         ended_at = case when after = 'ended' then coalesce(x.ended_at, p_at) end,
         end_reason = case when after = 'ended' then coalesce(x.end_reason, p_what) end,
         outcome = coalesce(p_outcome, x.outcome)
  where x.tenant_id = p_tenant and x.contact_id = p_contact;
  perform tell(p_tenant, p_what, p_contact, a.agent_id, p_origin);
end $$;

create or replace function set_presence(p_tenant int, p_agent bigint, p_presence text, p_at timestamptz, p_origin text) returns boolean
language plpgsql as $$
begin
  perform set_config('app.tenant', p_tenant::text, true);
  update agent set presence = p_presence, presence_at = p_at where tenant_id = p_tenant and agent_id = p_agent;
  if not found then return false; end if;
  update agent_place
  set free_since = case when p_presence = 'ready' and assignment_id is null then coalesce(free_since, p_at) end
  where tenant_id = p_tenant and agent_id = p_agent;
  if exists (select from agent_place g where g.tenant_id = p_tenant and g.agent_id = p_agent and g.mixed) then
    perform open_places(p_tenant, p_agent, p_at);
  end if;
  perform tell(p_tenant, 'presence', null, p_agent, p_origin);
  return true;
end $$;

create or replace function put_agent(p_tenant int, p_agent bigint, p_profile jsonb, p_at timestamptz, out agent_id bigint, out version int)
language plpgsql as $$
#variable_conflict use_column
declare
  ready boolean;
  is_mixed boolean := coalesce(jsonb_array_length(p_profile -> 'mix'), 0) > 0 or coalesce((p_profile ->> 'at_once')::int, 0) > 0;
begin
  perform set_config('app.tenant', p_tenant::text, true);
  if p_agent is null then
    insert into agent as a (tenant_id, presence_at) values (p_tenant, p_at)
    returning a.agent_id, a.version, a.presence = 'ready' into agent_id, version, ready;
  else
    update agent a set version = a.version + 1 where a.tenant_id = p_tenant and a.agent_id = p_agent
    returning a.agent_id, a.version, a.presence = 'ready' into agent_id, version, ready;
    if not found then return; end if;
  end if;
  insert into agent_version (tenant_id, agent_id, version, profile, created_at)
  values (p_tenant, put_agent.agent_id, put_agent.version, p_profile, p_at);

  -- Against claims, which lock places and not their agent.
  perform from agent_place g where g.tenant_id = p_tenant and g.agent_id = put_agent.agent_id order by channel, place for update;
  delete from agent_place g using (
    select x.channel, x.place,
           row_number() over (partition by x.channel order by x.assignment_id is null, x.place) as nth
    from agent_place x where x.tenant_id = p_tenant and x.agent_id = put_agent.agent_id
  ) kept
  where g.tenant_id = p_tenant and g.agent_id = put_agent.agent_id and g.channel = kept.channel and g.place = kept.place
    and g.assignment_id is null and kept.nth > coalesce((p_profile -> 'capacity' ->> g.channel)::int, 0);
  update agent_place g set version = put_agent.version, mixed = is_mixed where g.tenant_id = p_tenant and g.agent_id = put_agent.agent_id;
  insert into agent_place (tenant_id, agent_id, channel, place, version, free_since, mixed)
  select p_tenant, put_agent.agent_id, cap.key, missing.place, put_agent.version, case when ready then p_at end, is_mixed
  from jsonb_each_text(p_profile -> 'capacity') cap
  cross join lateral (
    select count(*)::int as places from agent_place g
    where g.tenant_id = p_tenant and g.agent_id = put_agent.agent_id and g.channel = cap.key
  ) present
  cross join lateral (
    select n as place from generate_series(0, cap.value::int + present.places) n
    where not exists (select from agent_place g where g.tenant_id = p_tenant and g.agent_id = put_agent.agent_id
                                                  and g.channel = cap.key and g.place = n)
    order by n limit greatest(cap.value::int - present.places, 0)
  ) missing;
  if is_mixed then
    perform open_places(p_tenant, put_agent.agent_id, p_at);
  elsif ready then
    -- What a mix kept closed.
    update agent_place g set free_since = p_at
    where g.tenant_id = p_tenant and g.agent_id = put_agent.agent_id and g.assignment_id is null and g.free_since is null;
  end if;
end $$;
