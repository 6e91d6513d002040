"""Who of several people has a reason to be in contact just now: a prior for identity, out of the events that were read.

People call because of something, and mostly soon after it. A sign multiplies how often a person calls: by its factor at
the moment it happens, halved every half-life. Of signs of one sort the strongest counts, so that repeats and duplicates
change nothing. `quiet` is what a person without any sign has left of the average. The factors are named priors, not
fitted. They are bounded (MOST): the journey shifts between people to whom something else points, it never finds anybody.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from firstring.contact import ContactPrior, TouchRead
from firstring.journey.issues import open_issues
from firstring.journey.reasons import EVENT_PRIORS, ISSUE_PRIORS
from firstring.journey.summary import plain


class Sign(NamedTuple):
    """factor: how much oftener they call just after it, beyond their habit; it halves every half_life_s."""

    factor: float
    half_life_s: float


VISITS: Final[Mapping[str, Sign]] = {
    "web": Sign(150.0, 240.0),
    "mobile": Sign(150.0, 240.0),
    "chat": Sign(60.0, 900.0),
    "voice": Sign(20.0, 1_800.0),
}
"""Being there a moment ago, by channel. Judgement: 1 caller in 5 was on the site within ten minutes, anybody else 1 in
1,000; who was cut off calls again."""
QUIET: Final = 0.7
"""Judgement: three calls in ten have a reason that is on file."""
MOST: Final = 4.0
"""Nats. The journey alone never makes one of two people likelier than .98 to .02."""
VERSION: Final = "attention-" + hashlib.sha256(repr((VISITS, QUIET, MOST)).encode()).hexdigest()[:12]
_ORDERS: Final = frozenset(("Order Completed", "Order Shipped", "Order Delivered"))


def contact_priors(persons: Iterable[int], touches: Iterable[TouchRead], *, now: datetime) -> dict[int, ContactPrior]:
    """A prior for each of the persons.

    A function of the set of events: neither their order nor duplicates matter. Events to come count as just now.
    """
    by_person: dict[int, list[TouchRead]] = {person: [] for person in persons}
    for touch in touches:
        if touch.person_id in by_person:
            by_person[touch.person_id].append(touch)
    return {person: _prior(own, now) for person, own in by_person.items()}


def _prior(touches: Iterable[TouchRead], now: datetime) -> ContactPrior:
    own = sorted(touches, key=lambda touch: (touch.occurred_at, touch.event_id), reverse=True)
    strongest: dict[str, tuple[float, str]] = {}
    for touch in own:
        age_s = max(0.0, (now - touch.occurred_at).total_seconds())
        if touch.channel in VISITS:
            sign = VISITS[touch.channel]
            _keep(strongest, "visit", _faded(sign, age_s), f"{_WAS_THERE[touch.channel]} {_ago(age_s)} ago")
        if touch.name in EVENT_PRIORS:
            prior = EVENT_PRIORS[touch.name]
            if not any(later.name in prior.ended_by for later in own if later.occurred_at >= touch.occurred_at):
                weight = _faded(Sign(prior.weight, prior.half_life_s), age_s)
                _keep(strongest, prior.intent, weight, f"{touch.name} {_ago(age_s)} ago")
    if any(touch.issue_effect for touch in own):
        for issue in open_issues(own):
            prior = ISSUE_PRIORS.get(issue.kind, ISSUE_PRIORS["issue"])
            age_s = max(0.0, (now - issue.opened_at).total_seconds())
            weight = _faded(Sign(prior.weight, prior.half_life_s), age_s)
            _keep(strongest, prior.intent, weight, f"an open {issue.kind}")
    factor = QUIET + math.fsum(weight for weight, _ in strongest.values())
    _, text = max(strongest.values(), default=(0.0, ""))
    orders = (plain(touch.properties.get("order_id")) for touch in own if touch.name in _ORDERS and touch.properties)
    order = next((one.lstrip("#") for one in orders if one), "")
    return ContactPrior(
        min(MOST, math.log(factor)),
        text if factor > 1.0 and text else "no reason to call is on file",
        {"last_order": order} if order else {},
    )


def _faded(sign: Sign, age_s: float) -> float:
    return sign.factor * math.exp2(-min(age_s / sign.half_life_s, 1_000.0))


def _keep(strongest: dict[str, tuple[float, str]], sort: str, weight: float, text: str) -> None:
    if sort not in strongest or (weight, text) > strongest[sort]:
        strongest[sort] = weight, text


_WAS_THERE: Final = {"web": "on the site", "mobile": "in the app", "chat": "in the chat", "voice": "called"}


def _ago(age_s: float) -> str:
    for unit_s, unit in ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute")):
        if age_s >= unit_s:
            count = int(age_s / unit_s)
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return "less than a minute"
