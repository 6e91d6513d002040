"""First come, first served beside a run, on the same agents becoming free: what the bound by place is checked with.

Each time the run gives an agent a contact, the shadow gives that agent the first of its own queue whom it may serve. So
the two differ in nothing but the order, and a contact that the run serves later than the shadow was overtaken. A contact
that the run holds beside an idle agent has been served by the shadow, which has that agent no more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Shadow:
    """eligible (types, agents); kind, at_s, patience_s by contact (m,)."""

    def __init__(self, eligible: NDArray[np.bool_], kind: NDArray[np.int64], at_s: Floats, patience_s: Floats) -> None:
        self.eligible, self.kind = eligible, kind
        self.leaves_s = at_s + patience_s
        self.due_s = np.full(len(at_s), np.inf)
        """When the shadow served each."""
        self._queue: dict[int, None] = {}
        self._ahead = np.zeros(eligible.shape[1], np.int64)
        """How often the shadow has used an agent whom the run still has idle."""
        self._of: dict[int, int] = {}
        """By contact that rings or is served in the run: whom the shadow served instead, -1 for nobody."""

    def came(self, contact: int) -> None:
        self._queue[contact] = None

    def held(self, contact: int, idle: NDArray[np.intp], now: float) -> None:
        """The contact waits although these agents are idle: longest first."""
        for agent in idle.tolist():
            if not self._ahead[agent]:
                self._ahead[agent] += 1
                del self._queue[contact]
                self.due_s[contact] = now
                return

    def gave(self, contact: int, agent: int, now: float) -> None:
        if self._ahead[agent]:
            self._ahead[agent] -= 1
            self._of[contact] = -1
            return
        may = self.eligible[:, agent]
        for one in list(self._queue):
            if self.leaves_s[one] < now:
                del self._queue[one]
            elif may[self.kind[one]]:
                del self._queue[one]
                self.due_s[one] = now
                self._of[contact] = one
                return
        self._of[contact] = -1

    def returned(self, contact: int) -> None:
        """Nobody answered: what the shadow served with that agent is back in its place."""
        instead = self._of.pop(contact, -1)
        if instead >= 0:
            self.due_s[instead] = np.inf
            later = [one for one in self._queue if one > instead]
            self._queue[instead] = None
            for one in later:
                self._queue[one] = self._queue.pop(one)

    def late_s(self, until_s: Floats) -> Floats:
        """By contact: how much later it was answered, or hung up, than the shadow served it; 0 where it was not later."""
        return np.maximum(np.where(np.isfinite(self.due_s), until_s - self.due_s, 0.0), 0.0)
