"""The moment of a contact: what actions are gated and asked by while it rings, out of what was read. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from firstring.contact import Contact, Read, Resolution, TouchRead
from firstring.journey.consents import consents_of
from firstring.journey.experience import experience
from firstring.journey.traits import traits_of
from firstring.nextbest.actions import Action, Catalogue
from firstring.nextbest.agreed import by_route, stated_in
from firstring.nextbest.hours import zone_of
from firstring.nextbest.moment import Before, Moment
from firstring.nextbest.reach import country_of, zones_of

_COMPUTED: Final = frozenset(("traits", "experience"))


class Asks(NamedTuple):
    """What a decision reads beside who it may be. since: from when on what went out counts for caps; None: there are none.
    everyone: actions with a cap of everyone together. history: whether what traits are computed from is read."""

    now: datetime
    since: datetime | None
    everyone: tuple[str, ...]
    history: bool


def remembered(catalogue: Catalogue, actions: Iterable[Action], now: datetime) -> datetime | None:
    """Since when what went out counts for the caps of these actions; None where they have none."""
    caps = [cap.per_ms for action in actions for cap in action.caps]
    caps += [cap.per_ms for _, _, cap in catalogue.policy.caps]
    return now - timedelta(milliseconds=max(caps)) if caps else None


def asks_of(catalogue: Catalogue, now: datetime) -> Asks:
    """What the actions in contacts need to be read."""
    actions = catalogue.in_contact
    braked = [action.name for action in actions if any(cap.of == "everyone" for cap in catalogue.plans[action.name].caps)]
    return Asks(now, remembered(catalogue, actions, now), tuple(braked), any(action.asks & _COMPUTED for action in actions))


def moment_in(
    contact: Contact,
    read: Read,
    resolution: Resolution,
    catalogue: Catalogue,
    now: datetime,
    *,
    threshold: float,
    agents: int = 0,
    held_out: bool = False,
    draws: tuple[float, ...] = (),
) -> Moment:
    """Of the person who is identified; where nobody is, nothing of anybody. agents: who could take this contact."""
    at = Moment(
        agents={contact.channel: agents} if agents else {}, held_out=held_out, draws=draws, language=contact.language,
        everyone=read.everyone, zones=(catalogue.policy.zone,),
    )  # fmt: skip
    best = resolution.best
    if best is None or best.probability < threshold:
        return at
    person_id = best.person_id
    purposes = {action.consented_for for action in catalogue.in_contact}
    records = [record for record in read.records if record.person_id == person_id]
    said = consents_of(_of(read.consent_words, person_id), stated_in(records))
    zones = zones_of(best.profile)
    history = _of(read.history, person_id)
    traits: dict[str, Any] = {}
    score: float | None = None
    if history:
        seen = {touch.event_id: touch for touch in (*history, *_of(read.touches, person_id))}
        newest = sorted(seen.values(), key=lambda one: (one.occurred_at, one.event_id), reverse=True)
        traits = traits_of(newest, now, zone=zone_of(zones[0]) if len(zones) == 1 else None).as_dict()
        score = experience(newest, now).score
    return Moment(
        agents=at.agents, held_out=held_out, draws=draws, language=contact.language, everyone=read.everyone,
        consents=by_route(said, purposes, desk=contact.channel),
        patterns=read.fired.get(person_id, ()),
        traits=traits,
        experience=score,
        before=tuple(Before(one.action, one.route, one.kind, one.at) for one in read.went_out if one.person_id == person_id),
        zones=zones or at.zones,
        country=country_of(best.profile),
    )  # fmt: skip


def _of(touches: Iterable[TouchRead], person_id: int) -> list[TouchRead]:
    return [touch for touch in touches if touch.person_id == person_id]
