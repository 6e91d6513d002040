"""How far the model is to be relied on: a slope, learnt from outcomes, by which its differences are shrunk.

A pair's prediction is the contact's mean over its agents plus a difference. Regressing outcomes on the differences of
the pairs that were made gives 1 for a model that is right, 1/2 where its error is as large as its signal, 0 where it
knows nothing. Differences are multiplied by the slope less one standard error, so that a useless model ends as fair
first come, first served by itself, and one that has not been proved yet is used with caution.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR_PAIRS: Final = 80.0
"""What the belief in a slope of 1 is worth at the beginning, in pairs with an ordinary difference."""
ORDINARY: Final = 0.1
"""Spread of the differences for which that is meant."""
FORGET: Final = 1.0 / 20_000.0
"""Share of what was learnt that each outcome makes forgotten: a model that gets worse is found out."""


class Reliance(NamedTuple):
    """Sums over pairs that were made: their number, differences x, outcomes less the mean y, and products."""

    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    @property
    def slope(self) -> float:
        """The slope less one standard error, within 0..1."""
        if self.n < 2.0:
            return 1.0
        prior = PRIOR_PAIRS * ORDINARY**2
        spread = max(self.xx - self.x**2 / self.n, 0.0)
        joint = self.xy - self.x * self.y / self.n
        noise = max((self.yy - self.y**2 / self.n) / self.n, 1e-12)
        # The prior and its weight are in the unit of the outcomes' noise, so that seconds and successes learn alike.
        weight = spread / noise + prior / 0.25
        slope = (joint / noise + prior / 0.25) / weight
        learnt = spread / noise / weight
        return float(min(max(slope - learnt * weight**-0.5, 0.0), 1.0))


def learnt(before: Reliance, difference: float, outcome: float) -> Reliance:
    """With one more pair: how much better than the contact's mean it was to be, and how much better it was."""
    keep = 1.0 - FORGET
    return Reliance(
        before.n * keep + 1.0,
        before.x * keep + difference,
        before.y * keep + outcome,
        before.xx * keep + difference**2,
        before.xy * keep + difference * outcome,
        before.yy * keep + outcome**2,
    )


def relied(values: Floats, mean: Floats | float, slope: float) -> Floats:
    """The values with their differences from the mean shrunk by the slope; -inf stays."""
    if slope == 1.0:
        return values
    known = values > -np.inf
    return np.asarray(np.where(known, mean + slope * (np.where(known, values, mean) - mean), values))
