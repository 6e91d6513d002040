"""Why they are probably contacting us: ranked guesses out of open issues and recent events, by named priors.

Each signal has a weight: its odds against "something we cannot see" (unknown, weight 1) at the moment it happens,
halved every half-life. Per intent the strongest signal counts, so that repeats and duplicates change nothing; the
probabilities are the weights over their sum. The figures are assumptions, not fitted: their basis is "prior".

Where there are words and a text model (words/textmodel) they are joined by Bayes: the weights are the prior, the weight of
unknown being spread over what the model knows, and each is multiplied by how much likelier the text is under it. A label
"delivery.lost" belongs to the intent "delivery": what the journey says of that counts for its labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from firstring.contact import LikelyReason, OpenIssue, TouchRead
from firstring.journey.summary import plain, summary
from firstring.journey.words.textmodel import UNKNOWN, Heard

REASONS_SHOWN: Final = 5
"""Guesses listed beside "unknown"; the probability of the rest is part of "unknown"."""
LEAST_SHOWN: Final = 0.01
"""A label that only the words speak for is listed from this probability on."""
BY_WORDS: Final = "by what they said"
SAID_WEIGHT: Final = 30.0
"""The odds of an intent that the customer named, to an IVR or in a form."""
LABELLED: Final = 0.9
"""Of reasons that nothing on file explains, the share that is among the labels of a text model. Judgement."""
EXPLAINS_MOST: Final = 2.5
"""Nats. What somebody says makes nobody likelier, or less likely, to be the one by more than that."""


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
    heard: Heard | None = None,
) -> tuple[LikelyReason, ...]:
    """Guesses, most probable first; "unknown" is always among them and all sum to 1 (1e-9).

    said: the intent the customer named, if any. summaries: those of events that were summarised before. heard: what a
    text model made of their words. Order and duplicates of `touches` do not matter.
    """
    strongest = _signals(issues, touches, now)
    if said:
        _keep(strongest, said, _Signal(SAID_WEIGHT, 0, said))
    strongest.pop(UNKNOWN, None)
    if heard is None:
        return _ranked({intent: signal.weight for intent, signal in strongest.items()}, 1.0, strongest, summaries)
    weights = _joined({intent: signal.weight for intent, signal in strongest.items()}, heard)
    return _ranked(weights, weights.pop(UNKNOWN), strongest, summaries)


def explains(issues: Sequence[OpenIssue], touches: Iterable[TouchRead], *, now: datetime, heard: Heard) -> float:
    """Nats: how much better what is on file of a person explains the words than knowing nothing does. Bounded."""
    weights = {intent: signal.weight for intent, signal in _signals(issues, touches, now).items() if intent != UNKNOWN}
    if not weights:
        return 0.0
    own = math.fsum(_joined(weights, heard).values()) / (1.0 + math.fsum(weights.values()))
    nobody = math.fsum(_joined({}, heard).values())
    return max(-EXPLAINS_MOST, min(EXPLAINS_MOST, math.log(max(1e-12, own)) - math.log(max(1e-12, nobody))))


def _joined(weights: Mapping[str, float], heard: Heard) -> dict[str, float]:
    """Prior weights times likelihoods, of every intent, label and UNKNOWN."""
    prior = {label: LABELLED * share for label, share in heard.shares.items()}
    for intent, weight in weights.items():
        labels = [label for label in heard.shares if label == intent or label.partition(".")[0] == intent]
        total = math.fsum(heard.shares[label] for label in labels)
        for label in labels:
            prior[label] += weight * (heard.shares[label] / total if total else 1.0 / len(labels))
        if not labels:
            prior[intent] = weight
    elsewhere = heard.ratios[UNKNOWN]
    joined = {intent: weight * heard.ratios.get(intent, elsewhere) for intent, weight in prior.items()}
    joined[UNKNOWN] = (1.0 - LABELLED) * elsewhere
    return joined


def _signals(issues: Sequence[OpenIssue], touches: Iterable[TouchRead], now: datetime) -> dict[str, _Signal]:
    """The strongest signal of each intent, out of open issues and events."""
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
    return strongest


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


def _ranked(
    weights: Mapping[str, float], unknown: float, strongest: Mapping[str, _Signal], summaries: Mapping[int, str]
) -> tuple[LikelyReason, ...]:
    ranked = sorted([(-weight, intent) for intent, weight in weights.items()])
    total = unknown - sum([weight for weight, _ in ranked])
    guesses: list[LikelyReason] = []
    rest = 1.0
    for weight, intent in ranked[:REASONS_SHOWN]:
        probability = -weight / total
        if probability < LEAST_SHOWN and intent not in strongest:
            break
        signal = strongest.get(intent) or strongest.get(intent.partition(".")[0])
        rest -= probability
        if signal is None:
            text = f"{plain(intent).replace('_', ' ').replace('.', ', ')}, {BY_WORDS}"
            guesses.append(LikelyReason(intent, probability, text, "fitted"))
        else:
            events = (signal.event_id,) if signal.event_id else ()
            guesses.append(LikelyReason(intent, probability, signal.text(summaries), "prior", events))
    rest_guess = LikelyReason(UNKNOWN, max(0.0, rest), "nothing on file explains it")
    place = len(guesses)
    while place > 0 and guesses[place - 1].probability < rest_guess.probability:
        place -= 1
    guesses.insert(place, rest_guess)
    return tuple(guesses)
