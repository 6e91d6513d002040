"""Pairs to persons: best pairs first, and a merge only when all that is known of both groups speaks for it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final, TypeAlias

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


Pairs: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]
"""(left, right, log-odds)."""


def components(rows: int, pairs: Pairs, threshold: float) -> NDArray[np.int32]:
    """For each row the smallest row that it is joined to by pairs at or above `threshold`."""
    left, right, log_odds = pairs
    strong = log_odds >= threshold
    return np.array(connected(rows, left[strong].tolist(), right[strong].tolist()), np.int32)


def clusters(root: NDArray[np.int32], pairs: Pairs, threshold: float) -> NDArray[np.int32]:
    """For each row the smallest row of its person, given its component and all pairs known within components.

    Components of three records and more are built up again, best pair first: two groups become one when their best pair
    reaches the threshold, and the log-odds of all pairs between them do not add up to less than 0. A pair that is not
    known counts NOT_SEEN. So one likely pair does not join groups that the others hold apart. Ties go by row numbers.
    """
    left, right, log_odds = pairs
    person = root.copy()
    order = np.lexsort((right, left, root[left]))
    owners = root[left[order]]
    starts = np.flatnonzero(np.append(True, owners[1:] != owners[:-1])).tolist() if len(owners) else []
    for start, end in zip(starts, [*starts[1:], len(order)], strict=bool(starts)):
        part = order[start:end]
        known = list(zip(left[part].tolist(), right[part].tolist(), log_odds[part].tolist(), strict=True))
        for row, first in agglomerated(known, threshold).items():
            person[row] = first
    return person


def agglomerated(pairs: Sequence[tuple[int, int, float]], threshold: float) -> dict[int, int]:
    """Row -> smallest row of its person, for the pairs (left, right, log-odds) of one component."""
    between: dict[int, dict[int, tuple[float, float, int]]] = {}
    members: dict[int, list[int]] = {}
    heap: list[tuple[float, int, int]] = []
    for left, right, odds in pairs:
        for one, other in ((left, right), (right, left)):
            between.setdefault(one, {})[other] = (odds, odds, 1)
            members.setdefault(one, [one])
        heap.append((-odds, min(left, right), max(left, right)))
    heapq.heapify(heap)
    while heap:
        best, one, other = heapq.heappop(heap)
        if -best < threshold:
            break
        known = between.get(one, {}).get(other)
        if known is None or known[0] != -best:
            continue  # one of the groups is no more, or the two have a better pair now
        unknown = len(members[one]) * len(members[other]) - known[2]
        if known[1] + NOT_SEEN * unknown < 0:
            continue
        members[one] += members.pop(other)
        gone = between.pop(other)
        mine = between[one]
        mine.pop(other, None)
        gone.pop(one, None)
        for third, (top, total, count) in gone.items():
            held = mine.get(third)
            joined = (max(top, held[0]), total + held[1], count + held[2]) if held else (top, total, count)
            mine[third] = joined
        for third, joined in mine.items():
            theirs = between[third]
            theirs.pop(other, None)
            theirs[one] = joined
            # Pushed anew even when its best pair is the same: with other members the sum may have turned.
            heapq.heappush(heap, (-joined[0], min(one, third), max(one, third)))
    return {row: min(rows) for rows in members.values() for row in rows}
