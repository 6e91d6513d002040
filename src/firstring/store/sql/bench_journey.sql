-- A journey store at size, made set-wise for `firstring bench journey --profile`. As superuser.

-- name: pools
create temporary table pool_record (n int primary key, wrapped_key bytea, sealed bytea, keys bytea[]);
create temporary table pool_event (n int primary key, channel text, facet smallint, issue_kind text, issue_effect smallint,
                                   wrapped_key bytea, sealed bytea)

-- name: indexes
select indexdef from pg_indexes where schemaname = 'firstring' and tablename = 'event' and indexname <> 'event_pkey'

-- name: drop_indexes
do $$
declare name text;
begin
  for name in select indexname from pg_indexes
              where schemaname = 'firstring' and tablename = 'event' and indexname <> 'event_pkey' loop
    execute format('drop index firstring.%I', name);
  end loop;
end $$

-- name: persons
-- Three persons in four have one record, the fourth has two.
with made as (
  insert into person (tenant_id, created_at) select $1, now() - interval '3 years' from generate_series(1, $2::int)
  returning person_id
)
insert into record (tenant_id, source_id, external_key, content_key, person_id, keys, link_keys, wrapped_key, sealed,
                    last_seen, created_at, updated_at)
select $1, $3, decode(md5('r' || m.person_id || '/' || c.copy), 'hex'), decode(md5('c' || m.person_id), 'hex'), m.person_id,
       p.keys, '{}', p.wrapped_key, p.sealed, now() - interval '1 day', now() - interval '3 years', now()
from made m
cross join lateral generate_series(0, (m.person_id % 4 = 0)::int) as c(copy)
join pool_record p on p.n = (m.person_id + c.copy) % $4::int

-- name: record_keys
-- Of the many records of one pooled content a few carry its identifiers, as a household would.
insert into record_key (tenant_id, key, record_id)
select $1, k.key, r.record_id
from (select record_id, keys, row_number() over (partition by keys order by record_id) as nth from record
      where tenant_id = $1) r
cross join lateral unnest(r.keys) as k(key)
where r.nth <= 3

-- name: record_ids
select min(record_id) as low, max(record_id) as high, min(person_id) as first, max(person_id) as last from record
where tenant_id = $1

-- name: events
-- Events in the order of their arrival: each of any record, a few records have most of them.
insert into event (tenant_id, message_key, record_id, channel, occurred_at, received_at, issue_kind, issue_effect, standing,
                   facet, visitor, mark, wrapped_key, sealed)
select $1, decode(md5('m' || e.n), 'hex'), e.record_id, p.channel, e.at, e.at, p.issue_kind, p.issue_effect,
       (e.dice < 0.7)::int, p.facet, case when e.dice between 0.3 and 0.7 then decode(md5('v' || e.record_id), 'hex') end,
       (e.dice between 0.3 and 0.7)::int, p.wrapped_key, p.sealed
from (
  select n, $4::bigint + floor(power(random(), 2) * ($5::bigint - $4::bigint + 1))::bigint as record_id,
         now() - interval '2 years' * (1 - n / $6::float8) as at, random() as dice, floor(random() * $7::int)::int as pooled
  from generate_series($2::bigint, $3::bigint) as n
) e
join pool_event p on p.n = e.pooled

-- name: sizes
select pg_total_relation_size('firstring.event') as event_bytes, (select count(*) from record) as records

-- name: busiest
select r.person_id, count(*) as events from event e join record r using (tenant_id, record_id)
where e.tenant_id = $1 and e.record_id < $2 group by r.person_id order by 2 desc limit 5
