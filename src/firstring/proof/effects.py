"""The difference that a randomised treatment makes, with its interval.

Weighted means of both arms by the probabilities of what each row was exposed to (Horvitz, Thompson 1952; normalised, Hajek
1971); the interval by the variance of the influence function, summed over clusters, with the covariance of neighbouring
ones where exposure reaches across (Newey and West 1987).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LEAST_CLUSTERS: Final = 4


class Interval(NamedTuple):
    """A number with its interval of 95 %."""

    value: float
    low: float
    high: float


NOTHING: Final = Interval(math.nan, math.nan, math.nan)


class Effect(NamedTuple):
    """control, treatment: means; difference: of the two; relative: the difference over the control's mean. rows: with
    weight in either arm; clusters: independent units."""

    control: Interval
    treatment: Interval
    difference: Interval
    relative: Interval
    rows: tuple[int, int]
    clusters: int


def effect(
    values: Floats,
    treated: Floats,
    untreated: Floats,
    *,
    clusters: Integers | None = None,
    lags: int = 0,
    alpha: float = 0.05,
) -> Effect:
    """What the treatment did. treated, untreated: for each row 1 / probability of its exposure where that was the arm's,
    else 0.

    clusters: the unit that was randomised, in order of time; rows without one are units of their own. lags: how many
    neighbouring clusters an exposure reaches across.
    """
    both = [(treated > 0.0), (untreated > 0.0)]
    counts = (int(both[1].sum()), int(both[0].sum()))
    if min(counts) == 0:
        return Effect(NOTHING, NOTHING, NOTHING, NOTHING, counts, 0)
    means, influences = [], []
    for weights in (untreated, treated):
        total = float(weights.sum())
        mean = float(weights @ values) / total
        means.append(mean)
        influences.append(weights * (values - mean) / (total / len(values)))
    codes = np.arange(len(values)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    units = int(codes.max()) + 1
    of_unit = [np.bincount(codes, one, units) / len(values) for one in influences]
    order = np.arange(units) if clusters is None else np.unique(clusters)
    critical = float(stdtrit(max(units - 2, 1), 1.0 - alpha / 2.0))

    def interval(value: float, influence: Floats) -> Interval:
        half = critical * math.sqrt(_variance(influence, order, lags))
        return Interval(value, value - half, value + half)

    difference = of_unit[1] - of_unit[0]
    if means[0] != 0.0:
        ratio = means[1] / means[0]
        relative = interval(ratio - 1.0, (of_unit[1] - ratio * of_unit[0]) / means[0])
    else:
        relative = NOTHING
    return Effect(
        interval(means[0], of_unit[0]),
        interval(means[1], of_unit[1]),
        interval(means[1] - means[0], difference),
        relative,
        counts,
        units,
    )


def _variance(influence: Floats, order: Integers, lags: int) -> float:
    """Of the sum over units. Units that are neighbours in time (by their numbers) may vary together."""
    units = len(influence)
    found = float(influence @ influence) * units / max(units - 1, 1)
    if lags:
        place = {int(name): index for index, name in enumerate(order)}
        for lag in range(1, lags + 1):
            pairs = [(index, place[name + lag]) for name, index in place.items() if name + lag in place]
            if pairs:
                left, right = np.array(pairs).T
                found += 2.0 * (1.0 - lag / (lags + 1.0)) * float(influence[left] @ influence[right])
    own = float(influence @ influence)
    return max(found, own * 0.5)


def centred(values: Floats, treated: Floats, untreated: Floats, clusters: Integers | None = None) -> Floats:
    """Independent values whose mean is the difference: of rows, or of clusters scaled to rows."""
    if not len(values):
        return values
    around = values - values.mean()
    terms: Floats = (treated - untreated) * around
    if clusters is None:
        return terms
    codes = np.unique(clusters, return_inverse=True)[1]
    units = int(codes.max()) + 1
    return np.bincount(codes, terms, units).astype(np.float64) * (units / len(values))
