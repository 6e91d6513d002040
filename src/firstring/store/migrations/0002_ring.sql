-- The ring path: one call that reads everything a decision needs, one call that claims and commits it.
-- plpgsql, because the tenant must be set before the queries run (a CTE that sets it silently finds nothing).

create type key_hit as (key bytea, records int, persons int, hot boolean);
create type record_row as (record_id bigint, version int, person_id bigint, source text, last_seen timestamptz,
                           verified_at timestamptz, wrapped_key bytea, sealed bytea, matched bytea[]);
create type event_row as (event_id bigint, record_id bigint, person_id bigint, channel text, occurred_at timestamptz,
                          issue_kind text, issue_effect smallint, wrapped_key bytea, sealed bytea);

-- Candidates behind p_keys with their records, touches and issues; the agents with a free place on p_channel.
-- A key with more than p_hot records is hot: it is reported and lists nobody. Costs stay flat: every part is bounded.
create function ring_read(p_tenant int, p_keys bytea[], p_persons bigint[], p_channel text, p_hot int, p_candidates int,
                          p_records int, p_touches int, p_issues int, p_agents int,
                          out hits key_hit[], out records record_row[], out touches event_row[],
                          out issues event_row[], out candidates_cut int,
                          out agent_ids bigint[], out agent_versions int[], out agent_free timestamptz[])
language plpgsql stable as $$
declare
  found_records bigint[];
  candidate_ids bigint[];
  all_records bigint[];
begin
  perform set_config('app.tenant', p_tenant::text, true);

  with fan as materialized (
    select k.key, h.record_ids
    from unnest(p_keys) as k(key)
    cross join lateral (
      select array_agg(b.record_id) as record_ids from (
        select r.record_id from record_key r where r.tenant_id = p_tenant and r.key = k.key limit p_hot + 1
      ) b
    ) h
    where h.record_ids is not null
  ), flat as materialized (
    select f.key, u.record_id
    from fan f cross join lateral unnest(f.record_ids) as u(record_id)
    where cardinality(f.record_ids) <= p_hot
  ), joined as materialized (
    select f.key, r.record_id, r.person_id, r.last_seen
    from flat f join record r on r.tenant_id = p_tenant and r.record_id = f.record_id
  ), ranked as (
    select person_id, max(last_seen) as seen from joined group by person_id
  ), kept as (
    select person_id from ranked order by seen desc nulls last, person_id limit p_candidates
  )
  select (select array_agg(row(f.key, cardinality(f.record_ids),
                               (select count(distinct j.person_id)::int from joined j where j.key = f.key),
                               cardinality(f.record_ids) > p_hot)::key_hit) from fan f),
         (select array_agg(distinct record_id) from joined),
         (select array_agg(person_id) from kept),
         greatest((select count(*) from ranked)::int - p_candidates, 0)
  into hits, found_records, candidate_ids, candidates_cut;

  -- Persons asked for by id are read too, each once, and by whom they were merged into.
  if cardinality(p_persons) > 0 then
    candidate_ids := (
      select array_agg(distinct asked.person_id) from (
        select unnest(candidate_ids) as person_id
        union all
        select coalesce(p.merged_into, p.person_id) from person p
        where p.tenant_id = p_tenant and p.person_id = any (p_persons)
      ) asked
    );
  end if;

  if cardinality(candidate_ids) > 0 then
    -- A person's records: those that were found first, then the most recently seen.
    select array_agg(row(r.record_id, r.version, r.person_id, s.name, r.last_seen, r.verified_at, r.wrapped_key, r.sealed,
                         (select array_agg(k) from unnest(r.keys) as k where k = any (p_keys)))::record_row)
    into records
    from unnest(candidate_ids) as c(person_id)
    cross join lateral (
      select * from record x
      where x.tenant_id = p_tenant and x.person_id = c.person_id
      order by x.record_id = any (coalesce(found_records, '{}')) desc, x.last_seen desc nulls last, x.record_id limit p_records
    ) r
    join source s on s.tenant_id = p_tenant and s.source_id = r.source_id;

    select array_agg(x.record_id) into all_records from (
      select r.record_id
      from unnest(candidate_ids) as c(person_id)
      cross join lateral (
        select y.record_id from record y where y.tenant_id = p_tenant and y.person_id = c.person_id
        order by y.last_seen desc nulls last limit 4 * p_records
      ) r
      union
      select unnest(found_records)
    ) x;

    select array_agg(row(e.event_id, e.record_id, r.person_id, e.channel, e.occurred_at, e.issue_kind, e.issue_effect,
                         e.wrapped_key, e.sealed)::event_row)
    into touches
    from unnest(all_records) as q(record_id)
    join record r on r.tenant_id = p_tenant and r.record_id = q.record_id and r.person_id = any (candidate_ids)
    cross join lateral (
      select * from event v where v.tenant_id = p_tenant and v.record_id = q.record_id
      order by v.occurred_at desc limit p_touches
    ) e;

    -- Issues are read for every record of the person, not only the recent ones: an old open refund still locks offers.
    select array_agg(row(e.event_id, e.record_id, c.person_id, e.channel, e.occurred_at, e.issue_kind, e.issue_effect,
                         e.wrapped_key, e.sealed)::event_row)
    into issues
    from unnest(candidate_ids) as c(person_id)
    cross join lateral (
      select v.* from record r join event v on v.tenant_id = p_tenant and v.record_id = r.record_id
      where r.tenant_id = p_tenant and r.person_id = c.person_id and v.issue_kind is not null
      order by v.occurred_at desc limit p_issues + 1
    ) e;
  end if;

  if p_channel is not null then
    select array_agg(p.agent_id), array_agg(p.version), array_agg(p.free_since)
    into agent_ids, agent_versions, agent_free
    from (
      select agent_id, version, free_since from agent_place
      where tenant_id = p_tenant and channel = p_channel and free_since is not null
      order by free_since limit p_agents
    ) p;
  end if;
end $$;

-- Tells other processes that something happened; the payload holds ids only. A process that sends its notices itself
-- passes no origin: transactions that notify commit one at a time, each waiting for the disk.
create function tell(p_tenant int, p_what text, p_contact uuid, p_agent bigint, p_origin text) returns void
language sql as $$
  select pg_notify('firstring', concat_ws(' ', p_tenant, p_what, coalesce(p_contact::text, '-'), coalesce(p_agent::text, '-'), p_origin))
  where p_origin is not null;
$$;

-- Claims the first agent of p_agents who still has a free place, and commits the decision, in one transaction.
-- status: committed; duplicate (the call is another open contact: contact_id says which); stale (a newer decision exists,
-- the contact is not known, or the lease's epoch is over); ended. Repeating a committed call returns what was committed.
create function ring_commit(p_tenant int, p_contact uuid, p_revision int, p_cause text, p_channel text, p_call_key bytea,
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
                           need, person_id, offered_at, wrapped_key, sealed)
      values (p_tenant, p_contact, p_channel, p_call_key, p_adapter, 'offered', 0, p_priority, p_need,
              p_person, p_offered_at, p_contact_wrapped, p_contact_sealed)
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
      order by g.place limit 1 for update skip locked;
      if found then
        update agent_place g set free_since = null, assignment_id = p_assignment
        where g.tenant_id = p_tenant and g.agent_id = candidate and g.channel = p_channel and g.place = pl.place;
        insert into assignment (tenant_id, assignment_id, contact_id, agent_id, agent_version, channel, place, revision,
                                epoch, state, offered_at, expires_at)
        values (p_tenant, p_assignment, p_contact, candidate, pl.version, p_channel, pl.place, p_revision,
                p_epoch, 'offered', p_at, p_offer_expires);
        outcome := 'route'; new_state := 'assigned';
        agent_id := candidate; agent_version := pl.version; assignment_id := p_assignment;
        exit;
      end if;
    end loop;
  end if;

  update contact x set state = new_state, revision = p_revision, priority = p_priority, need = p_need,
         person_id = p_person, wrapped_key = p_contact_wrapped, sealed = p_contact_sealed,
         waiting_since = case when new_state = 'waiting' then coalesce(x.waiting_since, p_at) else x.waiting_since end
  where x.tenant_id = p_tenant and x.contact_id = p_contact;
  insert into decision (tenant_id, contact_id, revision, cause, outcome, agent_id, agent_version, assignment_id,
                        decided_at, decide_ms, propensity, versions, wrapped_key, sealed)
  values (p_tenant, p_contact, p_revision, p_cause, outcome, agent_id, agent_version, assignment_id,
          p_at, p_decide_ms, p_propensity, p_versions, p_wrapped, p_sealed);
  perform tell(p_tenant, outcome, p_contact, agent_id, p_origin);
  status := 'committed';
end $$;

-- Gives a place back: free at once if its agent is ready, gone if the agent has more places than the profile allows.
-- The agent's row is locked first, as everywhere: presence cannot change between reading it and freeing the place.
create function free_place(p_tenant int, p_assignment uuid, p_agent bigint, p_channel text, p_place smallint,
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
end $$;

-- What happened to a contact: ringing, answered, busy, no_answer, rejected, expired, ended, cancelled, defaulted, finished.
-- busy, no_answer and rejected give the contact back (state offered) for a new decision and leave the agent out for
-- p_exclude_s; an agent who let it ring, or did not accept a digital contact in time, is set away. ended keeps the place for the wrap-up, until p_expires.
-- expired does what is due: an offer or a ring is taken back, a call whose end was never told and a wrap-up end; it does
-- nothing before expires_at. A call is over then, unless its switch can be told another phone unasked. With p_assignment, what was told about an earlier assignment is not taken for this one.
-- Repeats change nothing and tell nobody. Returns the contact's state before and after, whose assignment it concerned,
-- and whether anything changed; before is null for an unknown contact.
create function contact_event(p_tenant int, p_contact uuid, p_what text, p_at timestamptz, p_expires timestamptz,
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

-- The open contact of a channel's own id, and who has it; nulls where there is none.
create function open_call(p_tenant int, p_call_key bytea, out contact_id uuid, out assignment_id uuid, out address text)
language plpgsql as $$
#variable_conflict use_column
begin
  perform set_config('app.tenant', p_tenant::text, true);
  select c.contact_id, a.assignment_id, v.profile ->> 'address' into contact_id, assignment_id, address
  from contact c
  left join assignment a on a.tenant_id = c.tenant_id and a.contact_id = c.contact_id and a.ended_at is null
  left join agent_version v on v.tenant_id = a.tenant_id and v.agent_id = a.agent_id and v.version = a.agent_version
  where c.tenant_id = p_tenant and c.call_key = p_call_key and c.state <> 'ended';
end $$;

-- Whether the queue task has anything to do: a claim that expired, or a contact that waits or was not decided on.
create function queue_due(p_tenant int, p_at timestamptz) returns boolean
language plpgsql as $$
begin
  perform set_config('app.tenant', p_tenant::text, true);
  return exists (select from assignment a where a.tenant_id = p_tenant and a.ended_at is null and a.expires_at < p_at)
      or exists (select from contact c
                 where c.tenant_id = p_tenant and c.state in ('offered', 'waiting')
                   and (c.state = 'waiting' or c.offered_at < p_at - interval '1 second'));
end $$;

-- An agent's presence; going ready frees every place that is not taken, anything else offers none.
create function set_presence(p_tenant int, p_agent bigint, p_presence text, p_at timestamptz, p_origin text) returns boolean
language plpgsql as $$
begin
  perform set_config('app.tenant', p_tenant::text, true);
  update agent set presence = p_presence, presence_at = p_at where tenant_id = p_tenant and agent_id = p_agent;
  if not found then return false; end if;
  update agent_place
  set free_since = case when p_presence = 'ready' and assignment_id is null then coalesce(free_since, p_at) end
  where tenant_id = p_tenant and agent_id = p_agent;
  perform tell(p_tenant, 'presence', null, p_agent, p_origin);
  return true;
end $$;

-- A new version of an agent's profile (a new agent for p_agent null), with its places on every channel. Places that are
-- taken stay until they are given back and count: taken and free together never exceed the capacity, unless the taken
-- ones alone do. agent_id is null for an unknown agent.
create function put_agent(p_tenant int, p_agent bigint, p_profile jsonb, p_at timestamptz, out agent_id bigint, out version int)
language plpgsql as $$
#variable_conflict use_column
declare
  ready boolean;
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
  update agent_place g set version = put_agent.version where g.tenant_id = p_tenant and g.agent_id = put_agent.agent_id;
  insert into agent_place (tenant_id, agent_id, channel, place, version, free_since)
  select p_tenant, put_agent.agent_id, cap.key, missing.place, put_agent.version, case when ready then p_at end
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
end $$;

-- Takes or renews the queue task's lease. Returns the epoch while p_holder holds it, else null.
create function take_lease(p_tenant int, p_name text, p_holder text, p_lease_s real) returns bigint
language plpgsql as $$
declare
  held lease%rowtype;
begin
  perform set_config('app.tenant', p_tenant::text, true);
  insert into lease as l (tenant_id, name, holder, epoch, expires_at)
  values (p_tenant, p_name, p_holder, 1, clock_timestamp() + make_interval(secs => p_lease_s))
  on conflict (tenant_id, name) do update
    set holder = p_holder, expires_at = excluded.expires_at,
        epoch = case when l.holder = p_holder and l.expires_at > clock_timestamp() then l.epoch else l.epoch + 1 end
    where l.holder = p_holder or l.expires_at < clock_timestamp()
  returning * into held;
  return held.epoch;
end $$;
