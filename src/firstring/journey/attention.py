"""Who of several people has a reason to be in contact just now: a prior for identity, out of the events that were read.

Some people call more than others, and most call because of something, soon after it. A sign multiplies how often a person
calls, the less the older it is; of signs of one sort the strongest counts, so that repeats change nothing. QUIET is what
a person without any sign has left of the average. The figures are named priors, not fitted. They are bounded (MOST): the
journey shifts between people to whom something else points, it never finds anybody.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from firstring import limits
from firstring.contact import ContactPrior, TouchRead
from firstring.journey.issues import open_issues
from firstring.journey.names import WORDS_READ
from firstring.journey.reasons import EVENT_PRIORS, ISSUE_PRIORS, Prior, explains
from firstring.journey.summary import plain
from firstring.journey.words.textmodel import Heard


class Sign(NamedTuple):
    """factor: how much oftener they call just after it, beyond their habit. It falls as (1 + age / scale_s)^-FADES."""

    factor: float
    scale_s: float


VISITS: Final[Mapping[str, Sign]] = {
    "web": Sign(150.0, 600.0),
    "mobile": Sign(150.0, 600.0),
    "chat": Sign(60.0, 900.0),
    "voice": Sign(20.0, 1_800.0),
}
"""Being there a moment ago, by channel. Judgement: 1 caller in 5 was on the site within ten minutes, anybody else 1 in
1,000; who was cut off calls again."""
FADES: Final = 1.5
"""The times between what people do one after the other have a heavy tail (Barabasi 2005): no half-life fits it."""
QUIET: Final = 0.8
"""Judgement: two calls in ten have a reason that is on file."""
IN_TOUCH_A_YEAR: Final = 2.0
"""Visits, chats and calls of an average customer, of those that are on file."""
IN_TOUCH_PRIOR: Final = 2.0
"""How many of them an estimate of one's own pace starts with (gamma-Poisson)."""
IN_TOUCH_POWER: Final = 0.5
"""Judgement: who is in touch four times as often calls twice as often."""
YEAR_S: Final = 365.25 * 86_400.0
MOST: Final = 4.0
"""Nats. The journey alone never makes one of two people likelier than .98 to .02."""
MOST_CLAIMED: Final = 2.5
"""Nats. What came with a public write key, so that anybody may have sent it, makes nobody likelier or less likely by more
than that."""
TELLING: Final = 0.7
"""Nats from which on the words are the reason that is shown."""
VERSION: Final = (
    "attention-"
    + hashlib.sha256(
        repr((VISITS, FADES, QUIET, MOST, MOST_CLAIMED, IN_TOUCH_A_YEAR, IN_TOUCH_PRIOR, IN_TOUCH_POWER)).encode()
    ).hexdigest()[:12]
)
_ORDERS: Final = frozenset(("Order Completed", "Order Shipped", "Order Delivered"))


def contact_priors(
    persons: Iterable[int], touches: Iterable[TouchRead], *, now: datetime, heard: Heard | None = None
) -> dict[int, ContactPrior]:
    """A prior for each of the persons; none where nothing is on file of any of them: no events are no sign of quiet.

    A function of the set of events: neither their order nor duplicates matter. Events to come count as just now. heard:
    what a text model made of their words.
    """
    by_person: dict[int, list[TouchRead]] = {person: [] for person in persons}
    for touch in touches:
        if touch.person_id in by_person and touch.name != WORDS_READ:
            by_person[touch.person_id].append(touch)
    if not any(by_person.values()):
        return {}
    return {person: _heard(_bounded(own, now), own, now, heard) for person, own in by_person.items()}


def _heard(prior: ContactPrior, touches: Sequence[TouchRead], now: datetime, heard: Heard | None) -> ContactPrior:
    """The prior, and whether what they say is what this person would say. Claims explain nobody's words."""
    if heard is None:
        return prior
    own = [touch for touch in touches if not touch.claimed]
    nats = explains(open_issues(own), own, now=now, heard=heard)
    if nats == 0.0:
        return prior
    text = "what they say is their matter" if nats > TELLING else prior.text
    return ContactPrior(max(-MOST, min(MOST, prior.log_odds + nats)), text, prior.facts)


def _bounded(touches: Sequence[TouchRead], now: datetime) -> ContactPrior:
    """The prior, which claims shift by no more than MOST_CLAIMED, up or down, and of whose facts they give none."""
    prior = _prior(touches, now)
    if not any(touch.claimed for touch in touches):
        return prior
    known = _prior([touch for touch in touches if not touch.claimed], now)
    shifted = max(known.log_odds - MOST_CLAIMED, min(prior.log_odds, known.log_odds + MOST_CLAIMED))
    return ContactPrior(shifted, prior.text, known.facts)


def _prior(touches: Iterable[TouchRead], now: datetime) -> ContactPrior:
    own = sorted(touches, key=lambda touch: (touch.occurred_at, touch.event_id), reverse=True)
    strongest: dict[str, tuple[float, str]] = {}
    for touch in own:
        age_s = max(0.0, (now - touch.occurred_at).total_seconds())
        if touch.channel in VISITS:
            sign = VISITS[touch.channel]
            weight = sign.factor * math.pow(1.0 + age_s / sign.scale_s, -FADES)
            _keep(strongest, "visit", weight, f"{_WAS_THERE[touch.channel]} {_ago(age_s)} ago")
        if touch.name in EVENT_PRIORS:
            prior = EVENT_PRIORS[touch.name]
            if not any(later.name in prior.ended_by for later in own if later.occurred_at >= touch.occurred_at):
                weight = _faded(prior, age_s)
                _keep(strongest, prior.intent, weight, f"{touch.name} {_ago(age_s)} ago")
    if any(touch.issue_effect for touch in own):
        for issue in open_issues(own):
            prior = ISSUE_PRIORS.get(issue.kind, ISSUE_PRIORS["issue"])
            age_s = max(0.0, (now - issue.opened_at).total_seconds())
            weight = _faded(prior, age_s)
            _keep(strongest, prior.intent, weight, f"an open {issue.kind}")
    factor = math.pow(_pace(own, now), IN_TOUCH_POWER) * (QUIET + math.fsum(weight for weight, _ in strongest.values()))
    _, text = max(strongest.values(), default=(0.0, ""))
    orders = (plain(touch.properties.get("order_id")) for touch in own if touch.name in _ORDERS and touch.properties)
    order = next((one.lstrip("#") for one in orders if one), "")
    return ContactPrior(
        max(-MOST, min(MOST, math.log(factor))),
        text if factor > 1.0 and text else "no reason to call is on file",
        {"last_order": order} if order else {},
    )


def _faded(prior: Prior, age_s: float) -> float:
    return prior.weight * math.exp2(-min(age_s / prior.half_life_s, 1_000.0))


def _pace(own: Sequence[TouchRead], now: datetime) -> float:
    """How often the person is in touch beside the average, by what was read of them: at most the newest few of a record.

    So many contacts since the oldest of them; where few were read, within the last year at the least.
    """
    made = [touch.occurred_at for touch in own if touch.channel in VISITS]
    since_s = max(0.0, (now - min(made)).total_seconds()) if made else 0.0
    years = (since_s if len(made) >= limits.TOUCHES_PER_RECORD else max(since_s, YEAR_S)) / YEAR_S
    return (IN_TOUCH_PRIOR + len(made)) / (IN_TOUCH_PRIOR + IN_TOUCH_A_YEAR * years)


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
