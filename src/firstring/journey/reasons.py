"""Why they are probably contacting us: ranked guesses out of open issues and recent events, by named priors.

Each signal has a weight: its odds against "something we cannot see" (unknown, weight 1) at the moment it happens,
halved every half-life. Per intent the strongest signal counts, so that repeats and duplicates change nothing; the
probabilities are the weights over their sum. The figures are assumptions, not fitted: their basis is "prior".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from firstring.contact import LikelyReason, OpenIssue, TouchRead
from firstring.journey.summary import plain, summary

UNKNOWN: Final = "unknown"
REASONS_SHOWN: Final = 5
"""Guesses listed beside "unknown"; the probability of the rest is part of "unknown"."""
SAID_WEIGHT: Final = 30.0
"""The odds of an intent that the customer named, to an IVR or in a form."""


class Prior(NamedTuple):
    """A signal: its intent, its odds against unknown when fresh, how fast they fade, which later events end it."""

    intent: str
    weight: float
    half_life_s: float
    ended_by: tuple[str, ...] = ()


_H: Final = 3_600.0
_D: Final = 24 * _H

ISSUE_PRIORS: Final[dict[str, Prior]] = {
    "refund": Prior("refund", 12.0, 30 * _D),
    "complaint": Prior("complaint", 12.0, 30 * _D),
    "outage": Prior("outage", 16.0, 7 * _D),
    "issue": Prior("open_issue", 12.0, 30 * _D),
}
"""Kind of open issue -> prior. "issue" stands for more issues than were read."""

EVENT_PRIORS: Final[dict[str, Prior]] = {
    "Delivery Failed": Prior("delivery", 9.0, 3 * _D, ("Order Delivered", "Order Cancelled")),
    "Delivery Delayed": Prior("delivery", 6.0, 3 * _D, ("Order Delivered", "Order Cancelled")),
    "Order Shipped": Prior("delivery", 2.5, 4 * _D, ("Order Delivered", "Order Cancelled")),
    "Order Delivered": Prior("order", 1.0, 3 * _D),
    "Order Completed": Prior("order", 1.5, 2 * _D, ("Order Cancelled", "Order Shipped")),
    "Order Cancelled": Prior("order", 2.0, 2 * _D),
    "Payment Failed": Prior("payment", 6.0, 1 * _D, ("Payment Succeeded", "Order Completed")),
    "Cart Abandoned": Prior("purchase", 1.0, 12 * _H, ("Order Completed",)),
    "Checkout Started": Prior("purchase", 1.0, 6 * _H, ("Order Completed",)),
    "Product Viewed": Prior("purchase", 0.5, 2 * _H, ("Order Completed",)),
    "Invoice Overdue": Prior("billing", 3.0, 7 * _D, ("Invoice Paid",)),
    "Invoice Issued": Prior("billing", 1.0, 5 * _D, ("Invoice Paid",)),
    "Sign In Failed": Prior("account_access", 3.0, 1 * _H, ("Signed In",)),
    "Password Reset Requested": Prior("account_access", 3.0, 1 * _H, ("Signed In",)),
    "Refund Denied": Prior("refund", 3.0, 3 * _D),
    "Call Missed": Prior("follow_up", 4.0, 1 * _D, ("Call Ended", "Chat Ended")),
    "Call Ended": Prior("follow_up", 0.8, 1 * _D),
    "Chat Ended": Prior("follow_up", 0.8, 1 * _D),
    "Live Chat Conversation Ended": Prior("follow_up", 0.8, 1 * _D),
}
"""Name of a recent event -> prior."""

_ENDINGS: Final = frozenset(name for prior in EVENT_PRIORS.values() for name in prior.ended_by)
_RELEVANT: Final = frozenset(EVENT_PRIORS) | _ENDINGS


class _Signal(NamedTuple):
    """The weight of a signal and what it rests on: an event, an open issue, or the intent that was said."""

    weight: float
    event_id: int
    source: TouchRead | OpenIssue | str

    def text(self, summaries: Mapping[int, str]) -> str:
        if isinstance(self.source, TouchRead):
            return summaries.get(self.event_id) or summary(self.source.name, self.source.properties)
        if isinstance(self.source, OpenIssue):
            return self.source.summary or f"open {self.source.kind}"
        return f"said: {plain(self.source)}"


def likely_reasons(
    issues: Sequence[OpenIssue],
    touches: Iterable[TouchRead],
    *,
    now: datetime,
    said: str | None = None,
    summaries: Mapping[int, str] = MappingProxyType({}),
) -> tuple[LikelyReason, ...]:
    """Guesses, most probable first; "unknown" is always among them and all sum to 1 (1e-9).

    said: the intent the customer named, if any. summaries: those of events that were summarised before.
    Order and duplicates of `touches` do not matter.
    """
    strongest: dict[str, _Signal] = {}
    for issue in issues:
        prior = ISSUE_PRIORS.get(issue.kind, ISSUE_PRIORS["issue"])
        _keep(strongest, prior.intent, _Signal(_faded(prior, issue.opened_at, now), issue.event_id, issue))
    relevant = [touch for touch in touches if touch.name in _RELEVANT]
    ended = _endings(relevant)
    for touch in relevant:
        event_prior = EVENT_PRIORS.get(touch.name)
        if event_prior is None or (ended and event_prior.ended_by and _is_ended(touch, event_prior, ended)):
            continue
        _keep(
            strongest,
            event_prior.intent,
            _Signal(_faded(event_prior, touch.occurred_at, now), touch.event_id, touch),
        )
    if said:
        _keep(strongest, said, _Signal(SAID_WEIGHT, 0, said))
    return _ranked(strongest, summaries)


def _faded(prior: Prior, at: datetime, now: datetime) -> float:
    age_s = max(0.0, (now - at).total_seconds())
    return prior.weight * math.exp2(-min(age_s / prior.half_life_s, 1_000.0))


def _keep(strongest: dict[str, _Signal], intent: str, signal: _Signal) -> None:
    """Keep the strongest signal of an intent; among equals the newest event, so that the order does not matter."""
    held = strongest.get(intent)
    if held is None or signal[:2] > held[:2]:
        strongest[intent] = signal


def _order(touch: TouchRead) -> str:
    return plain(touch.properties.get("order_id")).lstrip("#") if touch.properties else ""


def _endings(touches: Sequence[TouchRead]) -> dict[str, dict[str, datetime]]:
    """Name -> order or "" -> when it happened last, of the events that end signals."""
    last: dict[str, dict[str, datetime]] = {}
    for touch in touches:
        if touch.name in _ENDINGS:
            of_name = last.setdefault(touch.name, {})
            order = _order(touch)
            if order not in of_name or of_name[order] < touch.occurred_at:
                of_name[order] = touch.occurred_at
    return last


def _is_ended(touch: TouchRead, prior: Prior, ended: dict[str, dict[str, datetime]]) -> bool:
    """Whether a later event ends the signal: one about the same order, or one of the two names no order."""
    order = _order(touch)
    for name in prior.ended_by:
        for other, at in ended.get(name, {}).items():
            if at >= touch.occurred_at and (not order or not other or order == other):
                return True
    return False


def _ranked(strongest: dict[str, _Signal], summaries: Mapping[int, str]) -> tuple[LikelyReason, ...]:
    strongest.pop(UNKNOWN, None)
    ranked = sorted([(-signal.weight, intent) for intent, signal in strongest.items()])
    total = 1.0 - sum([weight for weight, _ in ranked])
    guesses: list[LikelyReason] = []
    rest = 1.0
    for weight, intent in ranked[:REASONS_SHOWN]:
        signal = strongest[intent]
        probability = -weight / total
        rest -= probability
        events = (signal.event_id,) if signal.event_id else ()
        guesses.append(LikelyReason(intent, probability, signal.text(summaries), "prior", events))
    unknown = LikelyReason(UNKNOWN, max(0.0, rest), "nothing on file explains it")
    place = len(guesses)
    while place > 0 and guesses[place - 1].probability < unknown.probability:
        place -= 1
    guesses.insert(place, unknown)
    return tuple(guesses)
