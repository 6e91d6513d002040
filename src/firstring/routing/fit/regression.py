"""What contacts have in common whoever serves them: a regression on factors, each level drawn to none by a ridge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

RARE: Final = 20
"""A level with fewer rows has no effect of its own: it says little, and might tell of somebody."""
LEVELS_MOST: Final = 300
STEPS: Final = 30


class Factor(NamedTuple):
    """One factor of n rows. codes: 0 for a level without an effect, else 1 + its place in `levels`. spread: the standard
    deviation that effects are expected to have. centred: whether effects are counted from their mean."""

    name: str
    codes: Integers
    levels: tuple[str, ...]
    spread: float
    centred: bool = True


class Fitted(NamedTuple):
    """intercept: of a contact whose levels are all unknown; effects: factor -> level -> effect."""

    intercept: float
    effects: dict[str, dict[str, float]]
    predictor: Floats


def factor(
    name: str,
    values: Sequence[str],
    *,
    spread: float,
    centred: bool = True,
    only: Sequence[str] = (),
    weights: Floats | None = None,
) -> Factor:
    """A factor out of its values; rare levels have no effect. only: the levels that may have one (empty: all). weights: for
    how much of a row each counts (None: a whole one)."""
    distinct, inverse = np.unique(np.array(values, dtype=object).astype(str), return_inverse=True)
    counts = np.bincount(inverse, weights, len(distinct))
    kept = [place for place in np.argsort(-counts, kind="stable")[:LEVELS_MOST].tolist() if counts[place] >= RARE]
    kept = sorted(place for place in kept if not only or distinct[place] in only)
    code_of = np.zeros(len(distinct), np.int64)
    code_of[kept] = np.arange(1, len(kept) + 1)
    return Factor(name, code_of[inverse], tuple(str(distinct[place]) for place in kept), spread, centred)


class _Design:
    """An intercept and one column for each level, never written out."""

    def __init__(self, factors: Sequence[Factor], rows: int) -> None:
        self._factors = factors
        self._rows = rows
        ends = np.cumsum([1, *(len(one.levels) for one in factors)])
        self._begins = ends[:-1].tolist()
        self.columns = int(ends[-1])

    def times(self, values: Floats) -> Floats:
        """X'v."""
        found = np.zeros(self.columns)
        found[0] = values.sum()
        for one, begin in zip(self._factors, self._begins, strict=True):
            count = len(one.levels)
            found[begin : begin + count] = np.bincount(one.codes, values, count + 1)[1:]
        return found

    def gram(self, weights: Floats) -> Floats:
        """X'WX."""
        found = np.zeros((self.columns, self.columns))
        first = self.times(weights)
        found[0], found[:, 0] = first, first
        for place, (one, begin) in enumerate(zip(self._factors, self._begins, strict=True)):
            count = len(one.levels)
            if not count:
                continue
            np.fill_diagonal(found[begin : begin + count, begin : begin + count], first[begin : begin + count])
            for other, other_begin in zip(self._factors[:place], self._begins[:place], strict=True):
                width = len(other.levels)
                if not width:
                    continue
                both = np.bincount(one.codes * (width + 1) + other.codes, weights, (count + 1) * (width + 1))
                block = both.reshape(count + 1, width + 1)[1:, 1:]
                found[begin : begin + count, other_begin : other_begin + width] = block
                found[other_begin : other_begin + width, begin : begin + count] = block.T
        return found

    def predictor(self, slopes: Floats) -> Floats:
        """X beta."""
        found = np.full(self._rows, slopes[0])
        for one, begin in zip(self._factors, self._begins, strict=True):
            found += np.concatenate(([0.0], slopes[begin : begin + len(one.levels)]))[one.codes]
        return found

    def penalty(self) -> Floats:
        """1 / variance that each column is expected to have; next to none for the intercept."""
        found = np.full(self.columns, 1e-9)
        for one, begin in zip(self._factors, self._begins, strict=True):
            found[begin : begin + len(one.levels)] = 1.0 / one.spread**2
        return found

    def centred(self, slopes: Floats, weights: Floats) -> Fitted:
        """The same predictions with effects that are counted from the mean of all rows."""
        intercept = float(slopes[0])
        effects: dict[str, dict[str, float]] = {}
        for one, begin in zip(self._factors, self._begins, strict=True):
            own = slopes[begin : begin + len(one.levels)]
            if one.centred and len(own):
                counts = np.bincount(one.codes, weights, len(own) + 1)[1:]
                mean = float(counts @ own) / max(float(counts.sum()), 1e-12)
                own = own - mean
                intercept += mean
            effects[one.name] = {level: float(effect) for level, effect in zip(one.levels, own, strict=True)}
        predictor = np.full(self._rows, intercept)
        for one in self._factors:
            predictor += np.array([0.0, *effects[one.name].values()])[one.codes]
        return Fitted(intercept, effects, predictor)


def linear(factors: Sequence[Factor], values: Floats, offset: Floats, noise: float, weights: Floats | None = None) -> Fitted:
    """Least squares of values - offset. noise: the variance of a row; weights: for how much of a row each counts."""
    design = _Design(factors, len(values))
    counted = np.ones(len(values)) if weights is None else weights
    gram = design.gram(counted / noise)
    right = design.times(counted * (values - offset) / noise)
    return design.centred(np.linalg.solve(gram + np.diag(design.penalty()), right).astype(np.float64), counted)


def logistic(
    factors: Sequence[Factor],
    worked: Floats,
    offset: Floats,
    weights: Floats | None = None,
    *,
    start: Fitted | None = None,
    steps: int = STEPS,
) -> Fitted:
    """Log odds of `worked` (0 or 1) beyond the offset, by Newton's method. weights: for how much of a row each
    counts. start: what was fitted to almost the same, from which so many `steps` go on.

    One row is added that worked by half, of the mean of all (Jeffreys' prior of a share): fifty successes and no failure do
    not make a thing certain.
    """
    counted = np.ones(len(worked)) if weights is None else weights
    total = max(float(counted.sum()), 1e-12)
    worked = (worked * total + 0.5) / (total + 1.0)
    design = _Design(factors, len(worked))
    penalty = design.penalty()
    slopes = np.zeros(design.columns)
    rate = float(np.clip(counted @ worked / total, 1e-4, 1.0 - 1e-4))
    slopes[0] = math.log(rate / (1.0 - rate)) - float(counted @ offset / total)
    if start is not None:
        slopes = np.array([start.intercept, *(effect for one in factors for effect in start.effects[one.name].values())])
    for _ in range(steps):
        chances = odds(design.predictor(slopes) + offset)
        gradient = design.times(counted * (worked - chances)) - penalty * slopes
        information = counted * np.maximum(chances * (1.0 - chances), 1e-9)
        step = np.linalg.solve(design.gram(information) + np.diag(penalty), gradient)
        slopes = slopes + step
        if float(np.abs(step).max()) < 1e-6:
            break
    return design.centred(slopes, counted)


def odds(predictor: Floats) -> Floats:
    """The probability behind log odds."""
    found: Floats = 1.0 / (1.0 + np.exp(-np.clip(predictor, -30.0, 30.0)))
    return found
