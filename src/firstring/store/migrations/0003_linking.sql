-- The identity engine: model versions, linking decisions of people, merges that are held.
-- Linking keys under a model are 12 bytes: one byte that says which key of the spec it is, and 11 of its blind index. So
-- they stand in record.link_keys and record_key beside the older ones (16 bytes: glue without a model; 20: narrow).
-- A key of 21 bytes says what a record holds (12 bytes) and its place among its copies: see store/copies.py.

create table identity_model (            -- everything a version rests on is frozen here
  tenant_id     int not null references tenant,
  model_id      int generated always as identity,
  version       text not null,           -- as in the model's file: named after its content
  state         text not null check (state in ('candidate', 'rolling', 'active', 'retired')),
  model         bytea not null,          -- the model's file (JSON); holds no value of anybody
  wrapped_key   bytea not null,
  statistics    bytea not null,          -- sealed: how rare each value is, by keyed hash
  threshold     real not null check (threshold > 0 and threshold < 1),
  report        jsonb,                   -- what rolling it in merges and splits
  trained_at    timestamptz not null,
  activated_at  timestamptz,
  primary key (tenant_id, model_id)
);
create unique index identity_model_active on identity_model (tenant_id) where state = 'active';
create unique index identity_model_rolling on identity_model (tenant_id) where state = 'rolling';

-- Of records with the same content only the first few take part in linking; the others follow them.
alter table record add column is_copy boolean not null default false;
drop index record_person;
create index record_person on record (tenant_id, person_id, is_copy);

-- Persons between whose records there are likely pairs, though they are not one person: what changes one may change all
-- of them. Null for a person of whom nothing of the kind is known.
alter table person add column component_id bigint;
create index person_component on person (tenant_id, component_id) where component_id is not null;

create table link_decision (             -- two records are one person, or are not: holds through every retraining
  tenant_id     int not null references tenant,
  decision_id   bigint generated always as identity,
  kind          text not null check (kind in ('must', 'cannot')),
  left_source   int not null,            -- records by their source's own id: they may be deleted and come again
  left_key      bytea not null,
  right_source  int not null,
  right_key     bytea not null,
  made_by       text not null,
  reason        text not null,
  made_at       timestamptz not null,
  revoked_by    text,
  revoked_reason text,
  revoked_at    timestamptz,
  primary key (tenant_id, decision_id),
  check ((revoked_at is null) = (revoked_by is null))
);
create index link_decision_left on link_decision (tenant_id, left_key) where revoked_at is null;
create index link_decision_right on link_decision (tenant_id, right_key) where revoked_at is null;

create table held_merge (                -- merges that a guard held back: a function of the records, kept with the persons
  tenant_id     int not null,
  left_person   bigint not null,         -- the smaller id
  right_person  bigint not null,
  guard         text not null,           -- the code of what held it
  probability   real not null,           -- of the best pair between them
  found_at      timestamptz not null,
  primary key (tenant_id, left_person, right_person),
  check (left_person < right_person)
);
create index held_merge_right on held_merge (tenant_id, right_person);

do $$
declare t text;
begin
  foreach t in array array['identity_model', 'link_decision', 'held_merge'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
