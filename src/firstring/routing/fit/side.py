"""The agent's side: how gladly and how well they would take this contact now."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

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
_WORTH_SAYING: Final = 0.05


def agent_side(
    mean: float,
    count: int,
    *,
    wish: Floats | None = None,
    load: Floats | None = None,
    usual: float | None = None,
    hard: Floats | None = None,
) -> Floats:
    """The agent's own probability of a good contact. mean: the customer's side of an average pair, which an agent of whom
    nothing is known has too, so that joining the two changes nothing by itself.

    wish: -1 (does not like it) to 1 (wants to use or learn it); load: share of the time busy, against `usual` (None: the
    mean of these agents); hard: hard contacts of the last hour. Each of `count` agents.
    """
    odds = np.full(count, math.log(mean / (1.0 - mean)))
    if wish is not None:
        odds += WISH * np.clip(wish, -1.0, 1.0)
    if load is not None and count:
        shares = np.clip(load, 0.0, 1.0)
        odds -= LOAD * (shares - (float(shares.mean()) if usual is None else usual))
    if hard is not None:
        odds -= HARD * np.clip(hard, 0.0, HARD_MOST)
    found: Floats = 1.0 / (1.0 + np.exp(-odds))
    return found


def joined(customer: Floats, agent: Floats, neutral: float) -> Floats:
    """The customer's side, changed by what the agent's own side changes of the harmonic mean of both. An agent of whom
    nothing is known (neutral) leaves it as it is: prices are found by the customer's side, and stay true to it."""
    found: Floats = customer + mutual(customer, agent) - mutual(customer, np.full(len(customer), neutral))
    return found


def said(wish: float, load: float | None, usual: float, hard: float) -> str:
    """An agent's side in words; "" where there is nothing to say."""
    parts = []
    if wish > 0.0:
        parts.append("wants to use or to learn what it takes")
    if load is not None and abs(load - usual) >= _WORTH_SAYING:
        parts.append(f"busy for {load:.0%} of the last half hour, all for {usual:.0%}")
    if hard > 0.0:
        parts.append(f"{hard:.0f} hard contact{'' if hard == 1.0 else 's'} within the hour")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


class AgentsSide(NamedTuple):
    """What is known of n agents' own side: what they wish for, how busy they are (None: not known) against all, hard
    contacts they had."""

    wish: Floats
    load: Floats | None
    usual: float
    hard: Floats

    @property
    def neutral(self) -> bool:
        return self.load is None and not self.wish.any() and not self.hard.any()

    def chances(self, mean: float) -> Floats:
        """The agents' own probability of a good contact, `mean` where nothing is known."""
        return agent_side(mean, len(self.wish), wish=self.wish, load=self.load, usual=self.usual, hard=self.hard)

    def said(self, place: int) -> str:
        """One agent's side in words; "" where there is nothing to say."""
        load = None if self.load is None else float(self.load[place])
        return said(float(self.wish[place]), load, self.usual, float(self.hard[place]))


def mutual(customer: Floats, agent: Floats) -> Floats:
    """Both sides in one: the harmonic mean 2pq / (p + q), which is low where either is (Pizzato et al. 2010)."""
    total = customer + agent
    return np.divide(2.0 * customer * agent, total, out=np.zeros_like(total), where=total > 0.0)
