-- Delivery: actions on their way to customers, call-backs that were promised, and the feed of changes.

-- --- actions on their way ----------------------------------------------------------------------------------------

create table delivery (                  -- written by the transaction that decides; carried out at least once
  tenant_id     int not null references tenant,
  delivery_id   uuid not null,
  decision_id   uuid not null,
  record_id     bigint not null,         -- whom it is addressed to; the person is whoever has the record then
  route         text not null,
  action        text not null,
  kind          text not null,
  state         text not null default 'pending' check (state in
                  ('pending', 'shown', 'accepted', 'dismissed', 'ignored', 'failed', 'expired', 'withdrawn')),
  reason        text,                    -- why it failed or was withdrawn: a code
  not_before    timestamptz not null,
  expires_at    timestamptz not null,
  attempts      int not null default 0,
  next_at       timestamptz not null,    -- when it is tried next, or tried again by somebody else
  created_at    timestamptz not null,
  state_at      timestamptz not null,
  wrapped_key   bytea,
  sealed        bytea,                   -- the whole value
  primary key (tenant_id, delivery_id)
);
create index delivery_due on delivery (tenant_id, next_at) where state = 'pending';
create index delivery_of_record on delivery (tenant_id, record_id, state);
create index delivery_created on delivery (tenant_id, created_at);
create index delivery_unanswered on delivery (tenant_id, expires_at) where state = 'shown';

create table delivery_happening (        -- what became of a delivery, to be told as an event, once each
  tenant_id     int not null,
  delivery_id   uuid not null,
  what          text not null check (what in ('shown', 'accepted', 'dismissed', 'ignored', 'failed')),
  at            timestamptz not null,
  told_at       timestamptz,
  primary key (tenant_id, delivery_id, what)
);
create index delivery_untold on delivery_happening (tenant_id, at) where told_at is null;

create table callback (                  -- a promised call: its timer is in timer, by its id
  tenant_id     int not null references tenant,
  callback_id   uuid not null,
  delivery_id   uuid,                    -- the action it came of
  record_id     bigint not null,
  number_key    bytea not null,          -- blind index: one open call-back for a number
  state         text not null default 'booked' check (state in ('booked', 'offered', 'done', 'missed', 'cancelled')),
  due_at        timestamptz not null,
  attempts      int not null default 0,
  contact_id    uuid,
  booked_at     timestamptz not null,
  state_at      timestamptz not null,
  wrapped_key   bytea,
  sealed        bytea,                   -- number, time zone, language, reason, content of the action
  primary key (tenant_id, callback_id)
);
create unique index callback_open on callback (tenant_id, number_key) where state in ('booked', 'offered');
create index callback_due on callback (tenant_id, due_at) where state = 'booked';
create index callback_of_record on callback (tenant_id, record_id);
create index callback_contact on callback (tenant_id, contact_id) where state = 'offered';

-- --- changes -----------------------------------------------------------------------------------------------------

create table change_feed (               -- a tenant whose changes are noted; last: the newest position given
  tenant_id     int not null references tenant,
  last          bigint not null default 0,
  forgotten     bigint not null default 0, -- up to here changes are kept no more
  begun_at      timestamptz not null,
  primary key (tenant_id)
);

create table change (
  tenant_id     int not null,
  change_id     bigint generated always as identity, -- the order of writing: transactions that are open leave gaps in it
  position      bigint,                  -- given when it is first read: the order of becoming visible, without gaps
  kind          text not null check (kind in ('created', 'changed', 'merged', 'split', 'deleted', 'entered', 'left',
                                              'pattern', 'pattern_retracted')),
  person_id     bigint not null,
  other_id      bigint,
  what          text,                    -- the pattern's or the segment's name
  at            timestamptz not null default clock_timestamp(),
  primary key (tenant_id, change_id)
);
create unique index change_position on change (tenant_id, position) where position is not null;
create index change_unplaced on change (tenant_id, change_id) where position is null;

create table feed (                      -- who is told of changes by webhook, and how far they are
  tenant_id     int not null references tenant,
  feed_id       bigint generated always as identity,
  name          text not null,
  kinds         text[] not null,
  profiles      boolean not null,
  position      bigint not null,
  state         text not null default 'active' check (state in ('active', 'ended')),
  failures      int not null default 0,
  last_code     text,
  next_at       timestamptz not null,
  sent_at       timestamptz,
  created_at    timestamptz not null,
  wrapped_key   bytea,
  sealed        bytea,                   -- the address
  primary key (tenant_id, feed_id)
);
create unique index feed_name on feed (tenant_id, name) where state = 'active';

-- --- who notes changes -------------------------------------------------------------------------------------------
-- Nothing is noted for a tenant whose feed nobody has asked for. Persons and records are changed under the applier's lock,
-- so that the order of writing is the order of commit among them.

create function note_new_persons() returns trigger language plpgsql as $$
begin
  insert into change (tenant_id, kind, person_id)
  select n.tenant_id, 'created', n.person_id from added n join change_feed f on f.tenant_id = n.tenant_id
  order by n.person_id;
  return null;
end $$;
create trigger person_noted after insert on person referencing new table as added
  for each statement execute function note_new_persons();

create function note_new_records() returns trigger language plpgsql as $$
begin
  if not exists (select from change_feed) then return null; end if;
  insert into change (tenant_id, kind, person_id)
  select r.tenant_id, 'changed', r.person_id
  from (select distinct n.tenant_id, n.person_id from added n) r
  join change_feed f on f.tenant_id = r.tenant_id
  join person p on p.tenant_id = r.tenant_id and p.person_id = r.person_id
  where p.xmin <> pg_current_xact_id()::xid   -- who was made just now is noted as made
  order by r.person_id;
  return null;
end $$;
create trigger record_noted after insert on record referencing new table as added
  for each statement execute function note_new_records();

create function note_changed_record() returns trigger language plpgsql as $$
begin
  if not exists (select from change_feed where tenant_id = new.tenant_id) then return null; end if;
  insert into change (tenant_id, kind, person_id) values (new.tenant_id, 'changed', new.person_id);
  if old.person_id <> new.person_id
     and exists (select from record r where r.tenant_id = old.tenant_id and r.person_id = old.person_id) then
    insert into change (tenant_id, kind, person_id) values (old.tenant_id, 'changed', old.person_id);
  end if;
  return null;
end $$;
create trigger record_change_noted after update on record for each row
  when (old.content_key is distinct from new.content_key or old.person_id is distinct from new.person_id
        or old.chosen is distinct from new.chosen)
  execute function note_changed_record();

create function note_gone_records() returns trigger language plpgsql as $$
begin
  delete from delivery d using gone g where d.tenant_id = g.tenant_id and d.record_id = g.record_id;
  update callback c set state = 'cancelled', wrapped_key = null, sealed = null
  from gone g where c.tenant_id = g.tenant_id and c.record_id = g.record_id;
  if not exists (select from change_feed) then return null; end if;
  insert into change (tenant_id, kind, person_id)
  select r.tenant_id,
         case when exists (select from record x where x.tenant_id = r.tenant_id and x.person_id = r.person_id)
              then 'changed' else 'deleted' end,
         r.person_id
  from (select distinct g.tenant_id, g.person_id from gone g) r join change_feed f on f.tenant_id = r.tenant_id
  order by r.person_id;
  return null;
end $$;
create trigger record_gone_noted after delete on record referencing old table as gone
  for each statement execute function note_gone_records();

create function note_partition() returns trigger language plpgsql as $$
begin
  insert into change (tenant_id, kind, person_id, other_id)
  select n.tenant_id, n.kind, n.person_id, n.other_id from added n join change_feed f on f.tenant_id = n.tenant_id
  order by n.change_id;
  return null;
end $$;
create trigger partition_noted after insert on person_change referencing new table as added
  for each statement execute function note_partition();

create function note_enrichment() returns trigger language plpgsql as $$
begin
  if not exists (select from change_feed where tenant_id = new.tenant_id) then return null; end if;
  insert into change (tenant_id, kind, person_id)
  select r.tenant_id, 'changed', r.person_id from record r where r.tenant_id = new.tenant_id and r.record_id = new.record_id;
  return null;
end $$;
create trigger enrichment_noted after insert or update on enrichment for each row execute function note_enrichment();

create function note_fired() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and (old.retracted_at is null) = (new.retracted_at is null) then return null; end if;
  insert into change (tenant_id, kind, person_id, what)
  select f.tenant_id, case when new.retracted_at is null then 'pattern' else 'pattern_retracted' end, new.person_id, new.pattern
  from change_feed f where f.tenant_id = new.tenant_id;
  return null;
end $$;
create trigger fired_noted after insert or update of retracted_at on pattern_fired for each row execute function note_fired();

do $$
declare t text;
begin
  foreach t in array array['delivery', 'delivery_happening', 'callback', 'change_feed', 'change', 'feed'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
