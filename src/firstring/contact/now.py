"""The next best action."""

from __future__ import annotations

from typing import Literal

from firstring.contact.evidence import Reason
from firstring.contact.value import Value


class Factors(Value, frozen=True):
    """What the score of an action is made of: chance (P) x weight (C) x value (V) x lever (L). base: the chance that what it
    is after happens by itself; cost: money. context: what the chance was learned apart for."""

    chance: float
    base: float
    weight: float
    value: float
    lever: float
    cost: float
    context: str = ""


class ActionVerdict(Value, frozen=True):
    """One action considered: allowed, or gated by `gated_by` reasons. score is P x C x V x L when scored.

    propensity: the probability with which it was chosen, of those among which chance drew.
    """

    action: str
    kind: Literal["service", "safety", "self_service", "verification", "offer"]
    text: str
    allowed: bool
    score: float = 0.0
    gated_by: tuple[Reason, ...] = ()
    factors: Factors | None = None
    propensity: float = 0.0


class NextAction(Value, frozen=True):
    """The one next best action, and everything that was considered with its gates (locked offers among them).

    propensity: the probability with which it was chosen. withheld: the offer that would have been chosen, were this person
    not held out of offers; withheld_propensity: with what probability. learned: the version of what was learned of chances.
    """

    action: str
    kind: str
    text: str
    reasons: tuple[Reason, ...] = ()
    considered: tuple[ActionVerdict, ...] = ()
    version: str = ""
    propensity: float = 1.0
    withheld: str = ""
    withheld_propensity: float = 0.0
    learned: str = ""
