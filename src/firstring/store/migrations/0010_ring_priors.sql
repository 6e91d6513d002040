-- What a tenant's own confirmed contacts say of who rings: priors fitted to them, every version kept for replay.

create table ring_priors (
  tenant_id     int not null references tenant,
  priors_id     int generated always as identity,
  version       text not null,           -- of the whole table of priors: named after its content
  basis         text not null check (basis in ('fitted', 'calibrated')),
  fitted        jsonb not null,          -- prior -> value, those that were fitted; the rest are the program's
  report        jsonb not null,          -- outcomes, log loss and calibration before and after
  in_force      boolean not null,
  fitted_at     timestamptz not null,
  primary key (tenant_id, priors_id)
);
create unique index ring_priors_in_force on ring_priors (tenant_id) where in_force;

alter table ring_priors enable row level security;
alter table ring_priors force row level security;
create policy of_tenant on ring_priors using (tenant_id = nullif(current_setting('app.tenant', true), '')::int);
