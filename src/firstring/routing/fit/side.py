"""The agent's side: how gladly and how well they would take this contact now."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WISH: Final = 0.8
"""What a skill that they want to use or learn adds, in log odds. A stated weight, not a measured one; so are those below."""
LOAD: Final = 0.8
"""What being busy all the time takes away, against being as busy as all others."""
HARD: Final = 0.4
"""What each hard contact of the last hour takes away, up to HARD_MOST of them."""
HARD_MOST: Final = 3.0


def agent_side(
    mean: float,
    count: int,
    *,
    wish: Floats | None = None,
    load: Floats | None = None,
    hard: Floats | None = None,
) -> Floats:
    """The agent's own probability of a good contact. mean: the customer's side of an average pair, which an agent of whom
    nothing is known has too, so that joining the two changes nothing by itself.

    wish: -1 (does not like it) to 1 (wants to use or learn it); load: share of the time busy; hard: hard contacts of the
    last hour. Each of `count` agents.
    """
    odds = np.full(count, math.log(mean / (1.0 - mean)))
    if wish is not None:
        odds += WISH * np.clip(wish, -1.0, 1.0)
    if load is not None and count:
        odds -= LOAD * (np.clip(load, 0.0, 1.0) - float(np.clip(load, 0.0, 1.0).mean()))
    if hard is not None:
        odds -= HARD * np.clip(hard, 0.0, HARD_MOST)
    found: Floats = 1.0 / (1.0 + np.exp(-odds))
    return found


def mutual(customer: Floats, agent: Floats) -> Floats:
    """Both sides in one: the harmonic mean 2pq / (p + q), which is low where either is (Pizzato et al. 2010)."""
    total = customer + agent
    return np.divide(2.0 * customer * agent, total, out=np.zeros_like(total), where=total > 0.0)
