-- Stitching: whose the events of a visitor are, the numbers and addresses that visitors typed, what profiles are read by.

-- An event keeps where it came in and where it is counted. record_id: where it is counted. Whose an anonymous event is
-- follows from the log of its visitor alone (journey/stitch.py), so that it is derived anew when something arrives late.
alter table event
  add column visitor  bytea,             -- blind index of the visitor's anonymous id, as in record.keys
  add column came_in  bigint,            -- of an anonymous event: the record it came in with; null where it names its record
  add column mark     smallint not null default 0 check (mark between 0 and 5), -- what it says of who is there: stitch.Mark
  add column seen     bigint,            -- of a click in a mail, or a call that was confirmed: the record that it names
  add column facet    smallint;          -- 1 an order or a refund, 2 a consent, 3 a privacy signal of the browser

create index event_mark on event (tenant_id, visitor, occurred_at) where mark > 0;
create index event_plain on event (tenant_id, visitor, occurred_at) where came_in is not null and mark = 0;
create index event_stitched on event (tenant_id, came_in) where came_in <> record_id;
create index event_facet on event (tenant_id, record_id, facet, occurred_at desc) where facet is not null;

-- Paged by (occurred_at, event_id), counted without a look at the rows.
drop index event_of_record;
create index event_of_record on event (tenant_id, record_id, occurred_at desc, event_id desc) include (channel, standing);

create table typed (                     -- phone numbers and e-mail addresses that visitors typed: claims, kept for a while
  tenant_id     int not null,
  key           bytea not null,          -- blind index, as in record_key
  visitor       bytea not null,
  kind          text not null check (kind in ('phone', 'email')),
  typed_at      timestamptz not null,
  message_key   bytea not null,          -- the event in which it was typed last
  primary key (tenant_id, key, visitor)
);
create index typed_visitor on typed (tenant_id, visitor, typed_at desc);
create index typed_at on typed (tenant_id, typed_at);

create table visitor_stale (             -- stretches of visitors' logs to be derived anew: some of their events were deleted
  tenant_id     int not null,
  visitor       bytea not null,
  from_at       timestamptz not null,
  to_at         timestamptz not null,
  primary key (tenant_id, visitor, from_at, to_at)
);

-- Before a visitor's log is read and written: one transaction at a time for each visitor. p_keys are in order; null: so many
-- that all others have to wait.
create function lock_visitors(p_tenant int, p_keys bigint[]) returns void
language plpgsql as $$
begin
  if p_keys is null then
    perform pg_advisory_xact_lock(1179796034, p_tenant);
  else
    perform pg_advisory_xact_lock_shared(1179796034, p_tenant);
    perform pg_advisory_xact_lock(k) from unnest(p_keys) as k;
  end if;
end $$;

-- For those of the keys that are visitors' anonymous ids: the record that is signed in there by the newest event. What was
-- only claimed makes nobody findable.
create function visitor_records(p_tenant int, p_keys bytea[]) returns table (key bytea, record_id bigint)
language sql stable as $$
  select k.key, x.record_id
  from unnest(p_keys) as k(key)
  cross join lateral (
    select n.record_id, n.came_in, n.mark from (
      (select e.record_id, e.came_in, e.mark, e.occurred_at from event e
       where e.tenant_id = p_tenant and e.visitor = k.key and e.came_in is not null and e.mark = 0
       order by e.occurred_at desc limit 1)
      union all
      (select e.record_id, e.came_in, e.mark, e.occurred_at from event e
       where e.tenant_id = p_tenant and e.visitor = k.key and e.mark > 0
       order by e.occurred_at desc, e.message_key desc limit 1)
    ) n
    order by n.occurred_at desc, n.mark limit 1
  ) x
  where x.mark = 1 or (x.mark in (0, 5) and x.record_id <> x.came_in)
$$;

-- For each of the keys the newest anonymous events of those who typed it; person_id is the visitor's own.
create function typed_touches(p_tenant int, p_keys bytea[], p_visitors int, p_touches int)
  returns table (key bytea, touch event_row)
language sql stable as $$
  select k.key, row(e.event_id, e.record_id, r.person_id, e.channel, e.occurred_at, null, 0, e.wrapped_key, e.sealed)::event_row
  from unnest(p_keys) as k(key)
  cross join lateral (
    select t.visitor, t.typed_at from typed t where t.tenant_id = p_tenant and t.key = k.key
    order by t.typed_at desc, t.visitor limit p_visitors
  ) t
  cross join lateral (
    select v.* from event v
    where v.tenant_id = p_tenant and v.visitor = t.visitor and v.came_in is not null and v.mark = 0
      and v.occurred_at > t.typed_at - interval '1 day' and v.record_id = v.came_in
    order by v.occurred_at desc limit p_touches
  ) e
  join record r on r.tenant_id = p_tenant and r.record_id = e.record_id
$$;

-- --- profiles ----------------------------------------------------------------------------------------------------

create type profile_event as (event_id bigint, record_id bigint, channel text, occurred_at timestamptz, standing smallint,
                              facet smallint, issue_kind text, issue_effect smallint, visitor bytea, wrapped_key bytea,
                              sealed bytea);

-- What a person's profile is made of, in one call: who that is now, the records, the newest events unopened (out of the index
-- alone) and the earliest known one, the events to be opened, what came true, who shares an identifier, what visitors typed
-- that is somebody else's. Every part is bounded. Nothing where there is no such person.
create function profile_read(p_tenant int, p_person bigint, p_until timestamptz, p_records int, p_counted int, p_opened int,
                             p_facets int, p_issues int, p_hot int, p_shared int, p_fired int,
                             out person_id bigint, out records record_row[],
                             out events bigint[], out channels text[], out moments timestamptz[], out standings smallint[],
                             out first_event bigint, out first_at timestamptz, out opened profile_event[],
                             out patterns text[], out valences text[], out fired_at timestamptz[], out begun_at timestamptz[],
                             out sharing_keys bytea[], out sharing_persons bigint[],
                             out typed_kinds text[], out typed_at timestamptz[], out typed_persons bigint[],
                             out typed_verified timestamptz[])
language plpgsql stable as $$
#variable_conflict use_column
declare
  ids bigint[];
  shared bytea[];
  visitors bytea[];
begin
  perform set_config('app.tenant', p_tenant::text, true);
  select coalesce(p.merged_into, p.person_id) into profile_read.person_id from person p
  where p.tenant_id = p_tenant and p.person_id = p_person;
  if profile_read.person_id is null then return; end if;

  select array_agg(row(m.record_id, m.version, m.person_id, s.name, m.last_seen, m.verified_at, m.wrapped_key, m.sealed, m.keys,
                       m.chosen, false)::record_row order by m.last_seen desc nulls last, m.record_id),
         array_agg(m.record_id order by m.last_seen desc nulls last, m.record_id)
  into profile_read.records, ids
  from (
    select * from record r where r.tenant_id = p_tenant and r.person_id = profile_read.person_id
    order by r.last_seen desc nulls last, r.record_id limit p_records + 1
  ) m
  join source s on s.tenant_id = p_tenant and s.source_id = m.source_id;
  if ids is null then return; end if;
  ids := ids[1:p_records];

  if exists (select from source s where s.tenant_id = p_tenant and s.kind = 'enrichment') then
    records := records || (
      select array_agg(row(e.record_id, 0, profile_read.person_id, s.name, e.observed_at, null, e.wrapped_key, e.sealed, null,
                           null, true)::record_row)
      from enrichment e join source s on s.tenant_id = p_tenant and s.source_id = e.source_id
      where e.tenant_id = p_tenant and e.record_id = any (ids)
    );
  end if;

  select array_agg(e.event_id), array_agg(e.channel), array_agg(e.occurred_at), array_agg(e.standing)
  into events, channels, moments, standings
  from (
    select v.* from unnest(ids) as r(record_id)
    cross join lateral (
      select x.event_id, x.channel, x.occurred_at, x.standing from event x
      where x.tenant_id = p_tenant and x.record_id = r.record_id and x.occurred_at <= p_until
      order by x.occurred_at desc, x.event_id desc limit p_counted + 1
    ) v
    order by v.occurred_at desc, v.event_id desc limit p_counted + 1
  ) e;

  if events is not null then
    select f.event_id, f.occurred_at into first_event, first_at
    from unnest(ids) as r(record_id)
    cross join lateral (
      select y.* from (
        select x.event_id, x.occurred_at, x.standing from event x
        where x.tenant_id = p_tenant and x.record_id = r.record_id and x.occurred_at <= p_until
        order by x.occurred_at, x.event_id limit p_counted
      ) y
      where y.standing > 0 order by y.occurred_at, y.event_id limit 1
    ) f
    order by f.occurred_at, f.event_id limit 1;

    select array_agg(row(e.event_id, e.record_id, e.channel, e.occurred_at, e.standing, e.facet, e.issue_kind, e.issue_effect,
                         e.visitor, e.wrapped_key, e.sealed)::profile_event),
           array_agg(distinct e.visitor) filter (where e.visitor is not null)
    into opened, visitors
    from (
      select unnest(events[1:p_opened]) as event_id
      union
      (select v.event_id from unnest(ids) as r(record_id), (values (1, p_facets), (2, p_facets), (3, 1)) as f(facet, most)
       cross join lateral (
         select x.event_id, x.occurred_at from event x
         where x.tenant_id = p_tenant and x.record_id = r.record_id and x.facet = f.facet and x.occurred_at <= p_until
         order by x.occurred_at desc limit f.most) v
       order by v.occurred_at desc, v.event_id desc limit 2 * p_facets)
      union
      (select v.event_id from unnest(ids) as r(record_id) cross join lateral (
         select x.event_id, x.occurred_at from event x
         where x.tenant_id = p_tenant and x.record_id = r.record_id and x.issue_kind is not null and x.occurred_at <= p_until
         order by x.occurred_at desc limit p_issues) v
       order by v.occurred_at desc, v.event_id desc limit p_issues)
    ) part
    join event e on e.tenant_id = p_tenant and e.event_id = part.event_id;

    select array_agg(f.pattern), array_agg(f.valence), array_agg(f.at), array_agg(f.begun_at)
    into patterns, valences, fired_at, begun_at
    from (
      select x.pattern, x.valence, x.at, x.begun_at from pattern_fired x
      where x.tenant_id = p_tenant and x.person_id = profile_read.person_id and x.retracted_at is null and x.at <= p_until
      order by x.at desc, x.firing_id desc limit p_fired
    ) f;
  end if;

  select array_agg(distinct k) into shared from unnest(records) as r cross join lateral unnest(r.matched) as k;
  select array_agg(h.key), array_agg(h.person_id) into sharing_keys, sharing_persons
  from (
    select distinct k.key, o.person_id
    from unnest(shared[1:p_shared]) as k(key)
    cross join lateral (
      select array_agg(b.record_id) as record_ids from (
        select x.record_id from record_key x where x.tenant_id = p_tenant and x.key = k.key limit p_hot + 1
      ) b
    ) c
    cross join lateral unnest(c.record_ids) as u(record_id)
    join record o on o.tenant_id = p_tenant and o.record_id = u.record_id
    where cardinality(c.record_ids) <= p_hot and o.person_id <> profile_read.person_id
    order by o.person_id, k.key
  ) h;

  if visitors is not null and exists (select from typed t where t.tenant_id = p_tenant and t.visitor = any (visitors)) then
    select array_agg(d.kind), array_agg(d.typed_at), array_agg(d.person_id), array_agg(d.verified_at)
    into typed_kinds, typed_at, typed_persons, typed_verified
    from (
      select t.kind, t.typed_at, o.person_id, max(o.verified_at) as verified_at
      from typed t
      cross join lateral (
        select array_agg(b.record_id) as record_ids from (
          select x.record_id from record_key x where x.tenant_id = p_tenant and x.key = t.key limit p_hot + 1
        ) b
      ) c
      cross join lateral unnest(c.record_ids) as u(record_id)
      join record o on o.tenant_id = p_tenant and o.record_id = u.record_id
      where t.tenant_id = p_tenant and t.visitor = any (visitors) and cardinality(c.record_ids) <= p_hot
        and o.person_id <> profile_read.person_id
      group by t.kind, t.typed_at, o.person_id
      order by t.typed_at desc, o.person_id limit 20
    ) d;
  end if;
end $$;

create type timeline_event as (event_id bigint, record_id bigint, source text, channel text, occurred_at timestamptz,
                               standing smallint, issue_kind text, issue_effect smallint, stitched boolean,
                               wrapped_key bytea, sealed bytea);

-- A page of a person's timeline in one call: who that is now, and their events before a place in the order, newest first.
-- What was read in words stands with its event.
create function timeline_read(p_tenant int, p_person bigint, p_when timestamptz, p_last bigint, p_channel text, p_limit int,
                              p_records int, out person_id bigint, out known boolean, out page timeline_event[])
language plpgsql stable as $$
#variable_conflict use_column
declare
  ids bigint[];
begin
  perform set_config('app.tenant', p_tenant::text, true);
  select coalesce(p.merged_into, p.person_id) into timeline_read.person_id from person p
  where p.tenant_id = p_tenant and p.person_id = p_person;
  ids := array(
    select r.record_id from record r where r.tenant_id = p_tenant and r.person_id = timeline_read.person_id
    order by r.last_seen desc nulls last, r.record_id limit p_records);
  known := cardinality(ids) > 0;
  select array_agg(row(e.event_id, e.record_id, s.name, e.channel, e.occurred_at, e.standing, e.issue_kind, e.issue_effect,
                       e.came_in is not null and e.came_in <> e.record_id, e.wrapped_key, e.sealed)::timeline_event
                   order by e.occurred_at desc, e.event_id desc)
  into page
  from (
    select v.* from unnest(ids) as r(record_id)
    cross join lateral (
      select x.* from event x
      where x.tenant_id = p_tenant and x.record_id = r.record_id and (x.occurred_at, x.event_id) < (p_when, p_last)
        and (p_channel is null or x.channel = p_channel) and x.about_id is null
      order by x.occurred_at desc, x.event_id desc limit p_limit
    ) v
    order by v.occurred_at desc, v.event_id desc limit p_limit
  ) e
  join record o on o.tenant_id = p_tenant and o.record_id = e.record_id
  join source s on s.tenant_id = p_tenant and s.source_id = o.source_id;
end $$;

do $$
declare t text;
begin
  foreach t in array array['typed', 'visitor_stale'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
