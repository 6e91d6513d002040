"""Token buckets: how many events a write key and a client may send. Pure: the time is given."""

from __future__ import annotations

import math
from collections import OrderedDict


class Buckets:
    """One bucket for each name, filled by `per_s`, holding at most `most`; the least recently used are forgotten.

    A bucket that is forgotten is full when it is asked for again, so `names` bounds memory, not fairness.
    """

    def __init__(self, per_s: float, most: float, *, names: int) -> None:
        assert min(per_s, most, names) > 0, "a bucket lets something through"
        self.per_s = per_s
        self.most = most
        self._names = names
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, count: int, now_s: float) -> float:
        """0.0 and takes `count`, or the seconds after which there is enough and takes nothing.

        A call for more than a bucket ever holds is let through when it is full, and leaves a debt.
        """
        level, at_s = self._held.pop(name, (self.most, now_s))
        level = min(self.most, level + max(0.0, now_s - at_s) * self.per_s)
        needed = min(float(count), self.most)
        wait_s = 0.0 if level >= needed else (needed - level) / self.per_s
        self._held[name] = (level - count if wait_s == 0.0 else level, now_s)
        if len(self._held) > self._names:
            self._held.popitem(last=False)
        return wait_s


def retry_after(wait_s: float) -> int:
    """Whole seconds, for the header Retry-After."""
    return max(1, math.ceil(wait_s))
