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

do $$
declare t text;
begin
  foreach t in array array['typed', 'visitor_stale'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
