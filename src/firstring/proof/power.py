"""How many contacts a trial needs: by the power to see an effect (Cohen 1988; two-sided test of two means)."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final, NamedTuple

from firstring.errors import BadInput

ALPHA: Final = 0.05
POWER: Final = 0.8


class Size(NamedTuple):
    """rows of both arms together, and of each; design: by how much rows that are alike in a cluster inflate it."""

    rows: int
    control: int
    treatment: int
    design: float


def needed(
    variance: float,
    effect: float,
    *,
    share: float = 0.5,
    alpha: float = ALPHA,
    power: float = POWER,
    cluster: float = 1.0,
    correlation: float = 0.0,
) -> Size:
    """Rows that show a difference of `effect` between two means with probability `power`.

    variance: of a row; share: of the rows in the treatment; cluster: rows of a cluster that has one arm; correlation: of two
    rows of one cluster. Raises BadInput plan_invalid for what cannot be planned.
    """
    for name, value, low, high in (
        ("share", share, 0.0, 1.0), ("alpha", alpha, 0.0, 1.0), ("power", power, 0.0, 1.0),
        ("variance", variance, 0.0, math.inf),
    ):  # fmt: skip
        if not low < value < high:
            raise _invalid(name, f"{name} lies between {low:g} and {high:g}, these two excluded.")
    if not (math.isfinite(effect) and effect != 0.0):
        raise _invalid("detect", "The effect to be seen is a number other than 0.")
    z = NormalDist().inv_cdf(1.0 - alpha / 2.0) + NormalDist().inv_cdf(power)
    design = 1.0 + max(0.0, cluster - 1.0) * min(max(correlation, 0.0), 1.0)
    rows = z * z * variance * (1.0 / share + 1.0 / (1.0 - share)) / effect**2 * design
    treatment = math.ceil(rows * share)
    control = math.ceil(rows * (1.0 - share))
    return Size(control + treatment, control, treatment, design)


def _invalid(field: str, message: str) -> BadInput:
    return BadInput("plan_invalid", message, where={"field": field})
