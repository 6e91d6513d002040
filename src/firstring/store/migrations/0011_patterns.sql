-- Durable timers, and patterns as they run: which are on, what is under way for whom, what fired.

create table timer (                     -- at some time, something is to be done: by whichever server runs then
  tenant_id     int not null references tenant,
  kind          text not null,           -- who handles it
  key           text not null,           -- which one of the kind: an id, never anything personal
  due_at        timestamptz not null,
  next_at       timestamptz not null,    -- when it is looked at next: due_at, or the end of somebody's turn; infinity: given up
  attempts      smallint not null default 0,
  turn          int not null default 0,  -- whoever finishes must be the one who took it last, and it was not set anew since
  wrapped_key   bytea,
  sealed        bytea,
  primary key (tenant_id, kind, key)
);
create index timer_next on timer (tenant_id, next_at);

do $$
declare t text;
begin
  foreach t in array array['timer'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
