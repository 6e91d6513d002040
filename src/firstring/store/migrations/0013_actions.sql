-- The next best action: what is declared and in force, what was decided for whom and why, what came of it; offers.

create table action_policy (             -- every version of the declared actions, so that decisions can be derived again
  tenant_id     int not null references tenant,
  version       text not null,           -- out of the content: nextbest.actions.Catalogue.version
  texts         jsonb not null,          -- [[file, YAML], ...]
  actions       int not null,
  loaded_by     text not null,
  loaded_at     timestamptz not null,
  active        boolean not null,
  primary key (tenant_id, version)
);
create unique index action_policy_active on action_policy (tenant_id) where active;

create table action_learned (            -- what was learned of chances up to a moment
  tenant_id     int not null references tenant,
  version       text not null,
  learned       jsonb not null,          -- nextbest.learning.posterior.Learned: counts, nothing of anybody
  settled       bigint not null,         -- decisions it rests on
  made_at       timestamptz not null,
  active        boolean not null,
  primary key (tenant_id, version)
);
create unique index action_learned_active on action_learned (tenant_id) where active;

create table action_decision (           -- belongs to a source record, so that it goes with it through merges and splits
  tenant_id     int not null,
  decision_id   uuid not null,
  record_id     bigint not null,
  cause         text not null check (cause in ('pattern', 'timer', 'hand')),
  firing_id     bigint,
  after_ms      bigint not null default 0, -- which of the delayed decisions of a firing it is
  action        text not null,           -- 'none' where every action was gated
  kind          text not null,
  route         text not null,
  context       text not null,           -- what the chance is learned apart for
  outcome       text not null check (outcome in ('acted', 'held_out', 'none')),
  propensity    double precision not null,
  policy        text not null,
  learned       text not null,
  decided_by    text,                    -- who asked for it by hand
  decided_at    timestamptz not null,
  settles_at    timestamptz,             -- when it is looked what came of it; null: nothing is learned of it
  result        text check (result in ('worked', 'failed', 'void')),  -- void: it never reached anybody
  wrapped_key   bytea,
  sealed        bytea,                   -- everything it was derived from, and the trace
  primary key (tenant_id, decision_id)
);
create unique index action_decision_firing on action_decision (tenant_id, firing_id, after_ms) where firing_id is not null;
create index action_decision_of_record on action_decision (tenant_id, record_id, decided_at desc);
create index action_decision_at on action_decision (tenant_id, decided_at desc);
create index action_decision_unsettled on action_decision (tenant_id, settles_at)
  where settles_at is not null and result is null;
create index action_decision_learned on action_decision (tenant_id, decided_at) where result in ('worked', 'failed');

create function forget_action_decisions() returns trigger language plpgsql as $$
begin
  delete from action_decision d using gone g where d.tenant_id = g.tenant_id and d.record_id = g.record_id;
  return null;
end $$;
create trigger record_gone_decided after delete on record referencing old table as gone
  for each statement execute function forget_action_decisions();

create table action_brake (              -- how often an action went out to anybody, for each of its caps of everyone
  tenant_id     int not null references tenant,
  action        text not null,
  place         smallint not null,       -- which of its caps
  begun_at      timestamptz not null,    -- of the stretch of time
  ends_at       timestamptz not null,
  count         int not null,
  primary key (tenant_id, action, place, begun_at)
);

create table offer (                     -- the catalogue of what is offered: nothing of anybody
  tenant_id     int not null references tenant,
  offer_id      text not null,
  title         text not null,
  price         numeric,
  currency      text not null default '',
  category      text not null default '',
  url           text not null default '',
  image         text not null default '',
  products      text[] not null,         -- ids of products that events name for it, its own id among them
  available     boolean not null default true,
  starts_at     timestamptz,
  ends_at       timestamptz,
  loaded_at     timestamptz not null,
  primary key (tenant_id, offer_id)
);

create table offer_rejected (            -- rows that were refused, whole, with their reason
  tenant_id     int not null references tenant,
  row_number    bigint not null,
  file          text not null,
  code          text not null,
  message       text not null,
  line          text not null,
  rejected_at   timestamptz not null,
  primary key (tenant_id, file, row_number)
);

create table offer_model (               -- which products go together, and how popular each is
  tenant_id     int not null references tenant,
  model         bytea not null,          -- MessagePack of nextbest.offers.affinity.Affinity
  people        bigint not null,
  made_at       timestamptz not null,
  primary key (tenant_id)
);

do $$
declare t text;
begin
  foreach t in array array['action_policy', 'action_learned', 'action_decision', 'action_brake', 'offer', 'offer_rejected',
                           'offer_model'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
