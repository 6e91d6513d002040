"""Bounds of a mean that may be looked at any time: they hold at all moments together with probability 1 - alpha.

The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Annals of Statistics, 2024; Theorem
2.2). So guard rails are looked at every minute, and a trial without harm is not stopped by looking often.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ALPHA: Final = 0.05
FEW: Final = 30
"""Before so many units nothing is said: the bounds are asymptotic."""


def bounds(values: Floats, *, planned: int, alpha: float = ALPHA) -> tuple[float, float]:
    """(low, high) for the mean of independent values, at any number of them; widest-to-narrowest tuned for `planned`."""
    count = len(values)
    if count < FEW:
        return -math.inf, math.inf
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    half = deviation * half_width(count, planned=planned, alpha=alpha)
    return mean - half, mean + half


def half_width(count: int, *, planned: int, alpha: float = ALPHA) -> float:
    """Half the width after `count` values of deviation one."""
    log = -2.0 * math.log(alpha)
    rho2 = (log + math.log(log + 1.0)) / max(planned, FEW)
    grown = count * rho2 + 1.0
    return math.sqrt(2.0 * grown / (count**2 * rho2) * math.log(math.sqrt(grown) / alpha))
