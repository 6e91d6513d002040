-- Who fits, and whether it helps: what came of contacts by agent, models learned of it, trials.

-- Contacts that are over become rows of routing_outcome; those that have not yet are found by this.
alter table contact add column learned_at timestamptz;
create index contact_to_learn on contact (tenant_id, ended_at) where state = 'ended' and learned_at is null;

create table routing_outcome (           -- one for each agent who had the contact; one without an agent where nobody did
  tenant_id     int not null,
  contact_id    uuid not null,
  assignment_id uuid not null,           -- the contact's own id where nobody had it
  agent_id      bigint,
  agent_version int,
  last          boolean not null,        -- nobody had the contact after this agent
  person_id     bigint,                  -- the likeliest at the end, where they were known well enough
  known         real not null,           -- the probability that it was them, impostors taken out
  recognised    boolean not null,        -- somebody was named to the agent while it rang
  channel       text not null,
  intent        text,
  language      text,
  tier          text,
  experience    real,                    -- 0-100, when the contact was decided on
  facts         jsonb not null default '{}', -- further codes that the policy names (fit_fields)
  language_level smallint,               -- of the agent, in the contact's language
  last_agent    boolean not null,        -- this agent served this person the last time
  met           boolean not null,        -- this agent served this person before
  offered_at    timestamptz not null,
  waited_s      real not null,
  answered_at   timestamptz,
  ended_at      timestamptz not null,
  handle_s      real,                    -- from the answer to the end of the wrap-up
  outcome       text,
  success       boolean,                 -- by the policy's outcome codes; null: not judged
  repeated      boolean,                 -- in contact again within 7 days; null: not known yet, or not who it was
  complained    boolean not null default false, -- about this contact
  policy        text not null,           -- versions.routing of the decision that chose the agent
  propensity    real not null,
  primary key (tenant_id, contact_id, assignment_id)
);
create index routing_outcome_ended on routing_outcome (tenant_id, ended_at);
create index routing_outcome_person on routing_outcome (tenant_id, person_id, ended_at desc) where person_id is not null;
create index routing_outcome_open on routing_outcome (tenant_id, ended_at) where person_id is not null and repeated is null;

create table routing_model (             -- who fits: trained whole, or what newer outcomes changed of it
  tenant_id     int not null references tenant,
  version       text not null,           -- out of the content
  parent        text,                    -- of an update: the version that it changes
  root          text not null,           -- the version that was trained
  content       text not null,           -- JSON of routing.fit.model: agents' numbers and codes, nothing of customers
  outcomes      bigint not null,         -- that it rests on
  until         timestamptz not null,    -- outcomes up to then
  made_at       timestamptz not null,
  made_by       text not null,
  active        boolean not null,
  primary key (tenant_id, version)
);
create unique index routing_model_active on routing_model (tenant_id) where active;
create index routing_model_root on routing_model (tenant_id, root, made_at);

create table routing_trial (             -- a randomised comparison of two ways to route
  tenant_id     int not null references tenant,
  trial_id      int generated always as identity,
  name          text not null,
  plan          text not null,           -- JSON of routing.trial.plan.Trial
  state         text not null check (state in ('planned', 'running', 'stopped', 'ended')),
  planned_by    text not null,
  planned_at    timestamptz not null,
  started_at    timestamptz,
  stopped_at    timestamptz,
  stopped_because text,
  result        text,                    -- JSON of routing.trial.result.Result, once it is over
  primary key (tenant_id, trial_id),
  unique (tenant_id, name)
);
create unique index routing_trial_running on routing_trial (tenant_id) where state = 'running';

do $$
declare t text;
begin
  foreach t in array array['routing_outcome', 'routing_model', 'routing_trial'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
