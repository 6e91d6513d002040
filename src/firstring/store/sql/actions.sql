-- The next best action: policies, situations, decisions, what was learned, offers.

-- name: active_policy
select version, texts from action_policy where tenant_id = $1 and active

-- name: policy_named
select version, texts from action_policy where tenant_id = $1 and version = $2

-- name: policies
select version, actions, loaded_by, loaded_at, active from action_policy where tenant_id = $1 order by loaded_at desc limit $2

-- name: retire_policies
update action_policy set active = false where tenant_id = $1 and active and version <> $2

-- name: add_policy
insert into action_policy (tenant_id, version, texts, actions, loaded_by, loaded_at, active)
values ($1, $2, $3, $4, $5, $6, true)
on conflict (tenant_id, version) do update
set active = true, texts = excluded.texts, loaded_by = excluded.loaded_by, loaded_at = excluded.loaded_at

-- name: tell
select tell($1, 'actions', null, null, $2)

-- name: active_learned
select version, learned from action_learned where tenant_id = $1 and active

-- name: learned_named
select version, learned from action_learned where tenant_id = $1 and version = $2

-- name: retire_learned
update action_learned set active = false where tenant_id = $1 and active and version <> $2

-- name: add_learned
insert into action_learned (tenant_id, version, learned, settled, made_at, active) values ($1, $2, $3, $4, $5, true)
on conflict (tenant_id, version) do update set active = true, made_at = excluded.made_at

-- name: owner_locked
-- Whose record it is. One decision at a time for a person, so that caps are kept; records of one person meet in the
-- person's id. What is read after it sees what those before have done.
select r.person_id, pg_advisory_xact_lock(1179796034, hashint8($1::int::bigint * 1000003 + r.person_id))::text
from record r where r.tenant_id = $1 and r.record_id = $2

-- name: claim_and_lock
-- claim_fired of patterns for one firing, and owner_locked for its record, in one round trip. Nothing where somebody decided
-- about it, or it holds no more; no person where the record is gone.
with claimed as (
  update pattern_fired set acted_at = $3, next_at = null
  where tenant_id = $1 and firing_id = $2 and acted_at is null and retracted_at is null
  returning record_id
)
select r.person_id, pg_advisory_xact_lock(1179796034, hashint8($1::int::bigint * 1000003 + r.person_id))::text
from claimed c left join record r on r.tenant_id = $1 and r.record_id = c.record_id

-- name: owner
select r.person_id from record r where r.tenant_id = $1 and r.record_id = $2

-- name: living
select coalesce(p.merged_into, p.person_id) from person p where p.tenant_id = $1 and p.person_id = $2

-- name: newest_record
select r.record_id from record r where r.tenant_id = $1 and r.person_id = $2
order by r.last_seen desc nulls last, r.record_id limit 1

-- name: situation
-- Who the carriers of a record's identifiers are, with the person's own records, their touches and issues, the events that
-- their profile is computed by (as `opened` of profiles), the patterns that fired since $12; who could answer.
select s.hits, s.records, s.touches, s.issues, s.candidates_cut, o.own, p.opened,
       (select array_agg(distinct f.pattern order by f.pattern) from pattern_fired f
        where f.tenant_id = $1 and f.person_id = r.person_id and f.at > $12 and f.retracted_at is null) as patterns,
       (select jsonb_object_agg(a.channel, a.agents) from (
          select channel, count(distinct agent_id) as agents from agent_place
          where tenant_id = $1 and free_since is not null group by channel) a) as agents
from record r
cross join lateral ring_read($1, r.keys, array[r.person_id], null, $3, $4, $5, $6, $7, 1) s
cross join lateral (
  select array_agg(x.record_id) as own from record x where x.tenant_id = $1 and x.person_id = r.person_id
) o
cross join lateral (
  with part as (
    (select v.event_id from unnest(o.own) as m(record_id) cross join lateral (
       select e.event_id, e.occurred_at from event e
       where e.tenant_id = $1 and e.record_id = m.record_id and e.occurred_at <= $8
       order by e.occurred_at desc, e.event_id desc limit $9) v
     order by v.occurred_at desc, v.event_id desc limit $9)
    union
    (select v.event_id from unnest(o.own) as m(record_id), (values (1, $10::int), (2, $10::int), (3, 1)) as f(facet, most)
     cross join lateral (
       select e.event_id, e.occurred_at from event e
       where e.tenant_id = $1 and e.record_id = m.record_id and e.facet = f.facet and e.occurred_at <= $8
       order by e.occurred_at desc limit f.most) v
     order by v.occurred_at desc, v.event_id desc limit 2 * $10::int)
    union
    (select v.event_id from unnest(o.own) as m(record_id) cross join lateral (
       select e.event_id, e.occurred_at from event e
       where e.tenant_id = $1 and e.record_id = m.record_id and e.issue_kind is not null and e.occurred_at <= $8
       order by e.occurred_at desc limit $11) v
     order by v.occurred_at desc, v.event_id desc limit $11)
  )
  select array_agg(row(e.event_id, e.record_id, e.channel, e.occurred_at, e.standing, e.facet, e.issue_kind, e.issue_effect,
                       e.visitor, e.wrapped_key, e.sealed)::profile_event) as opened
  from part join event e on e.tenant_id = $1 and e.event_id = part.event_id
) p
where r.tenant_id = $1 and r.record_id = $2

-- name: decided_before
select d.action, d.route, d.kind, d.decided_at from action_decision d
where d.tenant_id = $1 and d.record_id = any ($2::bigint[]) and d.outcome = 'acted' and d.decided_at > $3
order by d.decided_at desc limit $4

-- name: brakes
select action, place, begun_at, count from action_brake
where tenant_id = $1 and action = any ($2::text[]) and begun_at <= $3 and ends_at > $3

-- name: brake
-- One more, unless the cap is reached; nothing is returned then.
insert into action_brake as b (tenant_id, action, place, begun_at, ends_at, count) values ($1, $2, $3, $4, $5, 1)
on conflict (tenant_id, action, place, begun_at) do update set count = b.count + 1 where b.count < $6
returning b.count

-- name: forget_brakes
delete from action_brake where tenant_id = $1 and ends_at < $2

-- name: forget_decisions
with old as (
  select d.decision_id from action_decision d
  where d.tenant_id = $1 and d.decided_at < $2 and (d.settles_at is null or d.result is not null)
  order by d.decided_at limit $3
), gone as (
  delete from action_decision d using old where d.tenant_id = $1 and d.decision_id = old.decision_id returning 1
)
select count(*) from gone

-- name: forget_learned
-- What was in force last before then is still named by decisions that are kept.
delete from action_learned l where l.tenant_id = $1 and not l.active and l.made_at < (
  select max(m.made_at) from action_learned m where m.tenant_id = $1 and m.made_at < $2)

-- name: add_decision
insert into action_decision (tenant_id, decision_id, record_id, cause, firing_id, after_ms, action, kind, route, context,
                             outcome, propensity, policy, learned, decided_by, decided_at, settles_at, wrapped_key, sealed)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)

-- name: add_proposed
-- An action that an agent was shown in a contact; nothing where the contact has been counted.
insert into action_decision (tenant_id, decision_id, record_id, cause, after_ms, action, kind, route, context, outcome, propensity,
                             policy, learned, decided_at)
select $1, $2, r.record_id, $4, 0, $5, $6, $7, '', 'acted', 1.0, $8, '', $9 from record r where r.tenant_id = $1 and r.record_id = $3
on conflict do nothing returning decision_id

-- name: decided_of_firing
select decision_id from action_decision where tenant_id = $1 and firing_id = $2 and after_ms = $3

-- name: decision
select d.*, r.person_id from action_decision d
left join record r on r.tenant_id = d.tenant_id and r.record_id = d.record_id
where d.tenant_id = $1 and d.decision_id = $2

-- name: decisions
select d.decision_id, d.record_id, r.person_id, d.cause, d.action, d.kind, d.route, d.outcome, d.propensity, d.result,
       d.decided_at, d.decided_by
from action_decision d left join record r on r.tenant_id = d.tenant_id and r.record_id = d.record_id
where d.tenant_id = $1 and ($2::bigint is null or r.person_id = $2) and ($3::timestamptz is null or d.decided_at < $3)
order by d.decided_at desc, d.decision_id limit $4

-- name: unsettled
select d.decision_id, d.record_id, d.action, d.outcome, d.policy, d.decided_at, d.settles_at, v.state
from action_decision d
left join delivery v on v.tenant_id = d.tenant_id and v.decision_id = d.decision_id
where d.tenant_id = $1 and d.settles_at <= $2 and d.result is null
order by d.settles_at limit $3

-- name: happened_between
-- Events of the person who has a record now.
select e.event_id, e.wrapped_key, e.sealed, e.standing from record mine
join record r on r.tenant_id = $1 and r.person_id = mine.person_id
join event e on e.tenant_id = $1 and e.record_id = r.record_id and e.occurred_at > $3 and e.occurred_at <= $4
where mine.tenant_id = $1 and mine.record_id = $2
limit $5

-- name: settle
update action_decision set result = s.result
from unnest($2::uuid[], $3::text[]) as s(decision_id, result)
where action_decision.tenant_id = $1 and action_decision.decision_id = s.decision_id

-- name: tallies
select action, context, outcome, count(*) as tried, count(*) filter (where result = 'worked') as worked
from action_decision
where tenant_id = $1 and result in ('worked', 'failed') and decided_at > $2
group by action, context, outcome

-- name: reactivate_policy
update action_policy set active = true where tenant_id = $1 and version = $2

-- name: mark
-- Changes whenever anything that is in force does.
select (select version from action_policy where tenant_id = $1 and active) as policy,
       (select version from action_learned where tenant_id = $1 and active) as learned,
       (select max(loaded_at) from offer where tenant_id = $1) as offers,
       (select made_at from offer_model where tenant_id = $1) as model

-- name: firing_holds
select true from pattern_fired where tenant_id = $1 and firing_id = $2 and retracted_at is null

-- name: patterns_on
select pattern from pattern where tenant_id = $1 and is_current and is_on

-- name: outcomes_of
select context, result, wrapped_key, sealed from action_decision
where tenant_id = $1 and action = $2 and outcome = 'acted' and result in ('worked', 'failed') and decided_at > $3
order by decided_at desc limit $4
