"""The chance of an action out of what was known of the person: a logistic regression, where it says more than the mere rate.

It takes the place of the Beta posterior of an action where there are ENOUGH outcomes, and where on the newest fifth of them,
which it was not fitted to, its log-loss is lower by more than one standard error. What it says is worth STRENGTH outcomes to
Thompson sampling.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

from firstring.contact import Value

ENOUGH: Final = 500
"""Outcomes of an action, before it is tried."""
WORKED: Final = 30
"""Of them those that worked."""
STRENGTH: Final = 200.0
LEVELS: Final = 12
"""Values of one fact that have a slope of their own; the others have none."""
RIDGE: Final = 1.0
NEWEST: Final = 0.2
_STEPS: Final = 25
Floats = NDArray[np.float64]


class Logistic(Value, frozen=True):
    """numbers: (fact, mean, deviation, slope); levels: (fact, value, slope). An unknown number counts as the mean."""

    intercept: float
    numbers: tuple[tuple[str, float, float, float], ...] = ()
    levels: tuple[tuple[str, str, float], ...] = ()

    def chance(self, facts: Mapping[str, Any]) -> float:
        """The chance, in (0, 1)."""
        logit = self.intercept
        for name, mean, deviation, slope in self.numbers:
            value = facts.get(name)
            if _is_number(value):
                logit += slope * min(max((float(value) - mean) / deviation, -5.0), 5.0)
        for name, level, slope in self.levels:
            if facts.get(name) == level:
                logit += slope
        return 1.0 / (1.0 + math.exp(-min(max(logit, -30.0), 30.0)))


def facts_of(traits: Mapping[str, Any], context: str, experience: float | None) -> dict[str, Any]:
    """What a chance may depend on: scalar traits, the context, the experience score."""
    found = {name: value for name, value in traits.items() if _is_number(value) or isinstance(value, str)}
    found["context"] = context
    if experience is not None:
        found["experience"] = experience
    return found


def fit(rows: Sequence[Mapping[str, Any]], worked: Sequence[bool]) -> Logistic:
    """The regression by Newton's method, with a ridge on the slopes (not on the intercept)."""
    names = sorted({name for row in rows for name in row})
    numbers: list[tuple[str, float, float]] = []
    levels: list[tuple[str, str]] = []
    columns: list[Floats] = []
    of_levels: list[Floats] = []
    for name in names:
        values = [row.get(name) for row in rows]
        known = np.array([float(value) for value in values if _is_number(value)])
        if len(known) >= len(rows) / 2:
            deviation = float(known.std())
            if deviation > 0.0:
                mean = float(known.mean())
                numbers.append((name, mean, deviation))
                scaled = [(float(value) - mean) / deviation if _is_number(value) else 0.0 for value in values]
                columns.append(np.clip(np.array(scaled), -5.0, 5.0))
            continue
        counted = Counter(value for value in values if isinstance(value, str))
        for level, _ in sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:LEVELS]:
            levels.append((name, level))
            of_levels.append(np.array([value == level for value in values], dtype=np.float64))
    slopes = _newton(np.stack([np.ones(len(rows)), *columns, *of_levels], axis=1), np.array(worked, dtype=np.float64))
    first_level = 1 + len(numbers)
    return Logistic(
        float(slopes[0]),
        tuple((*one, float(slope)) for one, slope in zip(numbers, slopes[1:first_level], strict=True)),
        tuple((*one, float(slope)) for one, slope in zip(levels, slopes[first_level:], strict=True)),
    )


def better(rows: Sequence[Mapping[str, Any]], worked: Sequence[bool]) -> tuple[Logistic | None, float]:
    """(the regression, where it says more than the rate in the context, else None; by how many nats an outcome it does).

    rows: the oldest first.
    """
    if len(rows) < ENOUGH or sum(worked) < WORKED or sum(worked) > len(rows) - WORKED:
        return None, 0.0
    cut = int(len(rows) * (1.0 - NEWEST))
    made = fit(rows[:cut], worked[:cut])
    rates = _rates(rows[:cut], worked[:cut])
    gains = np.array(
        [_loss(rates(row), one) - _loss(made.chance(row), one) for row, one in zip(rows[cut:], worked[cut:], strict=True)]
    )
    gain, error = float(gains.mean()), float(gains.std()) / math.sqrt(len(gains))
    return (fit(rows, worked), gain) if gain > error else (None, gain)


def _rates(rows: Sequence[Mapping[str, Any]], worked: Sequence[bool]) -> Any:
    """The rate in a context, drawn to that of all."""
    overall = (sum(worked) + 0.5) / (len(worked) + 1.0)
    tried: Counter[str] = Counter(str(row.get("context")) for row in rows)
    won: Counter[str] = Counter(str(row.get("context")) for row, one in zip(rows, worked, strict=True) if one)
    return lambda row: (won[str(row.get("context"))] + 50.0 * overall) / (tried[str(row.get("context"))] + 50.0)


def _loss(chance: float, worked: bool) -> float:
    return -math.log(max(chance if worked else 1.0 - chance, 1e-12))


def _newton(features: Floats, worked: Floats) -> Floats:
    penalty = np.full(features.shape[1], RIDGE)
    penalty[0] = 1e-9
    slopes = np.zeros(features.shape[1])
    rate = float(np.clip(worked.mean(), 1e-6, 1.0 - 1e-6))
    slopes[0] = math.log(rate / (1.0 - rate))
    for _ in range(_STEPS):
        chances = 1.0 / (1.0 + np.exp(-np.clip(features @ slopes, -30.0, 30.0)))
        gradient = features.T @ (worked - chances) - penalty * slopes
        weights = np.maximum(chances * (1.0 - chances), 1e-9)
        step = np.linalg.solve(features.T @ (features * weights[:, np.newaxis]) + np.diag(penalty), gradient)
        slopes = slopes + step
        if float(np.abs(step).max()) < 1e-8:
            break
    return slopes


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
