-- Events: what each is worth as evidence, other names of users, and events that were refused.

-- What an event is worth as evidence of whose it is: 0 claimed (a public write key: anybody may have sent it), 1 reported
-- (one's own server), 2 signed (a public key, with a signature of the user id). Events from before were of unknown
-- senders of one's own, or of public keys that could not be told apart: they count as reported, as they did.
alter table event add column standing smallint not null default 1 check (standing between 0 and 2);

-- The system whose ids the events of a token speak of.
alter table api_token add column source text;

create table event_alias (               -- other names of users, each leading to the one that events go to
  tenant_id     int not null references tenant,
  from_key      bytea not null,          -- HMAC of source and id, as in record.external_key
  to_key        bytea not null,          -- never a from_key itself: chains are made short when they are written
  turned        boolean not null,        -- the other way round than was said: only the id given up had a record
  made_at       timestamptz not null,
  primary key (tenant_id, from_key),
  check (from_key <> to_key)
);
create index event_alias_to on event_alias (tenant_id, to_key);

create table event_rejected (            -- events that were refused, whole, to be sent again when the cause is mended
  tenant_id     int not null references tenant,
  rejected_id   bigint generated always as identity,
  content_key   bytea not null,          -- HMAC of source and content: the same one again is counted
  source        text not null,
  format        text not null,           -- which of the formats it came in
  standing      smallint not null,
  code          text not null,
  times         int not null default 1,
  received_at   timestamptz not null,    -- first
  last_at       timestamptz not null,
  wrapped_key   bytea,
  sealed        bytea,                   -- the event as it came, with the message and the field
  primary key (tenant_id, rejected_id)
);
create unique index event_rejected_content on event_rejected (tenant_id, content_key);
create index event_rejected_code on event_rejected (tenant_id, code, rejected_id);

do $$
declare t text;
begin
  foreach t in array array['event_alias', 'event_rejected'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
