"""Priors fitted to contacts of which it is known who it was: an agent confirmed them, or they proved it.

The named priors are where the fit starts and what it is drawn back to: the fewer outcomes, the less they move. It is a
maximum a posteriori estimate by coordinate search over the log-likelihood of the resolver's own statements, so that what
is fitted is exactly what is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from firstring.contact import ContactPrior, Evidence, Read
from firstring.identity.resolver import stated
from firstring.identity.weights import TABLE, Weights

FITTED: Final = (
    "phone", "phone_half_life", "age_floor", "landline_relative", "unlisted_relative", "relative_borrows",
    "recent_half_life", "recent_floor", "given_on", "stated_else", "journey_weight", "journey_offset",
)  # fmt: skip
"""The priors that outcomes of calls say something about."""
SPREAD: Final = 0.7
"""How sure the named priors are: one standard deviation is a factor 2 (of odds, for a rate or a weight in nats)."""
ROUNDS: Final = 4
_STEPS: Final = (0.6, 0.3, 0.15, 0.08)
_LEAST: Final = 1e-9


class Outcome(msgspec.Struct, frozen=True):
    """A contact and who it was: a person's id, "another" of the household, or "new"."""

    evidence: Evidence
    read: Read
    priors: Mapping[int, ContactPrior]
    at: datetime
    truth: int | str


def fit(
    outcomes: Sequence[Outcome],
    weights: Weights,
    names: Sequence[str] = FITTED,
    told: Callable[[int, float], None] = lambda _round, _loss: None,
) -> Weights:
    """Weights with the named priors moved to where the outcomes are likeliest. Deterministic.

    told: hears each round with the mean log loss in nats. Raises ValueError for no outcomes.
    """
    if not outcomes:
        raise ValueError("no outcomes")
    start = {name: _free(name, weights[name]) for name in names}
    at = dict(start)

    def cost(point: Mapping[str, float]) -> float:
        drawn = math.fsum((point[name] - start[name]) ** 2 for name in names) / (2.0 * SPREAD**2)
        return loss(outcomes, _moved(weights, point)) + drawn / len(outcomes)

    best = cost(at)
    for number, step in enumerate(_STEPS[:ROUNDS]):
        for name in names:
            for way in (step, -step):
                moved = False
                while True:
                    tried = {**at, name: at[name] + way}
                    if abs(tried[name] - start[name]) > 6.0 * SPREAD or (found := cost(tried)) >= best - _LEAST:
                        break
                    at, best, moved = tried, found, True
                if moved:
                    break
        told(number, best)
    return _moved(weights, at)


def loss(outcomes: Sequence[Outcome], weights: Weights) -> float:
    """Mean of -ln of what is stated of the truth, in nats; what was not stated at all counts as one in a million."""
    total = 0.0
    for one in outcomes:
        said = stated(one.evidence, one.read, weights=weights, now=one.at, priors=one.priors)
        total -= math.log(max(said.get(one.truth, 0.0), 1e-6))
    return total / len(outcomes)


def _free(name: str, value: float) -> float:
    """A prior without bounds: a rate as log-odds, a weight as it is, the rest as its logarithm."""
    unit = TABLE[name].unit
    if unit == "rate":
        return math.log(value / (1.0 - value))
    return value if unit == "nats" else math.log(value)


def _bound(name: str, free: float) -> float:
    unit = TABLE[name].unit
    if unit == "rate":
        return 1.0 / (1.0 + math.exp(-free))
    return free if unit == "nats" else math.exp(free)


def _moved(weights: Weights, point: Mapping[str, float]) -> Weights:
    return Weights({**weights.values, **{name: _bound(name, free) for name, free in point.items()}}, weights.fitted)
