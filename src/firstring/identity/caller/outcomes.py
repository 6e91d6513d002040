"""Priors fitted to contacts of which it is known who it was: an agent confirmed them, or they proved it.

The named priors are where the fit starts and what it is drawn back to: the fewer outcomes, the less they move. It is a
maximum a posteriori estimate by coordinate search over the log-likelihood of the resolver's own statements, so that what
is fitted is exactly what is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

import msgspec

from firstring.contact import ContactPrior, Evidence, Read
from firstring.identity.caller.resolver import stated
from firstring.identity.caller.weights import TABLE, Weights

FITTED: Final = (
    "phone", "phone_half_life", "age_floor", "landline_relative", "unlisted_relative", "mobile_relative", "relative_borrows",
    "recent_half_life", "recent_floor", "given_on", "stated_else", "journey_weight", "journey_offset",
)  # fmt: skip
"""The priors that outcomes of calls say something about."""
SPREAD: Final = 0.7
"""How sure the named priors are: one standard deviation is a factor 2 (of odds, for a rate or a weight in nats)."""
ROUNDS: Final = 4
_STEPS: Final = (0.6, 0.3, 0.15, 0.08)
_LEAST: Final = 1e-9
_UNSAID: Final = 1e-6
BINS: Final = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 1.0)
ENOUGH: Final = 200
"""A bin of fewer statements shows nothing."""
OFF: Final = 0.05
"""What is stated and what is true may lie so far apart in a bin."""


class Outcome(msgspec.Struct, frozen=True):
    """A contact and who it was: a person's id, "another" of the household, "new", or "nobody" of those on file."""

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
    return -math.fsum(math.log(max(_of_truth(one, _said(one, weights)), _UNSAID)) for one in outcomes) / len(outcomes)


def _said(one: Outcome, weights: Weights) -> dict[int | str, float]:
    return stated(one.evidence, one.read, weights=weights, now=one.at, priors=one.priors)


def _of_truth(one: Outcome, said: Mapping[int | str, float]) -> float:
    """What was stated of the truth. Who is on no file is not told apart at the desk: another, or somebody new."""
    return said["another"] + said["new"] if one.truth == "nobody" else said.get(one.truth, 0.0)


class Bin(msgspec.Struct, frozen=True):
    """Statements about persons whose probability lies in [low, high): how many, the mean stated, the share true."""

    low: float
    high: float
    statements: int
    stated: float
    true: float


def calibration(statements: Iterable[tuple[float, bool]], bins: Sequence[float] = BINS) -> list[Bin]:
    """(probability stated, whether it was so) by bins; those that are empty are left out."""
    found = []
    known = list(statements)
    for low, high in pairwise(bins):
        inside = [one for one in known if low <= one[0] < high or one[0] == high == bins[-1]]
        if inside:
            mean = math.fsum(one[0] for one in inside) / len(inside)
            found.append(Bin(low, high, len(inside), mean, sum(one[1] for one in inside) / len(inside)))
    return found


def worst(rows: Iterable[Bin]) -> float:
    """The largest difference of stated and true over bins with enough statements."""
    return max((abs(row.stated - row.true) for row in rows if row.statements >= ENOUGH), default=0.0)


class Check(msgspec.Struct, frozen=True):
    """How weights do on outcomes: mean log loss in nats, and what was stated of persons against what was true."""

    log_loss: float
    bins: list[Bin]

    @property
    def worst(self) -> float:
        return worst(self.bins)


def check(outcomes: Sequence[Outcome], weights: Weights) -> Check:
    """Log loss and calibration of weights on outcomes, which they should not have been fitted to."""
    said = [_said(one, weights) for one in outcomes]
    logs = (math.log(max(_of_truth(one, what), _UNSAID)) for one, what in zip(outcomes, said, strict=True))
    pairs = (
        (probability, person == one.truth)
        for one, what in zip(outcomes, said, strict=True)
        for person, probability in what.items()
        if isinstance(person, int)
    )
    return Check(-math.fsum(logs) / len(outcomes), calibration(pairs))


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
