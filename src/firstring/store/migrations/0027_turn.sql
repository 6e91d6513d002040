-- Whoever just became free is the line's.

-- As before, and a place that became free a moment ago is left to those who wait for it: a claim that is not the queue task's
-- takes none that became free within the last quarter of a second while somebody of an earlier turn waits on the channel. The
-- task is woken by whoever waits; where none of those ahead may be served by the agent, it serves whoever came just now. A task
-- that is gone keeps nobody from an agent for longer. (Beyond a second ahead: another server's clock, which says nothing.)
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
  kept_from timestamptz := 'infinity';   -- what became free since is the line's: nothing
  place text := nullif(p_need ->> 'elsewhere', '');
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

  if p_keep and c.state = 'elsewhere' then
    outcome := 'keep'; new_state := c.state;
  elsif p_keep then
    outcome := 'keep'; new_state := c.state;
    select a.agent_id, a.assignment_id, a.agent_version into agent_id, assignment_id, agent_version from assignment a
    where a.tenant_id = p_tenant and a.contact_id = p_contact and a.ended_at is null;
    if not found then outcome := null; status := 'stale'; return; end if;  -- it was given back: somebody is to be found
  elsif exists (select 1 from assignment a where a.tenant_id = p_tenant and a.contact_id = p_contact and a.ended_at is null) then
    status := 'stale'; return;  -- somebody has it already: never two agents on one contact
  elsif place is not null then
    outcome := 'elsewhere'; new_state := 'elsewhere';
  else
    outcome := 'wait'; new_state := 'waiting';
    if p_epoch = 0 and cardinality(p_agents) > 0 and exists (
      select from contact w
      where w.tenant_id = p_tenant and w.channel = p_channel and w.state = 'waiting' and w.state in ('offered', 'waiting')
        and w.turn_at < coalesce(c.waiting_since, c.offered_at) - ahead and w.contact_id <> p_contact
    ) then
      kept_from := p_at - interval '0.25 seconds';
    end if;
    foreach candidate in array coalesce(p_agents, '{}') loop
      select g.place, g.version into pl from agent_place g
      where g.tenant_id = p_tenant and g.agent_id = candidate and g.channel = p_channel and g.free_since is not null
        and (g.free_since <= kept_from or g.free_since > p_at + interval '1 second') and not g.mixed
      order by g.place limit 1 for update skip locked;
      mixed_profile := null;
      if not found then
        -- An agent with a mix: whoever holds the agent's row alone may change any of the places. Nobody waits for it here:
        -- the next one is tried, and the queue task comes back.
        if not exists (select from agent_place g where g.tenant_id = p_tenant and g.agent_id = candidate
                         and g.channel = p_channel and g.free_since is not null and g.mixed
                         and (g.free_since <= kept_from or g.free_since > p_at + interval '1 second')) then continue; end if;
        perform from agent a where a.tenant_id = p_tenant and a.agent_id = candidate for update skip locked;
        if not found then continue; end if;
        select v.profile into mixed_profile
        from agent a join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.version
        where a.tenant_id = p_tenant and a.agent_id = candidate;
        if not fits_mix(p_tenant, candidate, mixed_profile, p_channel) then continue; end if;
        select g.place, g.version into pl from agent_place g
        where g.tenant_id = p_tenant and g.agent_id = candidate and g.channel = p_channel and g.free_since is not null
          and (g.free_since <= kept_from or g.free_since > p_at + interval '1 second') and g.mixed
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
         waiting_since = case when new_state = 'waiting' then coalesce(x.waiting_since, p_at)
                              -- back from there, the place in the line is as of the arrival
                              when new_state = 'elsewhere' then coalesce(x.waiting_since, x.offered_at) else x.waiting_since end,
         elsewhere = case when new_state = 'elsewhere' then coalesce(place, x.elsewhere) end
  where x.tenant_id = p_tenant and x.contact_id = p_contact;
  if c.state = 'elsewhere' and outcome <> 'keep' then
    update place_visit v set left_at = p_at where v.tenant_id = p_tenant and v.contact_id = p_contact and v.left_at is null;
  end if;
  if outcome = 'elsewhere' then
    insert into place_visit (tenant_id, contact_id, revision, name, at) values (p_tenant, p_contact, p_revision, place, p_at);
  end if;
  insert into decision (tenant_id, contact_id, revision, cause, outcome, agent_id, agent_version, assignment_id,
                        decided_at, decide_ms, propensity, versions, wrapped_key, sealed)
  values (p_tenant, p_contact, p_revision, p_cause, outcome, agent_id, agent_version, assignment_id,
          p_at, p_decide_ms, p_propensity, p_versions, p_wrapped, p_sealed);
  perform tell(p_tenant, outcome, p_contact, agent_id, p_origin);
  status := 'committed';
end $$;
