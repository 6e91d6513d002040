"""The age guard: nobody waits much longer than under first come, first served.

A fixed limit on the wait turns into first come, first served in every overload. This one compares each contact with
itself under first come, by its place: with the same agents becoming free at the same moments, first come would have given
each of them the first in its own order whom the agent may serve. A contact that first come would have served already is due,
and has to be served within the guard. One that was served before its turn is a ghost: first come would still have it wait,
and gives it an agent when its turn comes. Needed for each contact that waits is since when it is due; and the ghosts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def whose_turn(since: Floats, due_at: Floats, ghosts: Floats) -> int:
    """Position of the waiting contact (m,) that first come would give to an agent now, or -1: a ghost's turn, or nobody's.

    All of them contacts that the agent may serve. ghosts (g,): `since` of those who were served although first come would
    still have them wait; whoever is due has been served by first come already.
    """
    left = np.flatnonzero(np.isnan(due_at))
    if not len(left):
        return -1
    first = int(left[since[left].argmin()])
    return first if not len(ghosts) or since[first] <= ghosts.min() else -1


def must_serve(
    due_at: Floats, now: float, *, free_every_s: Floats | float, guard_s: float, caution: float, turn: int = -1
) -> int:
    """Position of the contact that is to be served by the next agent who can, or -1.

    Those who are due are served in the order in which they became so; the k-th needs k agents to become free, one each
    `free_every_s` on average (of those who may serve it: one number, or (m,)), more slowly by `caution`. If any would come
    later than `guard_s` after it became due, were the next agent given to somebody else, the first is served now. turn:
    whose turn it is (`whose_turn`), who becomes due by being passed over: where agents become free too seldom, nobody is.
    """
    due = np.flatnonzero(~np.isnan(due_at))
    due = due[np.argsort(due_at[due], kind="stable")]
    left_s = due_at[due] + guard_s - now
    if turn >= 0:
        due, left_s = np.append(due, turn), np.append(left_s, guard_s)
    if not len(due):
        return -1
    every_s = np.broadcast_to(np.asarray(free_every_s, np.float64), due_at.shape)[due]
    needed_s = np.arange(1, len(due) + 1) * (every_s * caution)
    return int(due[0]) if (left_s < needed_s).any() else -1


def lateness(due_at: Floats, now: float, *, free_every_s: Floats | float, guard_s: float, turn: int = -1) -> Floats:
    """How many contacts are to be expected late, beyond the guard, for each contact (m,) that the agent might take now.

    The k-th of those who are due then is late where fewer than k agents become free in the time that it has left: a Poisson
    probability. Whoever is taken is not late any more; whose turn it is (`whose_turn`) is due unless it is taken.
    """
    from scipy.special import pdtr

    count = len(due_at)
    every_s = np.maximum(np.broadcast_to(np.asarray(free_every_s, np.float64), (count,)), 1e-9)
    due = np.flatnonzero(~np.isnan(due_at))
    due = due[np.argsort(due_at[due], kind="stable")]
    if turn >= 0:
        due = np.append(due, turn)
    if not len(due):
        return np.zeros(count)
    left_s = np.where(np.isnan(due_at[due]), guard_s, np.maximum(due_at[due] + guard_s - now, 0.0))
    mean = left_s / every_s[due]
    behind = pdtr(np.arange(len(due)), mean)
    ahead = np.append(0.0, pdtr(np.arange(len(due) - 1), mean[1:])) if len(due) > 1 else np.zeros(1)
    # Without the q-th those before it keep their place and those behind it move up by one.
    before, after = np.concatenate([[0.0], np.cumsum(behind)]), np.cumsum(ahead[::-1])[::-1]
    late = np.full(count, float(behind.sum()))
    late[due] = before[:-1] + np.append(after[1:], 0.0)
    return late


def places(free_every_s: float, guard_s: float, caution: float) -> int:
    """How many contacts may be due at a time."""
    return int(guard_s / max(free_every_s * caution, 1e-9))
