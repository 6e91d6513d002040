-- What stewards look at: records side by side, what holds persons together, questions, answers, guards.

-- --- records and persons -----------------------------------------------------------------------------------------

-- name: records_by_id
select r.record_id, r.person_id, r.source_id, s.name as source, r.external_key, r.wrapped_key, r.sealed, r.last_seen
from record r join source s on s.tenant_id = $1 and s.source_id = r.source_id
where r.tenant_id = $1 and r.record_id = any ($2::bigint[])
order by r.record_id

-- name: record_of_source
select r.record_id from record r join source s on s.tenant_id = $1 and s.source_id = r.source_id
where r.tenant_id = $1 and s.name = $2 and r.external_key = $3

-- name: record_of_key
select record_id from record where tenant_id = $1 and source_id = $2 and external_key = $3

-- name: living_person
select coalesce(merged_into, person_id) as living from person where tenant_id = $1 and person_id = $2

-- name: record_ids_of_person
select record_id from record where tenant_id = $1 and person_id = $2 order by record_id limit $3

-- name: records_of_person
select count(*) from record where tenant_id = $1 and person_id = $2

-- name: neighbours
-- Other persons between whose records and this one's there are likely pairs.
select o.person_id
from person p join person o on o.tenant_id = $1 and o.component_id = p.component_id
where p.tenant_id = $1 and p.person_id = $2 and p.component_id is not null and o.person_id <> $2 and o.merged_into is null
order by o.person_id limit $3

-- name: person_sizes
select person_id, count(*)::int as records from record where tenant_id = $1 and person_id = any ($2::bigint[]) group by person_id

-- name: changes_of_person
select kind, person_id, other_id, cause, changed_at from person_change
where tenant_id = $1 and (person_id = $2 or other_id = $2) order by changed_at desc, change_id desc limit $3

-- --- decisions and held merges -----------------------------------------------------------------------------------

-- name: decisions_of_records
-- Those in force that concern any of these records, given as two lists of equal length.
select distinct d.*
from unnest($2::int[], $3::bytea[]) as w(source_id, external_key)
join link_decision d on d.tenant_id = $1 and d.revoked_at is null
  and ((d.left_source = w.source_id and d.left_key = w.external_key)
    or (d.right_source = w.source_id and d.right_key = w.external_key))
order by d.decision_id

-- name: decisions
select d.*, l.name as left_name, r.name as right_name,
       (select x.record_id from record x where x.tenant_id = $1 and x.source_id = d.left_source
        and x.external_key = d.left_key) as left_record,
       (select x.record_id from record x where x.tenant_id = $1 and x.source_id = d.right_source
        and x.external_key = d.right_key) as right_record
from link_decision d
join source l on l.tenant_id = $1 and l.source_id = d.left_source
join source r on r.tenant_id = $1 and r.source_id = d.right_source
where d.tenant_id = $1 and ($2 or d.revoked_at is null)
order by d.decision_id desc limit $3

-- name: newest_decision
select coalesce(max(decision_id), 0) from link_decision where tenant_id = $1

-- name: held_merges
select left_person, right_person, guard, probability, found_at from held_merge
where tenant_id = $1 and ($2::bigint is null or left_person = $2 or right_person = $2)
order by found_at desc, left_person, right_person limit $3

-- --- questions ---------------------------------------------------------------------------------------------------

-- name: some_records
-- Records drawn by numbers from 0 to 1: those next to so much of the way between the first id and the last.
with span as (select min(record_id) as first, max(record_id) as last from record where tenant_id = $1)
select distinct r.record_id
from span cross join unnest($2::float8[]) as u(at)
cross join lateral (
  select x.record_id from record x
  where x.tenant_id = $1 and x.record_id >= span.first + floor(u.at * (span.last - span.first + 1))::bigint
  order by x.record_id limit 1
) r

-- name: link_keys
-- Linking keys under a model are 12 bytes.
select distinct u.key from record r cross join lateral unnest(r.link_keys) as u(key)
where r.tenant_id = $1 and r.record_id = any ($2::bigint[]) and octet_length(u.key) = 12

-- name: members
select w.key, array_agg(r.record_id) as records
from unnest($2::bytea[]) as w(key)
cross join lateral (
  select x.record_id from record_key x where x.tenant_id = $1 and x.key = w.key limit $3
) r
group by w.key

-- name: asked_pairs
-- Pairs that wait for an answer or have one.
select left_record, right_record from clerical_question
where tenant_id = $1 and left_record = any ($2::bigint[]) and right_record = any ($2::bigint[])
union
select least(l.record_id, r.record_id), greatest(l.record_id, r.record_id)
from record l
join clerical_answer a on a.tenant_id = $1 and a.left_source = l.source_id and a.left_key = l.external_key and a.undone_at is null
join record r on r.tenant_id = $1 and r.source_id = a.right_source and r.external_key = a.right_key
where l.tenant_id = $1 and l.record_id = any ($2::bigint[])

-- name: asked_cells
select cell, count(*)::int as answers from clerical_answer where tenant_id = $1 and undone_at is null group by cell

-- name: add_questions
insert into clerical_question (tenant_id, left_record, right_record, version, probability, sampling_probability, pool_pairs,
                               cell, why, drawn_at)
select $1, q.left_record, q.right_record, $2, q.probability, q.sampling_probability, q.pool_pairs, q.cell, q.why, $3
from unnest($4::bigint[], $5::bigint[], $6::float8[], $7::float8[], $8::int[], $9::text[], $10::text[])
  as q(left_record, right_record, probability, sampling_probability, pool_pairs, cell, why)
on conflict (tenant_id, left_record, right_record) do nothing

-- name: take_question
-- The next one that nobody else looks at. What another model stated is of no use any more.
update clerical_question q set taken_by = $2, taken_at = $3
where q.tenant_id = $1 and q.question_id = (
  select x.question_id from clerical_question x
  where x.tenant_id = $1 and x.version = $5 and (x.taken_by is null or x.taken_by = $2 or x.taken_at < $4)
  order by x.question_id limit 1 for update skip locked
)
returning *

-- name: question
select * from clerical_question where tenant_id = $1 and question_id = $2 for update

-- name: drop_question
delete from clerical_question where tenant_id = $1 and question_id = $2

-- name: drop_stale_questions
delete from clerical_question where tenant_id = $1 and version <> $2

-- name: put_back_question
insert into clerical_question (tenant_id, left_record, right_record, version, probability, sampling_probability, pool_pairs,
                               cell, why, drawn_at, taken_by, taken_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $10)
on conflict (tenant_id, left_record, right_record) do update set taken_by = excluded.taken_by, taken_at = excluded.taken_at
returning question_id

-- --- answers -----------------------------------------------------------------------------------------------------

-- name: add_answer
insert into clerical_answer (tenant_id, left_source, left_key, right_source, right_key, answer, version, probability,
                             sampling_probability, pool_pairs, cell, decision_id, made_by, made_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) returning answer_id

-- name: answer
select * from clerical_answer where tenant_id = $1 and answer_id = $2 for update

-- name: last_answer
select max(answer_id) from clerical_answer where tenant_id = $1 and made_by = $2 and undone_at is null

-- name: undo_answer
update clerical_answer set undone_by = $3, undone_at = $4 where tenant_id = $1 and answer_id = $2

-- name: answers
-- With the records as they are now, where they still are.
select a.*, l.record_id as left_record, r.record_id as right_record, ls.name as left_name, rs.name as right_name
from clerical_answer a
join source ls on ls.tenant_id = $1 and ls.source_id = a.left_source
join source rs on rs.tenant_id = $1 and rs.source_id = a.right_source
left join record l on l.tenant_id = $1 and l.source_id = a.left_source and l.external_key = a.left_key
left join record r on r.tenant_id = $1 and r.source_id = a.right_source and r.external_key = a.right_key
where a.tenant_id = $1 and a.undone_at is null
order by a.answer_id

-- name: trained_with_answers
-- The newest version that learned from answers, with what they changed.
select version, state, (report -> 'labels')::text as labels from identity_model
where tenant_id = $1 and report ? 'labels' order by model_id desc limit 1

-- --- guards ------------------------------------------------------------------------------------------------------

-- name: busiest_keys
-- The keys of the most records.
select key, count(*) as records from record_key where tenant_id = $1 and octet_length(key) = 16
group by key having count(*) > $2 order by count(*) desc, key limit $3
