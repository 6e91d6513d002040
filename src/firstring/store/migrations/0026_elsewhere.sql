-- Places that are no agent's (self-service, where overflow goes), waits as they are announced.

alter table contact drop constraint contact_state_check;
alter table contact add constraint contact_state_check
  check (state in ('offered', 'waiting', 'assigned', 'answered', 'elsewhere', 'ended'));
alter table contact add column elsewhere text; -- the name of the place in the policy where it is, in state elsewhere

-- What was announced last of the wait (seconds; place: 1 is next), and since when a call-back is offered.
alter table contact add column said_wait_s real, add column said_low_s real, add column said_high_s real,
                    add column said_place int, add column said_at timestamptz, add column callback_at timestamptz;

create table place_visit (               -- a contact at a place
  tenant_id     int not null,
  contact_id    uuid not null,
  revision      int not null,            -- of the decision that sent it there
  name          text not null,           -- in the policy
  at            timestamptz not null,
  left_at       timestamptz,             -- when it came back into the line, or to an agent
  done          boolean,                 -- whether it was done there; null: not known yet
  primary key (tenant_id, contact_id, revision)
);
create index place_visit_at on place_visit (tenant_id, at);
create index place_visit_unjudged on place_visit (tenant_id, at) where done is null;
alter table place_visit enable row level security;
alter table place_visit force row level security;
create policy of_tenant on place_visit using (tenant_id = nullif(current_setting('app.tenant', true), '')::int);

-- As before, and a contact may go to a place that is no agent's (need.elsewhere): nobody is claimed. It stays there whatever
-- is decided meanwhile, until it leaves.
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

-- As before, and a call that we make goes back into the line where its agent did not take it in time: it keeps its place.
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
    elsif c.channel = 'voice' and split_part(c.adapter, ':', 1) not in ('kamailio', 'callback') then what := 'ended';
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
