"""The age guard: nobody waits much longer than under first come, first served.

A fixed limit on the wait turns into first come, first served in every overload. This one compares each contact with
itself under first come, by its place in the queue: with the same agents becoming free at the same moments, first come
would have served a contact once more later ones had been taken than earlier ones are left before it. From that moment
it is due, and has to be served within the guard. Needed for each waiting contact: how often it was passed over, and
since when it is due.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def passed_over(
    since: Floats, passed: NDArray[np.int64], taken: float, can: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """`passed` (m,) after somebody who came at `taken` was served, the contacts with `since` (m,) being left waiting.

    can (m,): whom the agent might have served instead; only they were passed over.
    """
    later = since < taken
    return passed + (later if can is None else later & can)


def became_due(since: Floats, passed: NDArray[np.int64], due_at: Floats, now: float) -> Floats:
    """`due_at` (m,): the moment from which first come would have served each contact; nan where it still would wait."""
    if not passed.any():
        return due_at
    ahead = np.empty(len(since), np.int64)
    ahead[np.argsort(since, kind="stable")] = np.arange(len(since))
    return np.where(np.isnan(due_at) & (passed > ahead), now, due_at)


def must_serve(due_at: Floats, now: float, *, free_every_s: float, guard_s: float, caution: float) -> int:
    """Position of the contact that is to be served by the next agent who can, or -1.

    Those who are due are served in the order in which they became so; the k-th needs k agents to become free, one each
    `free_every_s` on average, more slowly by `caution`. If any would come later than `guard_s` after it became due,
    were the next agent given to somebody else, the first is served now.
    """
    due = np.flatnonzero(~np.isnan(due_at))
    if not len(due):
        return -1
    due = due[np.argsort(due_at[due], kind="stable")]
    left_s = due_at[due] + guard_s - now
    needed_s = np.arange(1, len(due) + 1) * (free_every_s * caution)
    return int(due[0]) if (left_s < needed_s).any() else -1


def places(free_every_s: float, guard_s: float, caution: float) -> int:
    """How many contacts may be due at a time."""
    return int(guard_s / max(free_every_s * caution, 1e-9))


def window(since: Floats, size: int) -> NDArray[np.bool_]:
    """The `size` contacts that came first. One taken from further back would leave the others due for as long."""
    if len(since) <= size:
        return np.ones(len(since), np.bool_)
    return np.asarray(since <= np.partition(since, size - 1)[size - 1])
