"""How much of what was possible routing reached: the live share of the gap between first come and the clairvoyant bound.

All in expected success by the model of who fits: of the agents who were chosen; of any agent who was there, in proportion to
their time (what first come, longest idle reaches); and the most that the same contacts and the same time could have brought
(the bound of the linear program, which knows every contact beforehand and makes nobody wait for nothing; nobody reaches it).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstring.contact import Value
from firstring.routing.pick.prices import agent_prices

Floats = NDArray[np.float64]
_NOTHING = 1e-9


class Regret(Value, frozen=True):
    """A period. contacts: offered; served: by an agent; chosen, first_come, bound: expected successes; share: of the gap
    between first_come and bound that was reached (None where there is none: no model, or agents who are all alike); lost:
    expected successes that the bound has and the chosen agents have not."""

    contacts: int
    served: int
    agents: int
    chosen: float
    first_come: float
    bound: float
    share: float | None
    lost: float
    basis: str
    model: str = ""


def regret(p: Floats, h: Floats, served: Floats, lost: Floats, time_s: Floats, *, basis: str, model: str = "") -> Regret:
    """Out of c kinds of contact and n agents. p, h (c, n): expected success (-inf: may not serve) and seconds; served (c,
    n): how many of a kind each agent had; lost (c,): how many nobody had; time_s (n,): seconds signed in.

    Time that agents worked beyond what is known of their time is added to it: nobody worked in time that was not there.
    """
    may = np.isfinite(p)
    counts = served.sum(axis=1)
    worked_s = (served * np.where(may, h, 0.0)).sum(axis=0)
    time_s = np.maximum(time_s, worked_s)
    used = np.where(served > 0.0, np.where(may, p, 0.0), 0.0)
    chosen = float((served * used).sum())
    weights = np.where(may, time_s[np.newaxis, :], 0.0)
    total = weights.sum(axis=1)
    mean = np.divide((weights * np.where(may, p, 0.0)).sum(axis=1), total, out=np.zeros(len(p)), where=total > 0.0)
    first_come = float(counts @ mean)
    possible = may.any(axis=1)
    offered = counts + lost
    bound = 0.0
    if possible.any() and len(time_s):
        found = agent_prices(p[possible], h[possible], offered[possible], time_s)
        bound = max(float(found.bound), chosen)
    gap = bound - first_come
    return Regret(
        contacts=round(float(offered.sum())),
        served=round(float(counts.sum())),
        agents=len(time_s),
        chosen=chosen,
        first_come=first_come,
        bound=bound,
        share=(chosen - first_come) / gap if basis == "fitted" and gap > max(_NOTHING, 1e-6 * bound) else None,
        lost=bound - chosen,
        basis=basis,
        model=model,
    )
