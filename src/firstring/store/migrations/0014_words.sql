-- Words: what was read in the texts of events, and the text models that tenants trained on their own labels.

alter table event add column about_id bigint;   -- of "Words Read": the event whose words were read; else null
create index event_words on event (tenant_id, record_id, occurred_at desc) where about_id is not null;

create table reason_model (              -- why somebody writes or calls: trained on one's own labels, every version kept
  tenant_id     int not null references tenant,
  model_id      int generated always as identity,
  version       text not null,           -- named after its content
  report        jsonb not null,          -- examples, labels, accuracy, calibration; nobody's words
  in_force      boolean not null,
  trained_at    timestamptz not null,
  wrapped_key   bytea not null,
  sealed        bytea not null,          -- vocabulary (out of customers' words), weights, labels: numbers and text, no code
  primary key (tenant_id, model_id)
);
create unique index reason_model_in_force on reason_model (tenant_id) where in_force;

alter table reason_model enable row level security;
alter table reason_model force row level security;
create policy of_tenant on reason_model using (tenant_id = nullif(current_setting('app.tenant', true), '')::int);

-- As before, and: what was read in words comes beside the newest touches and takes none of their places; the keys of
-- visitors lead to who is signed in there; what those did who typed the number or address is read with its key.
drop function ring_read(int, bytea[], bigint[], text, int, int, int, int, int, int);

create function ring_read(p_tenant int, p_keys bytea[], p_persons bigint[], p_channel text, p_hot int, p_candidates int,
                          p_records int, p_touches int, p_issues int, p_agents int,
                          out hits key_hit[], out records record_row[], out touches event_row[],
                          out issues event_row[], out candidates_cut int,
                          out agent_ids bigint[], out agent_versions int[], out agent_free timestamptz[],
                          out typed_keys bytea[], out typed event_row[])
language plpgsql stable as $$
declare
  found_records bigint[];
  candidate_ids bigint[];
  all_records bigint[];
  visitor_keys bytea[];
  visitors bigint[];
begin
  perform set_config('app.tenant', p_tenant::text, true);

  -- Who is signed in where these visitors are: a key of a browser leads to them, and is never hot.
  select array_agg(v.key), array_agg(v.record_id) into visitor_keys, visitors from visitor_records(p_tenant, p_keys) v;

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
    union
    select v.key, v.record_id from unnest(visitor_keys, visitors) as v(key, record_id)
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
                               cardinality(f.record_ids) > p_hot)::key_hit)
          from (select * from fan
                union all
                select v.key, array[v.record_id] from unnest(visitor_keys, visitors) as v(key, record_id)
                where not exists (select from fan n where n.key = v.key)) f),
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
                         (select array_agg(k) from (
                            select u.key as k from unnest(r.keys) as u(key) where u.key = any (p_keys)
                            union
                            select v.key from unnest(visitor_keys, visitors) as v(key, record_id) where v.record_id = r.record_id
                          ) m), r.chosen, false)::record_row)
    into records
    from unnest(candidate_ids) as c(person_id)
    cross join lateral (
      select * from record x
      where x.tenant_id = p_tenant and x.person_id = c.person_id
      order by x.record_id = any (coalesce(found_records, '{}')) desc, x.last_seen desc nulls last, x.record_id limit p_records
    ) r
    join source s on s.tenant_id = p_tenant and s.source_id = r.source_id;

    -- What providers appended to those records; most tenants have no provider, and ask for nothing more.
    if exists (select from source s where s.tenant_id = p_tenant and s.kind = 'enrichment') then
      records := records || (
        select array_agg(row(e.record_id, 0, r.person_id, s.name, e.observed_at, null, e.wrapped_key, e.sealed, null, null,
                             true)::record_row)
        from unnest(records) as r
        join enrichment e on e.tenant_id = p_tenant and e.record_id = r.record_id
        join source s on s.tenant_id = p_tenant and s.source_id = e.source_id
      );
    end if;

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
      (select * from event v where v.tenant_id = p_tenant and v.record_id = q.record_id and v.about_id is null
       order by v.occurred_at desc limit p_touches)
      union all
      (select * from event v where v.tenant_id = p_tenant and v.record_id = q.record_id and v.about_id is not null
       order by v.occurred_at desc limit least(p_touches, 3))
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

  select array_agg(t.key), array_agg(t.touch) into typed_keys, typed
  from typed_touches(p_tenant, p_keys, 3, p_touches) t;

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

alter function ring_read(int, bytea[], bigint[], text, int, int, int, int, int, int)
  set plan_cache_mode = 'force_generic_plan'
  set enable_seqscan = 'off' set enable_hashjoin = 'off' set enable_mergejoin = 'off' set enable_bitmapscan = 'off';
