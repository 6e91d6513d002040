"""One decision about an action outside a contact: what it was derived from, what was chosen, what is to be delivered."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from firstring.contact import Assurance, Channel, Journey, NextAction, Resolution, Value
from firstring.nextbest.actions import Action, Catalogue
from firstring.nextbest.arbitrate import NONE, choose
from firstring.nextbest.delivery import Delivery
from firstring.nextbest.gates import offers_of
from firstring.nextbest.hours import opens
from firstring.nextbest.learning.posterior import Learned
from firstring.nextbest.moment import Moment, Shown
from firstring.nextbest.situation import situation, words
from firstring.nextbest.wording import filled

Outcome = Literal["acted", "held_out", "none"]
OF_THE_HOUR: Final = frozenset(("quiet_hours", "legal_hours"))
SETTLES_AFTER: Final = timedelta(hours=1)
"""How long after an action has expired it is looked what came of it, where it has no goal."""


class Decided(Value, frozen=True):
    """A decision. With the policy and what was learned of the versions that `chosen` names it is derived again (`again`).

    acted: the action goes out; held_out: the chosen offer is withheld, to show what happens by itself; none: every action
    was gated. action: what goes out or is withheld, else "none".
    """

    decision_id: uuid.UUID
    person_id: int
    record_id: int
    at: datetime
    channel: Channel
    journeys: tuple[Journey, ...]
    resolution: Resolution
    assurances: tuple[Assurance, ...]
    moment: Moment
    chosen: NextAction
    outcome: Outcome
    action: str
    propensity: float
    content: dict[str, Any]


def decide(
    decision_id: uuid.UUID,
    record_id: int,
    seen: tuple[tuple[Journey, ...], Resolution, tuple[Assurance, ...], Channel],
    moment: Moment,
    actions: Catalogue,
    learned: Learned,
    now: datetime,
) -> Decided:
    """Chooses. Pure."""
    journeys, resolution, assurances, channel = seen
    chosen = choose(
        journeys, resolution, assurances, channel=channel, now=now, actions=actions, moment=moment, learned=learned
    )
    best = resolution.best
    assert best is not None, "it is about somebody"
    outcome: Outcome = "acted"
    name, propensity = chosen.action, chosen.propensity
    if chosen.withheld:
        outcome, name, propensity = "held_out", chosen.withheld, chosen.withheld_propensity
    elif chosen.action == NONE:
        outcome = "none"
    content: dict[str, Any] = {}
    if outcome == "acted":
        at = situation(journeys, resolution, assurances, channel=channel, now=now, moment=moment)
        touch = actions.by_name[name].applies(at).touch
        content = content_of(actions.by_name[name], moment, {**words(at), "touch": touch})
    return Decided(
        decision_id, best.person_id, record_id, now, channel, journeys, resolution, assurances, moment, chosen, outcome,
        name, propensity, content,
    )  # fmt: skip


def again(decided: Decided, actions: Catalogue, learned: Learned) -> Decided:
    """The same decision derived again from what it was derived from."""
    seen = (decided.journeys, decided.resolution, decided.assurances, decided.channel)
    return decide(decided.decision_id, decided.record_id, seen, decided.moment, actions, learned, decided.at)


def content_of(action: Action, moment: Moment, said: Mapping[str, str]) -> dict[str, Any]:
    """What the action shows, in the person's language or the fallback, its words filled in, its offers as items."""
    language, texts = action.content.best_of(moment.language)
    offers = offers_of(action, moment)
    known = dict(said)
    if offers:
        first = offers[0]
        known |= {"offer": first.title, "price": _price(first), "offer_url": first.url}
    found: dict[str, Any] = {name: filled(text, known) for name, text in texts.items()}
    found |= {"form": action.form, "language": language}
    if action.text:
        found["agent_text"] = filled(action.text, known)
    if offers:
        found["items"] = [
            {"offer_id": o.offer_id, "title": o.title, "text": _price(o), "url": o.url, "image": o.image, "price": o.price}
            for o in offers
        ]
        if offers[0].url and "url" not in found:
            found["url"] = offers[0].url
    return found


def delivery_of(decided: Decided, actions: Catalogue, delivery_id: uuid.UUID) -> Delivery:
    """What passes to the channels."""
    action = actions.by_name[decided.action]
    return Delivery(
        delivery_id=delivery_id,
        decision_id=decided.decision_id,
        person_id=decided.person_id,
        record_id=decided.record_id,
        route=action.route,
        action=action.name,
        kind=action.kind,
        content=decided.content,
        not_before=decided.at,
        expires_at=decided.at + timedelta(milliseconds=action.expires_ms),
    )


def settles_at(decided: Decided, actions: Catalogue) -> datetime | None:
    """When it is looked what came of it; None where nothing is learned of it: of people held out only a goal tells."""
    if decided.outcome == "none":
        return None
    action = actions.by_name[decided.action]
    if action.goal is not None:
        return decided.at + timedelta(milliseconds=action.goal.within_ms)
    return None if decided.outcome == "held_out" else decided.at + timedelta(milliseconds=action.expires_ms) + SETTLES_AFTER


def waits_until(decided: Decided, actions: Catalogue) -> datetime | None:
    """When it is to be decided again, where all that stands against an action is the hour; None where that would be too
    late, or where nothing waits for an hour."""
    moment = decided.moment
    if decided.outcome != "none" or moment.fired_at is None:
        return None
    found: list[datetime] = []
    for one in decided.chosen.considered:
        if not one.gated_by or any(reason.code not in OF_THE_HOUR for reason in one.gated_by):
            continue
        plan = actions.plans[one.action]
        at = opens(plan.hours, decided.at, moment.zones, moment.country)
        if at is not None and at - moment.fired_at <= plan.good_for:
            found.append(at)
    return min(found, default=None)


def _price(offer: Shown) -> str:
    return "" if offer.price is None else f"{offer.price:.2f} {offer.currency}".strip()
