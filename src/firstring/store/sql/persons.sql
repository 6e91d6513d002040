-- Persons whole: their records now and then, who shares an identifier with them, conflicts and choices, enrichment.

-- name: living
-- Who a person is now: itself, or whom it was merged into.
select coalesce(merged_into, person_id) from person where tenant_id = $1 and person_id = $2

-- name: members
-- The records of these persons, of each at most so many, the most recently seen first.
select m.*, s.name as source
from unnest($2::bigint[]) as p(person_id)
cross join lateral (
  select r.record_id, r.version, r.person_id, r.source_id, r.external_key, r.wrapped_key, r.sealed, r.last_seen,
         r.verified_at, r.chosen
  from record r where r.tenant_id = $1 and r.person_id = p.person_id
  order by r.last_seen desc nulls last, r.record_id limit $3
) m
join source s on s.tenant_id = $1 and s.source_id = m.source_id

-- name: enrichments
select e.record_id, 0 as version, s.name as source, e.wrapped_key, e.sealed, e.observed_at as last_seen
from enrichment e join source s on s.tenant_id = $1 and s.source_id = e.source_id
where e.tenant_id = $1 and e.record_id = any ($2::bigint[])

-- name: changes
-- Merges and splits that a person was part of, the newest first.
select kind, person_id, other_id, cause, changed_at from person_change
where tenant_id = $1 and (person_id = $2 or other_id = $2)
order by changed_at desc, change_id desc limit $3

-- name: person_at
-- Who a person was at a moment: itself, or whom it had been merged into by then. Nothing where it was not there yet.
with recursive walk(person_id, step) as (
  select p.person_id, 0 from person p where p.tenant_id = $1 and p.person_id = $2 and p.created_at <= $3
  union all
  select c.person_id, w.step + 1
  from walk w join person_change c
    on c.tenant_id = $1 and c.other_id = w.person_id and c.kind = 'merged' and c.changed_at <= $3
  where w.step < 1000
)
select person_id from walk order by step desc limit 1

-- name: members_at
-- The states that records of a person were in at a moment; of a deleted record only that it was there.
select m.*, s.name as source,
       (select array_agg(d.choice) from record r join field_decision d
          on d.tenant_id = $1 and d.source_id = r.source_id and d.external_key = r.external_key
        where r.tenant_id = $1 and r.record_id = m.record_id and d.made_at <= $3
          and (d.revoked_at is null or d.revoked_at > $3)) as chosen
from (
  select h.record_id, 0 as version, h.person_id, h.source_id, h.wrapped_key, h.sealed, h.last_seen, h.verified_at
  from record_history h
  where h.tenant_id = $1 and h.person_id = $2 and h.valid_from <= $3 and h.valid_to > $3
  union all
  select r.record_id, r.version, r.person_id, r.source_id, r.wrapped_key, r.sealed, r.last_seen, r.verified_at
  from record r
  where r.tenant_id = $1 and r.person_id = $2 and coalesce(r.since, r.created_at) <= $3
) m
join source s on s.tenant_id = $1 and s.source_id = m.source_id
order by m.last_seen desc nulls last, m.record_id limit $4

-- name: enrichments_at
select e.record_id, 0 as version, s.name as source, e.wrapped_key, e.sealed, e.observed_at as last_seen
from enrichment e join source s on s.tenant_id = $1 and s.source_id = e.source_id
where e.tenant_id = $1 and e.record_id = any ($2::bigint[]) and e.updated_at <= $3

-- name: sharing
-- Other persons who carry one of these keys; a key that too many records carry says nothing of a household.
select distinct k.key, r.person_id
from unnest($2::bytea[]) as k(key)
cross join lateral (
  select array_agg(x.record_id) as records from (
    select y.record_id from record_key y where y.tenant_id = $1 and y.key = k.key limit $4 + 1
  ) x
) f
cross join lateral unnest(f.records) as u(record_id)
join record r on r.tenant_id = $1 and r.record_id = u.record_id
where cardinality(f.records) <= $4 and r.person_id <> $3
order by r.person_id, k.key

-- name: open_conflicts
select conflict_id, person_id, field, found_at from field_conflict
where tenant_id = $1 and state = 'open' and conflict_id > $2 order by conflict_id limit $3

-- name: conflicts_of
select conflict_id, field, found_at from field_conflict
where tenant_id = $1 and person_id = $2 and state = 'open' order by conflict_id

-- name: conflict
select conflict_id, person_id, field, state, found_at from field_conflict
where tenant_id = $1 and conflict_id = $2 for update

-- name: add_conflicts
insert into field_conflict (tenant_id, person_id, field, found_at)
select $1, c.person_id, c.field, $4 from unnest($2::bigint[], $3::text[]) as c(person_id, field)
on conflict do nothing
returning conflict_id

-- name: close_conflicts
-- Conflicts of these persons that are no more: the person is gone, or the values agree.
update field_conflict f set state = 'gone', closed_at = $5
where f.tenant_id = $1 and f.state = 'open' and f.person_id = any ($2::bigint[])
  and not exists (select from unnest($3::bigint[], $4::text[]) as c(person_id, field)
                  where c.person_id = f.person_id and c.field = f.field)
returning conflict_id

-- name: resolve_conflict
update field_conflict set state = 'resolved', closed_at = $3 where tenant_id = $1 and conflict_id = $2

-- name: choose
-- The choices of a field that these records hold are replaced: by none, or by the given one for one of them.
update record r
set chosen = nullif(
      array(select c from unnest(coalesce(r.chosen, '{}')) as c where split_part(c, ':', 1) <> $3)
      || case when r.record_id = $4 then array[$5::text] else '{}' end, '{}'),
    version = r.version + 1
where r.tenant_id = $1 and r.record_id = any ($2::bigint[])
  and (r.record_id = $4 or exists (select from unnest(coalesce(r.chosen, '{}')) as c where split_part(c, ':', 1) = $3))

-- name: revoke_decisions
update field_decision d set revoked_by = $4, revoked_at = $5
from record r
where r.tenant_id = $1 and r.record_id = any ($2::bigint[])
  and d.tenant_id = $1 and d.source_id = r.source_id and d.external_key = r.external_key and d.field = $3
  and d.revoked_at is null

-- name: add_decision
insert into field_decision (tenant_id, source_id, external_key, field, choice, wrapped_key, sealed, made_by, reason, made_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
returning decision_id

-- name: decisions_of
select d.decision_id, d.field, d.made_by, d.reason, d.made_at, d.revoked_by, d.revoked_at, r.record_id
from record r join field_decision d
  on d.tenant_id = $1 and d.source_id = r.source_id and d.external_key = r.external_key
where r.tenant_id = $1 and r.record_id = any ($2::bigint[])
order by d.made_at desc, d.decision_id desc

-- name: missing_choices
-- Choices in force that their records lack: a record that was deleted and came again.
select d.decision_id, d.field, d.choice, r.record_id
from field_decision d join record r
  on r.tenant_id = $1 and r.source_id = d.source_id and r.external_key = d.external_key
where d.tenant_id = $1 and d.revoked_at is null and r.record_id = any ($2::bigint[])
  and not (coalesce(r.chosen, '{}') @> array[d.choice])

-- name: mark_enrichment
-- A source is one's own or a provider's, and stays so: nothing is returned where it is the other.
update source set kind = 'enrichment'
where tenant_id = $1 and source_id = $2
  and (kind = 'enrichment' or not exists (select from record r where r.tenant_id = $1 and r.source_id = $2))
returning source_id

-- name: source_named
select source_id, kind from source where tenant_id = $1 and name = $2

-- name: targets
select external_key, record_id from record
where tenant_id = $1 and source_id = $2 and external_key = any ($3::bytea[])

-- name: known_enrichments
select external_key, record_id, content_key from enrichment
where tenant_id = $1 and source_id = $2 and external_key = any ($3::bytea[])

-- name: drop_enrichments
delete from enrichment where tenant_id = $1 and source_id = $2 and external_key = any ($3::bytea[])

-- name: put_enrichments
insert into enrichment (tenant_id, record_id, source_id, external_key, content_key, wrapped_key, sealed, observed_at,
                        created_at, updated_at)
select $1, e.record_id, $2, e.external_key, e.content_key, e.wrapped_key, e.sealed, e.observed_at, $9, $9
from unnest($3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::timestamptz[])
  as e(record_id, external_key, content_key, wrapped_key, sealed, observed_at)

-- name: place_of
select source_id, external_key from record where tenant_id = $1 and record_id = $2
