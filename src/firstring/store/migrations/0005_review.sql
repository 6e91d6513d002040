-- Clerical review: which pairs people are asked about, and what they answered. Records stand here by id or by their source's
-- own id, as a keyed hash; nothing of what they hold does.

create table clerical_question (         -- drawn, not answered yet
  tenant_id     int not null,
  question_id   bigint generated always as identity,
  left_record   bigint not null,         -- the smaller id
  right_record  bigint not null,
  version       text not null,           -- of the model that stated the probability
  probability   double precision not null,
  sampling_probability double precision not null check (sampling_probability > 0),
  pool_pairs    int not null,            -- pairs it was drawn from
  cell          text not null,           -- the agreement of name, date and place: which pairs are like it
  why           text not null,           -- why it was drawn
  drawn_at      timestamptz not null,
  taken_by      text,
  taken_at      timestamptz,
  primary key (tenant_id, question_id),
  check (left_record < right_record)
);
create unique index clerical_question_pair on clerical_question (tenant_id, left_record, right_record);

create table clerical_answer (
  tenant_id     int not null,
  answer_id     bigint generated always as identity,
  left_source   int not null,            -- records by their source's own id: they may be deleted and come again
  left_key      bytea not null,
  right_source  int not null,
  right_key     bytea not null,
  answer        text not null check (answer in ('same', 'household', 'different', 'unknown')),
  version       text not null,
  probability   double precision not null,
  sampling_probability double precision not null,
  pool_pairs    int not null,
  cell          text not null,
  decision_id   bigint,                  -- the link decision that was made of it, if one was
  made_by       text not null,
  made_at       timestamptz not null,
  undone_by     text,
  undone_at     timestamptz,
  primary key (tenant_id, answer_id),
  check ((undone_at is null) = (undone_by is null))
);
create index clerical_answer_left on clerical_answer (tenant_id, left_key) where undone_at is null;

-- Tokens of stewards: they look, answer and decide, and import nothing.
alter table api_token drop constraint api_token_role_check;
alter table api_token add constraint api_token_role_check
  check (role in ('administrator', 'adapter', 'import', 'events', 'write_key', 'read', 'steward'));

do $$
declare t text;
begin
  foreach t in array array['clerical_question', 'clerical_answer'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy of_tenant on %I using (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::int)', t);
  end loop;
end $$;
