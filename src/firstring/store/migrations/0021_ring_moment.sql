-- What actions are gated and asked by while it rings, beside what ring_read reads: words of consent, what went out before,
-- what patterns came true lately; with p_history also what the person's profile is computed from.

create function ring_moment(p_tenant int, p_records record_row[], p_words int, p_fired timestamptz, p_before timestamptz,
                            p_remembered int, p_actions text[], p_now timestamptz, p_history int,
                            out words event_row[], out signals event_row[],
                            out fired_persons bigint[], out fired text[],
                            out went_persons bigint[], out went_actions text[], out went_routes text[], out went_kinds text[],
                            out went_at timestamptz[],
                            out brake_actions text[], out brake_places int[], out brake_counts int[],
                            out history event_row[])
language plpgsql stable as $$
declare
  persons bigint[];
begin
  perform set_config('app.tenant', p_tenant::text, true);

  if cardinality(p_actions) > 0 then
    select array_agg(b.action), array_agg(b.place::int), array_agg(b.count) into brake_actions, brake_places, brake_counts
    from action_brake b
    where b.tenant_id = p_tenant and b.action = any (p_actions) and b.begun_at <= p_now and b.ends_at > p_now;
  end if;

  select array_agg(distinct r.person_id) into persons from unnest(p_records) as r where not r.enriched;
  if persons is null then
    return;
  end if;

  select array_agg(row(e.event_id, e.record_id, c.person_id, e.channel, e.occurred_at, e.issue_kind, e.issue_effect,
                       e.wrapped_key, e.sealed)::event_row)
  into words
  from unnest(persons) as c(person_id)
  cross join lateral (
    select v.* from record r join event v on v.tenant_id = p_tenant and v.record_id = r.record_id
    where r.tenant_id = p_tenant and r.person_id = c.person_id and v.facet = 2 and v.occurred_at <= p_now
    order by v.occurred_at desc limit p_words
  ) e;

  select array_agg(row(e.event_id, e.record_id, c.person_id, e.channel, e.occurred_at, e.issue_kind, e.issue_effect,
                       e.wrapped_key, e.sealed)::event_row)
  into signals
  from unnest(persons) as c(person_id)
  cross join lateral (
    select v.* from record r join event v on v.tenant_id = p_tenant and v.record_id = r.record_id
    where r.tenant_id = p_tenant and r.person_id = c.person_id and v.facet = 3 and v.occurred_at <= p_now
    order by v.occurred_at desc limit 1
  ) e;

  select array_agg(f.person_id), array_agg(f.pattern) into fired_persons, fired
  from (
    select distinct x.person_id, x.pattern from pattern_fired x
    where x.tenant_id = p_tenant and x.person_id = any (persons) and x.at > p_fired and x.retracted_at is null
  ) f;

  if p_before is not null then
    select array_agg(w.person_id), array_agg(w.action), array_agg(w.route), array_agg(w.kind), array_agg(w.decided_at)
    into went_persons, went_actions, went_routes, went_kinds, went_at
    from unnest(persons) as c(person_id)
    cross join lateral (
      select c.person_id, d.action, d.route, d.kind, d.decided_at
      from record r join action_decision d on d.tenant_id = p_tenant and d.record_id = r.record_id
      where r.tenant_id = p_tenant and r.person_id = c.person_id and d.outcome = 'acted' and d.decided_at > p_before
      order by d.decided_at desc limit p_remembered
    ) w;
  end if;

  -- Of more people than these nobody is identified, and nothing of anybody is asked.
  if p_history > 0 and cardinality(persons) <= 5 then
    select array_agg(row(e.event_id, e.record_id, c.person_id, e.channel, e.occurred_at, e.issue_kind, e.issue_effect,
                         e.wrapped_key, e.sealed)::event_row)
    into history
    from unnest(persons) as c(person_id)
    cross join lateral (
      (select v.* from record r cross join lateral (
         select * from event x where x.tenant_id = p_tenant and x.record_id = r.record_id and x.occurred_at <= p_now
         order by x.occurred_at desc, x.event_id desc limit p_history) v
       where r.tenant_id = p_tenant and r.person_id = c.person_id
       order by v.occurred_at desc, v.event_id desc limit p_history)
      union all
      (select v.* from record r cross join lateral (
         select * from event x where x.tenant_id = p_tenant and x.record_id = r.record_id and x.facet = 1 and x.occurred_at <= p_now
         order by x.occurred_at desc limit p_words) v
       where r.tenant_id = p_tenant and r.person_id = c.person_id
       order by v.occurred_at desc, v.event_id desc limit p_words)
    ) e;
  end if;
end $$;

alter function ring_moment(int, record_row[], int, timestamptz, timestamptz, int, text[], timestamptz, int)
  set plan_cache_mode = 'force_generic_plan'
  set enable_seqscan = 'off' set enable_hashjoin = 'off' set enable_mergejoin = 'off' set enable_bitmapscan = 'off';
