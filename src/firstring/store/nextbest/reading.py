"""What an action outside a contact is chosen by: the person's situation, read at once, and everyone whose it may be.

It may concern everyone who carries an identifier of the record that the event came in with (a shared computer, a family's
number): their open issues lock sales as the person's own do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from firstring import limits
from firstring.contact import Assurance, Candidate, Channel, Journey, RecordRead, Resolution, StepUp, Touch, TouchRead
from firstring.identity.golden.rules import Rules
from firstring.identity.golden.survivorship import profile
from firstring.journey.consents import Consents, consents_of
from firstring.journey.experience import experience
from firstring.journey.summary import summary
from firstring.journey.timeline import journey
from firstring.journey.traits import traits_of
from firstring.nextbest.actions import Action
from firstring.nextbest.agreed import PURPOSES, by_route, stated_in
from firstring.nextbest.holdout import held_out
from firstring.nextbest.hours import zone_of
from firstring.nextbest.incontact import remembered
from firstring.nextbest.moment import Before, Moment, Shown
from firstring.nextbest.offers.interest import interests
from firstring.nextbest.reach import country_of, routes_of, zones_of
from firstring.nextbest.situation import NO_STEP_UP
from firstring.store.database import Connection, Tenant
from firstring.store.journey.profiles import opened_touches
from firstring.store.nextbest.policies import InForce, holdout_key
from firstring.store.queries import sql
from firstring.store.ring import record_read
from firstring.store.touches import touches_of

COULD_BE: Final = 1e-9
"""The probability of everyone else whose it may be: little, and never nothing."""
_TOUCHES_SHOWN: Final = 60
_MODEL: Final = "addressed"


class Seen(NamedTuple):
    """A person's situation. own: all their records. touches: theirs, the newest first. zone: their time zone, as told by
    their browser. patterns: that fired in the last ACTION_PATTERNS_DAYS, and still hold."""

    person_id: int
    record_id: int
    own: tuple[int, ...]
    journeys: tuple[Journey, ...]
    resolution: Resolution
    assurances: tuple[Assurance, ...]
    channel: Channel
    consents: Consents
    touches: tuple[TouchRead, ...]
    zone: str | None
    agents: dict[str, int]
    patterns: tuple[str, ...]


async def read_situation(
    connection: Connection, tenant: Tenant, record_id: int, *, now: datetime, rules: Rules
) -> Seen | None:
    """The situation of the person who has a record now; None where the record is gone."""
    row = await connection.fetchrow(
        sql("actions", "situation"), tenant.tenant_id, record_id, limits.HOT_KEY_RECORDS, limits.CANDIDATES,
        limits.RECORDS_PER_CANDIDATE, limits.ACTION_TOUCHES_PER_RECORD, limits.ISSUE_EVENTS_PER_PERSON,
        now + timedelta(seconds=limits.EVENT_AHEAD_S), limits.PROFILE_EVENTS, limits.PROFILE_FACETS,
        limits.ISSUE_EVENTS_PER_PERSON + 1, now - timedelta(days=limits.ACTION_PATTERNS_DAYS),
    )  # fmt: skip
    if row is None:
        return None
    keys = tenant.keys
    touches, issues_cut = touches_of(keys, row["touches"] or (), row["issues"] or ())
    records = [record_read(keys, found, {}) for found in row["records"] or ()]
    own = tuple(sorted(row["own"] or ()))
    person_id = next(record.person_id for record in records if record.record_id in own)
    own_records = [record for record in records if record.person_id == person_id and not record.enriched]
    people = sorted({record.person_id for record in records} - {person_id})
    mine, zone, signals = opened_touches(tenant, person_id, row["opened"] or ())
    mine.sort(key=lambda touch: (touch.occurred_at, touch.event_id), reverse=True)
    touches = (*mine, *(touch for touch in touches if touch.person_id != person_id))
    return Seen(
        person_id,
        record_id,
        own,
        _journeys(person_id, people, touches, issues_cut, now),
        _resolution(person_id, people, records, row["candidates_cut"] or 0, now, rules),
        (Assurance(person_id, 0.0, "prior", "addressed", StepUp(NO_STEP_UP, ""), _MODEL),),
        _channel(mine),
        consents_of([*mine, *signals], stated_in(own_records)),
        tuple(mine),
        zone,
        {} if row["agents"] is None else msgspec.json.decode(row["agents"]),
        tuple(row["patterns"] or ()),
    )


async def moment_of(
    connection: Connection,
    tenant: Tenant,
    seen: Seen,
    force: InForce,
    base: Moment,
    actions: Sequence[Action],
    now: datetime,
) -> Moment:
    """`base` (why an action is looked for, chance) with all that is known of the person, for these actions."""
    best = seen.resolution.best
    assert best is not None
    policy = force.catalogue.policy
    zones = (seen.zone,) if seen.zone is not None else zones_of(best.profile)
    own_zone = zone_of(zones[0]) if len(zones) == 1 else None
    offers: dict[str, Shown] = {}
    wanted = [action.offers for action in actions if action.offers is not None]
    if wanted:
        of_interest = interests(seen.touches)
        for one in wanted:
            offers |= {offer.offer_id: offer for offer in force.shop.ranked(of_interest, now, one.most, one.category)}
    return msgspec.structs.replace(
        base,
        patterns=seen.patterns,
        traits=traits_of(seen.touches, now, zone=own_zone).as_dict(),
        consents=by_route(seen.consents, PURPOSES | {action.consented_for for action in force.catalogue.actions}),
        experience=experience(seen.touches, now).score,
        before=await _before(connection, tenant, seen, actions, force, now),
        agents=seen.agents,
        routes=routes_of(best.profile, seen.touches, now),
        zones=zones or (policy.zone,),
        country=country_of(best.profile),
        language=best.profile.get("language") or best.profile.get("locale"),
        held_out=held_out(seen.own, holdout_key(tenant), policy.holdout) if force.loaded else False,
        offers=tuple(sorted(offers.values(), key=lambda offer: (-offer.score, offer.offer_id))),
    )


async def _before(
    connection: Connection, tenant: Tenant, seen: Seen, actions: Sequence[Action], force: InForce, now: datetime
) -> tuple[Before, ...]:
    """What went out to the person before, as far back as the caps look."""
    since = remembered(force.catalogue, actions, now)
    if since is None:
        return ()
    rows = await connection.fetch(
        sql("actions", "decided_before"), tenant.tenant_id, list(seen.own), since, limits.ACTIONS_REMEMBERED
    )
    return tuple(Before(row["action"], row["route"], row["kind"], row["decided_at"]) for row in rows)


def _journeys(
    person_id: int, others: Sequence[int], touches: Sequence[TouchRead], issues_cut: Sequence[int], now: datetime
) -> tuple[Journey, ...]:
    found = []
    for one in (person_id, *others):
        of_person = [touch for touch in touches if touch.person_id == one]
        made = journey(one, of_person, now=now, issues_cut=one in issues_cut)
        if one == person_id:
            shown = tuple(
                Touch(t.event_id, t.channel, t.name, t.occurred_at, summary(t.name, t.properties), one)
                for t in of_person[:_TOUCHES_SHOWN]
            )
            made = msgspec.structs.replace(made, touches=shown)
        else:  # of others only what locks is kept
            made = Journey(one, (), made.open_issues)
        found.append(made)
    return tuple(found)


def _resolution(
    person_id: int, others: Sequence[int], records: Sequence[RecordRead], cut: int, now: datetime, rules: Rules
) -> Resolution:
    mine = [record for record in records if record.person_id == person_id]
    candidates = [Candidate(person_id, 1.0 - COULD_BE * (len(others) + 1), profile=profile(mine, now=now, rules=rules))]
    candidates += [Candidate(other, COULD_BE) for other in others]
    if cut:  # more people than were read: nobody can say that nothing of them is open
        candidates.append(Candidate(0, COULD_BE))
    return Resolution(tuple(candidates), COULD_BE if not cut else 0.0, 0.0, "prior", _MODEL)


def _channel(touches: Sequence[TouchRead]) -> Channel:
    """The channel of the newest touch that has one of a contact's names."""
    for touch in touches:
        if touch.channel in ("voice", "chat", "email", "web", "messaging", "social", "mobile"):
            return touch.channel  # type: ignore[return-value]
    return "web"
