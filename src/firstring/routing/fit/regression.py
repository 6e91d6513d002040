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


def factor(name: str, values: Sequence[str], *, spread: float, centred: bool = True, only: Sequence[str] = ()) -> Factor:
    """A factor out of its values; rare levels have no effect. only: the levels that may have one (empty: all)."""
    distinct, inverse, counts = np.unique(
        np.array(values, dtype=object).astype(str), return_inverse=True, return_counts=True
    )
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
            np.fill_diagonal(found[begin : begin + count, begin : begin + count], first[begin : begin + count])
            for other, other_begin in zip(self._factors[:place], self._begins[:place], strict=True):
                width = len(other.levels)
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

    def centred(self, slopes: Floats) -> Fitted:
        """The same predictions with effects that are counted from the mean of all rows."""
        intercept = float(slopes[0])
        effects: dict[str, dict[str, float]] = {}
        for one, begin in zip(self._factors, self._begins, strict=True):
            own = slopes[begin : begin + len(one.levels)]
            if one.centred and len(own):
                counts = np.bincount(one.codes, minlength=len(own) + 1)[1:]
                mean = float(counts @ own) / float(counts.sum())
                own = own - mean
                intercept += mean
            effects[one.name] = {level: float(effect) for level, effect in zip(one.levels, own, strict=True)}
        predictor = np.full(self._rows, intercept)
        for one in self._factors:
            predictor += np.array([0.0, *effects[one.name].values()])[one.codes]
        return Fitted(intercept, effects, predictor)


def linear(factors: Sequence[Factor], values: Floats, offset: Floats, noise: float) -> Fitted:
    """Least squares of values - offset. noise: the variance of a row."""
    design = _Design(factors, len(values))
    gram = design.gram(np.full(len(values), 1.0 / noise))
    right = design.times((values - offset) / noise)
    return design.centred(np.linalg.solve(gram + np.diag(design.penalty()), right).astype(np.float64))


def logistic(factors: Sequence[Factor], worked: Floats, offset: Floats) -> Fitted:
    """Log odds of `worked` (0 or 1) beyond the offset, by Newton's method.

    One row is added that worked by half, of the mean of all (Jeffreys' prior of a share): fifty successes and no failure do
    not make a thing certain.
    """
    worked = (worked * len(worked) + 0.5) / (len(worked) + 1.0)
    design = _Design(factors, len(worked))
    penalty = design.penalty()
    slopes = np.zeros(design.columns)
    rate = float(np.clip(worked.mean(), 1e-4, 1.0 - 1e-4))
    slopes[0] = math.log(rate / (1.0 - rate)) - float(offset.mean())
    for _ in range(STEPS):
        chances = odds(design.predictor(slopes) + offset)
        gradient = design.times(worked - chances) - penalty * slopes
        weights = np.maximum(chances * (1.0 - chances), 1e-9)
        step = np.linalg.solve(design.gram(weights) + np.diag(penalty), gradient)
        slopes = slopes + step
        if float(np.abs(step).max()) < 1e-6:
            break
    return design.centred(slopes)


def odds(predictor: Floats) -> Floats:
    """The probability behind log odds."""
    found: Floats = 1.0 / (1.0 + np.exp(-np.clip(predictor, -30.0, 30.0)))
    return found
