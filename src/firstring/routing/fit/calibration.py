"""Does what the model states happen? Outcomes in equal groups by what was stated of them, against what came of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from firstring.contact import Value
from firstring.routing.fit.model import FitModel, Part3
from firstring.routing.fit.regression import Floats, odds
from firstring.routing.fit.train import Outcome
from firstring.routing.fit.update import predictors

GROUPS: Final = 10
LEAST: Final = 20
"""Outcomes of a group at least; with fewer there are fewer groups."""
Z: Final = 1.959963984540054


class Stated(Value, frozen=True):
    """One group: what was stated on average, what came of it, between what it lies with 95 %. Shares, or seconds."""

    outcomes: int
    stated: float
    happened: float
    low: float
    high: float


def expected(model: FitModel, name: Part3, one: Outcome) -> float:
    """What the model states of an outcome: a probability, or seconds; by expectation over its cases."""
    common, effect = predictors(model, name, one)
    weights = np.array([case.weight for case in one.possible])
    part = model.part(name)
    each: Floats = np.exp(common + effect) * part.smear if name == "handle" else odds(common + effect)
    return float(weights @ each / weights.sum())


def calibration(model: FitModel, name: Part3, outcomes: Sequence[Outcome]) -> tuple[Stated, ...]:
    """Groups by what is stated, the lowest first; none where too few outcomes are judged. To be asked with outcomes that the
    model was not trained on."""
    pairs = [(expected(model, name, one), answer) for one in outcomes if (answer := _answer(name, one)) is not None]
    count = min(GROUPS, len(pairs) // LEAST)
    if not count:
        return ()
    stated, happened = np.array(pairs).T
    order = np.argsort(stated, kind="stable")
    stated, happened = stated[order], happened[order]
    found = []
    begins = np.linspace(0, len(pairs), count, endpoint=False).astype(np.int64)
    begins = np.unique(np.searchsorted(stated, stated[begins]))  # what is stated alike is one group
    for place in np.split(np.arange(len(pairs)), begins[1:]):
        values = happened[place]
        mean = float(values.mean())
        if name == "handle":
            half = Z * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
            low, high = mean - half, mean + half
        else:
            low, high = _wilson(mean, len(values))
        found.append(Stated(len(place), float(stated[place].mean()), mean, low, high))
    return tuple(found)


def _answer(name: Part3, one: Outcome) -> float | None:
    if name == "handle":
        return one.handle_s
    flag = one.success if name == "success" else one.repeated
    return None if flag is None else float(flag)


def _wilson(share: float, count: int) -> tuple[float, float]:
    """The interval of a share (Wilson 1927): within [0, 1], and no point where all or none did."""
    centre = (share + Z * Z / (2.0 * count)) / (1.0 + Z * Z / count)
    half = Z / (1.0 + Z * Z / count) * math.sqrt(share * (1.0 - share) / count + Z * Z / (4.0 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)
