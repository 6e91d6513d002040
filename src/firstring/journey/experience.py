"""How it has been for them: a score of 0-100, every point of which has an event behind it.

    score = START + sum of points

A failure, an effort, a word in anger takes points, something that went well gives some, and each fades by its own
half-life. What puts a failure right gives back RECOVERED of what the failure takes at that moment, so that a credit
fades with its cause. Of repeats of one thing within REPEATS_S each counts less than the one before. Where the sum would
leave 0-100, the points of that side are scaled down together, so that it stays a sum. The figures are named priors.
A function of the set of events: neither their order nor duplicates matter; events to come count as just now.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from firstring.contact import TouchRead
from firstring.journey.names import WORDS_READ
from firstring.journey.summary import plain

_D: Final = 86_400.0
START: Final = 75.0
"""The score of whom nothing is known of."""
RECOVERED: Final = 0.6
"""Of what a failure takes, what is given back when it is put right. Judgement: made good is not the same as never."""
FADES_BY_REPEAT: Final = 0.7
"""What the next one of the same sort counts, beside the one before."""
REPEATS_S: Final = 1 * _D
"""Within this they are repeats."""
AGAIN_S: Final = 7 * _D
"""A contact on the same topic within this is one that should not have been needed."""
SWITCH_S: Final = 1 * _D
"""A contact on another channel within this: the first did not do."""
WAIT_FREE_S: Final = 60.0
"""A wait that nobody minds."""
LONGEST_S: Final = 6 * 3_600.0
"""The end of a contact belongs to a beginning that is not longer ago."""
TOPIC_LEAST: Final = 0.5
"""A topic that was read counts from this confidence on."""
CLAIMED_MOST: Final = 15.0
"""Points, up or down, of all that came with a public write key: anybody may have sent it."""


class Cost(NamedTuple):
    """points: what one event of a name takes (negative) or gives. put_right: names of events that put it right."""

    points: float
    half_life_s: float
    reason: str
    put_right: tuple[str, ...] = ()


class Part(NamedTuple):
    """What one event takes or gives at this moment."""

    event_id: int
    points: float
    reason: str


class Experience(NamedTuple):
    """score: 0-100; parts: what it is made of, the heaviest first. score = START + sum of points (1e-9)."""

    score: float
    parts: tuple[Part, ...]


_REFUNDED: Final = ("Order Refunded", "Refund Issued", "Refund Completed")
EVENTS: Final[Mapping[str, Cost]] = {
    # failures
    "Payment Failed": Cost(-6.0, 7 * _D, "a payment failed", ("Payment Succeeded", "Order Completed")),
    "Delivery Failed": Cost(-10.0, 14 * _D, "a delivery failed", ("Order Delivered",)),
    "Delivery Delayed": Cost(-6.0, 14 * _D, "a delivery is late", ("Order Delivered",)),
    "Order Cancelled": Cost(-4.0, 14 * _D, "an order was cancelled"),
    "Sign In Failed": Cost(-2.0, 3 * _D, "signing in failed", ("Signed In",)),
    "Password Reset Requested": Cost(-1.5, 3 * _D, "the password was forgotten", ("Signed In",)),
    "Refund Requested": Cost(
        -5.0, 21 * _D, "a refund was asked for", ("Order Refunded", "Refund Issued", "Refund Completed")
    ),
    "Refund Failed": Cost(-8.0, 21 * _D, "a refund failed", _REFUNDED),
    "Refund Denied": Cost(-8.0, 21 * _D, "a refund was denied", _REFUNDED),
    "Refund Reopened": Cost(
        -6.0, 21 * _D, "a refund came up again", ("Order Refunded", "Refund Issued", "Refund Completed")
    ),
    "Complaint Opened": Cost(-12.0, 30 * _D, "a complaint", ("Complaint Resolved",)),
    "Complaint Received": Cost(-12.0, 30 * _D, "a complaint", ("Complaint Resolved",)),
    "Complaint Reopened": Cost(-12.0, 30 * _D, "a complaint came up again", ("Complaint Resolved",)),
    "Outage Started": Cost(-7.0, 14 * _D, "an outage", ("Outage Ended", "Outage Resolved")),
    "Outage Reported": Cost(-7.0, 14 * _D, "an outage", ("Outage Ended", "Outage Resolved")),
    "Outage Reopened": Cost(-7.0, 14 * _D, "an outage came back", ("Outage Ended", "Outage Resolved")),
    "Rage Clicked": Cost(-3.0, 3 * _D, "clicked again and again"),
    "Error Shown": Cost(-3.0, 3 * _D, "an error was shown"),
    # effort
    "Call Missed": Cost(-5.0, 7 * _D, "nobody answered", ("Call Ended",)),
    "Call Abandoned": Cost(-5.0, 7 * _D, "hung up while waiting", ("Call Ended",)),
    "Call Transferred": Cost(-3.0, 7 * _D, "was passed on"),
    "Chat Transferred": Cost(-3.0, 7 * _D, "was passed on"),
    "Email Bounced": Cost(-2.0, 7 * _D, "a mail came back"),
}
"""Points of one event when it is fresh. Priors by judgement: a complaint outweighs everything, what was merely tedious
fades within days. An order that arrives gives nothing: that is how it should be, and who orders a lot would hide what went
wrong. `firstring bench journey --experience` says what the table is worth."""

CONTACTS: Final = frozenset(
    ("Call Started", "Chat Started", "Live Chat Conversation Started", "Email Received", "Contact Offered")
)
"""The customer turns to us."""
ENDS: Final = frozenset(("Call Ended", "Chat Ended", "Live Chat Conversation Ended"))
AGAIN: Final = Cost(-6.0, 7 * _D, "had to come back")
AGAIN_UNTOLD: Final = Cost(-3.0, 7 * _D, "came back, it is not known what for")
SWITCHED: Final = Cost(-4.0, 7 * _D, "changed the channel")
EMPTY_SEARCH: Final = Cost(-2.0, 3 * _D, "a search found nothing")
TRANSFERRED: Final = Cost(-3.0, 7 * _D, "was passed on")
WAITED: Final = Cost(-1.0, 7 * _D, "waited")
WAITED_MOST: Final = 6.0
"""Points of the longest wait; one a minute before that."""
SETTLED: Final = Cost(3.0, 14 * _D, "it was settled at once")
SAID: Final = Cost(10.0, 10 * _D, "what they wrote")
"""Points of the friendliest text read with certainty; the angriest takes as many."""
RATED: Final = Cost(8.0, 21 * _D, "their own rating")
"""Points of the best rating; the worst takes as many."""
_TABLE: Final = (
    (
        LONGEST_S,
        TOPIC_LEAST,
        START,
        RECOVERED,
        FADES_BY_REPEAT,
        REPEATS_S,
        AGAIN_S,
        SWITCH_S,
        WAIT_FREE_S,
        CLAIMED_MOST,
        WAITED_MOST,
    ),
    tuple(EVENTS.items()),
    (AGAIN, AGAIN_UNTOLD, SWITCHED, EMPTY_SEARCH, TRANSFERRED, WAITED, SETTLED, SAID, RATED),
)
VERSION: Final = "experience-" + hashlib.sha256(repr(_TABLE).encode()).hexdigest()[:12]
_TOPICS: Final = ("topic", "intent", "reason")
_REFERENCES: Final = ("order_id", "ticket_id", "complaint_id", "case_id", "refund_id", "outage_id", "invoice_id")


class _Point(NamedTuple):
    """A part before it is scaled. cause: the event that it puts right, or 0."""

    touch: TouchRead
    points: float
    reason: str


def experience(touches: Iterable[TouchRead], now: datetime) -> Experience:
    """The score of the person whose events these are, at `now`, and what it is made of."""
    once = {touch.event_id: touch for touch in touches}
    own = sorted(once.values(), key=lambda touch: (touch.occurred_at, touch.event_id))
    points = [*_of_events(own, now), *_of_contacts(own, now), *_of_values(own, now)]
    points = _bounded(points, lambda one: one.touch.claimed, -CLAIMED_MOST, CLAIMED_MOST)
    points = _bounded(points, lambda _: True, -START, 100.0 - START)
    heaviest = sorted(points, key=lambda one: (-abs(one.points), one.touch.event_id, one.reason))
    parts = tuple(Part(one.touch.event_id, one.points, one.reason) for one in heaviest if one.points)
    return Experience(max(0.0, min(100.0, START + math.fsum(part.points for part in parts))), parts)


def over_time(touches: Sequence[TouchRead], moments: Iterable[datetime]) -> list[float]:
    """The score as it was at each of the moments, by what had happened until then."""
    return [experience([touch for touch in touches if touch.occurred_at <= at], at).score for at in moments]


def _faded(cost: Cost, touch: TouchRead, now: datetime) -> float:
    age_s = max(0.0, (now - touch.occurred_at).total_seconds())
    return cost.points * math.exp2(-min(age_s / cost.half_life_s, 1_000.0))


class _Repeats:
    """How much the next one of a sort counts: less with each one within REPEATS_S before it."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[datetime, float]] = {}

    def weight(self, sort: str, at: datetime) -> float:
        before = self._last.get(sort)
        fresh = before is None or (at - before[0]).total_seconds() > REPEATS_S
        weight = 1.0 if before is None or fresh else before[1] * FADES_BY_REPEAT
        self._last[sort] = at, weight
        return weight


def _of_events(own: Sequence[TouchRead], now: datetime) -> list[_Point]:
    points: list[_Point] = []
    repeats = _Repeats()
    for place, touch in enumerate(own):
        cost = EVENTS.get(touch.name)
        if cost is None:
            continue
        now_points = _faded(cost, touch, now) * repeats.weight(touch.name, touch.occurred_at)
        points.append(_Point(touch, now_points, cost.reason))
        righted = next((later for later in own[place + 1 :] if later.name in cost.put_right and _same(touch, later)), None)
        if righted is not None:
            points.append(_Point(righted, -RECOVERED * now_points, f"put right: {cost.reason}"))
    return points


def _same(failure: TouchRead, later: TouchRead) -> bool:
    """Whether both are about one thing: a reference that both have is the same. What is claimed puts nothing right but
    what was claimed."""
    if later.claimed and not failure.claimed:
        return False
    for name in _REFERENCES:
        left, right = (plain(one.properties.get(name)).lstrip("#") for one in (failure, later))
        if left and right:
            return left == right
    return True


def _of_contacts(own: Sequence[TouchRead], now: datetime) -> list[_Point]:
    """Effort: coming back on the same topic, changing the channel. Only the last contact before counts."""
    points: list[_Point] = []
    repeats = _Repeats()
    last: TouchRead | None = None
    last_of_topic: dict[str, datetime] = {}
    read = _topics_read(own)
    for touch in _contacts(own):
        at = touch.occurred_at
        topic = _topic(touch) or read.get((at, touch.name), "")
        seen = last_of_topic.get(topic)
        if seen is not None and (at - seen).total_seconds() <= AGAIN_S:
            cost = AGAIN if topic else AGAIN_UNTOLD
            points.append(_Point(touch, _faded(cost, touch, now) * repeats.weight(cost.reason, at), cost.reason))
        if last is not None and last.channel != touch.channel and (at - last.occurred_at).total_seconds() <= SWITCH_S:
            weight = repeats.weight(SWITCHED.reason, at)
            points.append(_Point(touch, _faded(SWITCHED, touch, now) * weight, SWITCHED.reason))
        last_of_topic[topic] = at
        last = touch
    return points


def _contacts(own: Sequence[TouchRead]) -> list[TouchRead]:
    """Each contact once: by its beginning, and by its end where no beginning was told."""
    begun: dict[str, datetime] = {}
    found: list[TouchRead] = []
    for touch in own:
        if touch.name in CONTACTS:
            begun[touch.channel] = touch.occurred_at
            found.append(touch)
        elif touch.name in ENDS:
            at = begun.pop(touch.channel, None)
            if at is None or (touch.occurred_at - at).total_seconds() > LONGEST_S:
                found.append(touch)
    return found


def _topics_read(own: Sequence[TouchRead]) -> dict[tuple[datetime, str], str]:
    """(when, name of the event) -> topic, of what was read in the words of events."""
    found: dict[tuple[datetime, str], str] = {}
    for touch in own:
        if touch.name == WORDS_READ and (_number(touch.properties, "topic_confidence") or 0.0) >= TOPIC_LEAST:
            found[touch.occurred_at, plain(touch.properties.get("of"))] = plain(touch.properties.get("topic")).casefold()
    return found


def _topic(touch: TouchRead) -> str:
    for name in (*_TOPICS, *_REFERENCES):
        text = plain(touch.properties.get(name)).casefold()
        if text and text != "unknown":
            return text
    return ""


def _of_values(own: Sequence[TouchRead], now: datetime) -> list[_Point]:
    """What the properties of an event say: words read, ratings, waits, transfers, outcomes, searches without a result."""
    points: list[_Point] = []
    repeats = _Repeats()

    def add(cost: Cost, touch: TouchRead, share: float) -> None:
        weight = repeats.weight(f"{cost.reason}{share > 0}", touch.occurred_at)
        points.append(_Point(touch, _faded(cost, touch, now) * share * weight, cost.reason))

    for touch in own:
        said = touch.properties
        if touch.name == WORDS_READ:
            sentiment, confidence = _number(said, "sentiment"), _number(said, "sentiment_confidence")
            if sentiment is not None and confidence is not None:
                add(SAID, touch, max(-1.0, min(1.0, sentiment)) * max(0.0, min(1.0, confidence)))
            continue
        rating, best = _number(said, "rating"), _number(said, "rating_max") or 5.0
        if rating is not None and best > 1.0 and 0.0 <= rating <= best:
            add(RATED, touch, 2.0 * (max(rating, 1.0) - 1.0) / (best - 1.0) - 1.0)
        if touch.name == "Products Searched" and _number(said, "results") == 0.0:
            add(EMPTY_SEARCH, touch, 1.0)
        if touch.name in CONTACTS or touch.name in ENDS:
            waited_s = _number(said, "wait_s") or 0.0
            if waited_s > WAIT_FREE_S:
                add(WAITED, touch, min(WAITED_MOST, (waited_s - WAIT_FREE_S) / 60.0))
            for _ in range(min(5, int(_number(said, "transfers") or 0))):
                add(TRANSFERRED, touch, 1.0)
            if plain(said.get("outcome")) == "resolved":
                add(SETTLED, touch, 1.0)
    return points


def _number(properties: Mapping[str, Any], name: str) -> float | None:
    value = properties.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:
        return None
    return float(value)


def _bounded(points: Sequence[_Point], concerns: Callable[[_Point], bool], least: float, most: float) -> list[_Point]:
    """The points, those concerned scaled down on the side on which their sum leaves [least, most]."""
    down = math.fsum(one.points for one in points if concerns(one) and one.points < 0)
    up = math.fsum(one.points for one in points if concerns(one) and one.points > 0)
    total = down + up
    scale_down = (least - up) / down if total < least else 1.0
    scale_up = (most - down) / up if total > most else 1.0
    if scale_down == 1.0 and scale_up == 1.0:
        return list(points)
    return [
        one._replace(points=one.points * (scale_down if one.points < 0 else scale_up)) if concerns(one) else one
        for one in points
    ]
