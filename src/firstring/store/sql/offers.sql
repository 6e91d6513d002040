-- The catalogue of offers and the model of what goes together.

-- name: any
select exists (select from offer where tenant_id = $1)

-- name: forget_others
with gone as (
  delete from offer where tenant_id = $1 and not offer_id = any ($2::text[]) returning 1
)
select count(*) from gone

-- name: put
insert into offer (tenant_id, loaded_at, offer_id, title, price, currency, category, url, image, products, available,
                   starts_at, ends_at)
select $1, $2, o.offer_id, o.title, o.price, o.currency, o.category, o.url, o.image, string_to_array(o.products, ';'),
       o.available, o.starts_at, o.ends_at
from unnest($3::text[], $4::text[], $5::float8[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bool[],
            $12::timestamptz[], $13::timestamptz[])
  as o(offer_id, title, price, currency, category, url, image, products, available, starts_at, ends_at)
on conflict (tenant_id, offer_id) do update
set title = excluded.title, price = excluded.price, currency = excluded.currency, category = excluded.category,
    url = excluded.url, image = excluded.image, products = excluded.products, available = excluded.available,
    starts_at = excluded.starts_at, ends_at = excluded.ends_at, loaded_at = excluded.loaded_at

-- name: forget_rejected
delete from offer_rejected where tenant_id = $1 and file = $2

-- name: reject
insert into offer_rejected (tenant_id, file, rejected_at, row_number, code, message, line)
select $1, $2, $3, r.number, r.code, r.message, r.line
from unnest($4::bigint[], $5::text[], $6::text[], $7::text[]) as r(number, code, message, line)

-- name: rejected
select file, row_number, code, message, line from offer_rejected where tenant_id = $1 order by file, row_number limit $2

-- name: available
select offer_id, title, price, currency, category, url, image, products, starts_at, ends_at from offer
where tenant_id = $1 and available order by offer_id

-- name: counts
select count(*) as offers, count(*) filter (where available) as available, max(loaded_at) as loaded_at,
       (select count(*) from offer_rejected where tenant_id = $1) as rejected,
       (select people from offer_model where tenant_id = $1) as people,
       (select made_at from offer_model where tenant_id = $1) as made_at
from offer where tenant_id = $1

-- name: model
select model from offer_model where tenant_id = $1

-- name: put_model
insert into offer_model (tenant_id, model, people, made_at) values ($1, $2, $3, $4)
on conflict (tenant_id) do update set model = excluded.model, people = excluded.people, made_at = excluded.made_at

-- name: events_before
select e.event_id, e.record_id, r.person_id, e.channel, e.occurred_at, e.wrapped_key, e.sealed
from event e join record r on r.tenant_id = $1 and r.record_id = e.record_id
where e.tenant_id = $1 and e.event_id < $2
order by e.event_id desc limit $3
