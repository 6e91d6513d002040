"""Pairs to persons: best pairs first, and a merge only when all that is known of both groups speaks for it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

NOT_SEEN: Final = -0.5
"""Log-odds of a pair of records that share no key. Little: of the pairs of one person, up to a fifth share none."""


def connected(rows: int, left: Sequence[int], right: Sequence[int]) -> list[int]:
    """For each row the smallest row of its connected component. Union-find with path halving."""
    parent = list(range(rows))
    for one, other in zip(left, right, strict=True):
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        while parent[other] != other:
            parent[other] = parent[parent[other]]
            other = parent[other]
        if one < other:
            parent[other] = one
        elif other < one:
            parent[one] = other
    for row in range(rows):
        parent[row] = parent[parent[row]]  # parents are smaller, so theirs is final already
    return parent


MOST: Final = 6.0
"""Log-odds that one pair counts among several at most: what errs, errs in a pair as a whole."""
LIKELY: Final = 0.0
"""Log-odds from which on a pair may join groups together with others."""

Pairs: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]
"""(left, right, log-odds)."""


class Between(NamedTuple):
    """What is known of the pairs between two groups: the best, the sum of all as they count, how many."""

    best: float
    total: float
    pairs: int

    def with_(self, other: Between) -> Between:
        return Between(max(self.best, other.best), self.total + other.total, self.pairs + other.pairs)


def components(rows: int, pairs: Pairs, threshold: float) -> NDArray[np.int32]:
    """For each row the smallest row that it is joined to by pairs at or above `threshold`."""
    left, right, log_odds = pairs
    strong = log_odds >= threshold
    return np.array(connected(rows, left[strong].tolist(), right[strong].tolist()), np.int32)


def clusters(root: NDArray[np.int32], pairs: Pairs, threshold: float) -> NDArray[np.int32]:
    """For each row the smallest row of its person, given components by LIKELY pairs and all pairs known within them.

    Components are built up again, best pair first. Two groups become one when their best pair reaches the threshold and
    the pairs between them do not speak against it (their log-odds add up to 0 at least), or when their best pair is more
    likely than not and the pairs together reach the threshold. A pair counts MOST at most, for or against, and NOT_SEEN
    where it is not known. So one likely pair does not join what the others hold apart. Ties go by row numbers.
    """
    left, right, log_odds = pairs
    person = root.copy()
    order = np.lexsort((right, left, root[left]))
    order = order[root[left[order]] == root[right[order]]]
    owners = root[left[order]]
    starts = np.flatnonzero(np.append(True, owners[1:] != owners[:-1])).tolist() if len(owners) else []
    for start, end in zip(starts, [*starts[1:], len(order)], strict=bool(starts)):
        part = order[start:end]
        known = list(zip(left[part].tolist(), right[part].tolist(), log_odds[part].tolist(), strict=True))
        for row, first in agglomerated(known, threshold).items():
            person[row] = first
    return person


def agglomerated(pairs: Sequence[tuple[int, int, float]], threshold: float) -> dict[int, int]:
    """Row -> smallest row of its person, for the pairs (left < right, log-odds) of one component."""
    between: dict[int, dict[int, Between]] = {}
    members: dict[int, list[int]] = {}
    heap: list[tuple[float, int, int, float]] = []

    def offer(one: int, other: int, known: Between) -> None:
        total = known.total + NOT_SEEN * (len(members[one]) * len(members[other]) - known.pairs)
        if joins(known.best, total, threshold):
            heapq.heappush(heap, (-known.best, min(one, other), max(one, other), -total))

    for left, right, odds in pairs:
        known = Between(odds, min(max(odds, -MOST), MOST), 1)
        between.setdefault(left, {})[right] = known
        between.setdefault(right, {})[left] = known
        members.setdefault(left, [left])
        members.setdefault(right, [right])
    for left, right, _ in pairs:
        offer(left, right, between[left][right])
    while heap:
        best, one, other, total = heapq.heappop(heap)
        held = between.get(one, {}).get(other)
        if held is None:
            continue  # one of the groups is no more
        unknown = len(members[one]) * len(members[other]) - held.pairs
        if (-best, -total) != (held.best, held.total + NOT_SEEN * unknown):
            continue  # the groups have grown since: they were offered anew
        members[one] += members.pop(other)
        gone, mine = between.pop(other), between[one]
        del mine[other], gone[one]
        for third, theirs in gone.items():
            before = mine.get(third)
            mine[third] = theirs.with_(before) if before else theirs
        for third, known in mine.items():
            between[third].pop(other, None)
            between[third][one] = known
            offer(one, third, known)
    return {row: min(rows) for rows in members.values() for row in rows}


def joins(best: float, total: float, threshold: float) -> bool:
    """Whether two groups become one: by their best pair that nothing speaks against, or by all pairs together."""
    return (best >= threshold and total >= 0.0) or (best >= LIKELY and total >= threshold)
