-- Golden records: what people chose, what providers appended, what was true before, what is in conflict, and the job that
-- looks after it all.

-- --- choices and enrichment --------------------------------------------------------------------------------------

alter table source add column kind text not null default 'first_party' check (kind in ('first_party', 'enrichment'));

-- A steward chose this record's value of a field: 'field:blind index of the value', so that a record that changes its
-- value loses the choice, and one that only changes something else keeps it.
alter table record add column chosen text[];

create table field_decision (            -- who chose a value, when and why; the value itself is sealed
  tenant_id     int not null,
  decision_id   bigint generated always as identity,
  source_id     int not null,            -- the record by its source's own id, as in link_decision
  external_key  bytea not null,
  field         text not null,
  choice        text not null,           -- as it stands in record.chosen
  wrapped_key   bytea,                   -- null once the record is gone
  sealed        bytea,
  made_by       text not null,
  reason        text not null,
  made_at       timestamptz not null,
  revoked_by    text,
  revoked_at    timestamptz,
  primary key (tenant_id, decision_id),
  check ((revoked_at is null) = (revoked_by is null))
);
create index field_decision_record on field_decision (tenant_id, source_id, external_key);

create table field_conflict (            -- values of one field that contradict each other; the values stay in the records
  tenant_id     int not null,
  conflict_id   bigint generated always as identity,
  person_id     bigint not null,
  field         text not null,
  state         text not null default 'open' check (state in ('open', 'resolved', 'gone')),
  found_at      timestamptz not null,
  closed_at     timestamptz,
  primary key (tenant_id, conflict_id),
  check ((state = 'open') = (closed_at is null))
);
create unique index field_conflict_open on field_conflict (tenant_id, person_id, field) where state = 'open';

create table enrichment (                -- what a provider says of a record: goes with it, and when it goes
  tenant_id     int not null,
  record_id     bigint not null,
  source_id     int not null,
  external_key  bytea not null,          -- HMAC of the provider's own id
  content_key   bytea not null,
  wrapped_key   bytea,
  sealed        bytea,
  observed_at   timestamptz,
  created_at    timestamptz not null,
  updated_at    timestamptz not null,
  primary key (tenant_id, record_id, source_id, external_key)
);
create unique index enrichment_external on enrichment (tenant_id, source_id, external_key);

-- --- history -----------------------------------------------------------------------------------------------------

create table record_history (            -- states that records were in; the present one is in record
  tenant_id     int not null,
  history_id    bigint generated always as identity,
  record_id     bigint not null,
  source_id     int not null,
  person_id     bigint not null,
  valid_from    timestamptz not null,
  valid_to      timestamptz not null,
  was           text not null check (was in ('changed', 'moved', 'deleted')),
  wrapped_key   bytea,                   -- null once the record is deleted: that it was there is kept, nothing of what it held
  sealed        bytea,
  last_seen     timestamptz,
  verified_at   timestamptz,
  primary key (tenant_id, history_id)
);
create index record_history_record on record_history (tenant_id, record_id);
alter table record add column since timestamptz;  -- when its present state began; null: when it came
create index record_history_person on record_history (tenant_id, person_id, valid_to);

-- Nothing on insert: a fresh record has no past. app.now, where the program set it, is the time of the change.
create function keep_history() returns trigger
language plpgsql as $$
declare
  since timestamptz := coalesce(old.since, old.created_at);
  until timestamptz := coalesce(nullif(current_setting('app.now', true), '')::timestamptz, now());
begin
  if tg_op = 'UPDATE' then
    if new.updated_at > old.updated_at then until := new.updated_at; end if;
    new.since := greatest(since, until);
    insert into record_history (tenant_id, record_id, source_id, person_id, valid_from, valid_to, was, wrapped_key, sealed,
                                last_seen, verified_at)
    values (old.tenant_id, old.record_id, old.source_id, old.person_id, since, new.since,
            case when new.content_key = old.content_key then 'moved' else 'changed' end,
            old.wrapped_key, old.sealed, old.last_seen, old.verified_at);
    return new;
  end if;
  update record_history h set wrapped_key = null, sealed = null, last_seen = null, verified_at = null
  where h.tenant_id = old.tenant_id and h.record_id = old.record_id;
  insert into record_history (tenant_id, record_id, source_id, person_id, valid_from, valid_to, was)
  values (old.tenant_id, old.record_id, old.source_id, old.person_id, since, greatest(since, until), 'deleted');
  update field_decision d set wrapped_key = null, sealed = null
  where d.tenant_id = old.tenant_id and d.source_id = old.source_id and d.external_key = old.external_key;
  delete from enrichment e where e.tenant_id = old.tenant_id and e.record_id = old.record_id;
  return old;
end $$;

create trigger record_changes before update on record for each row
  when (old.content_key is distinct from new.content_key or old.person_id is distinct from new.person_id)
  execute function keep_history();
create trigger record_goes before delete on record for each row execute function keep_history();

create index person_change_other on person_change (tenant_id, other_id, changed_at);
create index person_change_person on person_change (tenant_id, person_id, changed_at);

-- --- hygiene -----------------------------------------------------------------------------------------------------

create table hygiene_sweep (             -- one walk through all persons; position is the last one looked at
  tenant_id     int not null,
  sweep_id      bigint generated always as identity,
  version       text not null,           -- of the program and the rules
  position      bigint not null default 0,
  report        jsonb not null,          -- counts so far
  started_at    timestamptz not null,
  advanced_at   timestamptz not null,
  finished_at   timestamptz,
  primary key (tenant_id, sweep_id)
);
create unique index hygiene_sweep_running on hygiene_sweep (tenant_id) where finished_at is null;

create table hygiene_cursor (            -- how far new and changed records were looked at since
  tenant_id     int primary key,
  record_id     bigint not null,
  history_id    bigint not null
);

create table person_stale (              -- persons of whom something needs to be asked again: fields, no values
  tenant_id     int not null,
  person_id     bigint not null,
  fields        text[] not null,
  found_at      timestamptz not null,
  primary key (tenant_id, person_id)
);
create index person_stale_found on person_stale (tenant_id, found_at);

-- --- the ring path -----------------------------------------------------------------------------------------------
-- As in 0002, with what was chosen of a record and what providers appended to it.

alter type record_row add attribute chosen text[], add attribute enriched boolean;

create or replace function ring_read(p_tenant int, p_keys bytea[], p_persons bigint[], p_channel text, p_hot int, p_candidates int,
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
                         (select array_agg(k) from unnest(r.keys) as k where k = any (p_keys)), r.chosen, false)::record_row)
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

do $$
declare t text;
begin
  foreach t in array array['field_decision', 'field_conflict', 'enrichment', 'record_history', 'hygiene_sweep',
                           'hygiene_cursor', 'person_stale'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
