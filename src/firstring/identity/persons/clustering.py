"""Pairs to persons: best pairs first, and a merge only when all that is known of both groups speaks for it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")
Rows: TypeAlias = NDArray[np.int64]

NOT_SEEN: Final = -0.5
"""Log-odds of a pair of records that share no key. Little: of the pairs of one person, up to a fifth share none."""


def connected(rows: int, left: Sequence[int] | Rows, right: Sequence[int] | Rows) -> list[int]:
    """For each row the smallest row of its connected component. Union-find with path halving."""
    if len(left) > _MANY_PAIRS:
        return _connected_at_once(rows, np.asarray(left, np.int64), np.asarray(right, np.int64))
    parent = list(range(rows))
    for one, other in zip(*(side.tolist() if isinstance(side, np.ndarray) else side for side in (left, right)), strict=True):
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


def _connected_at_once(rows: int, left: NDArray[np.int64], right: NDArray[np.int64]) -> list[int]:
    """As connected: in each round every root takes the smallest root that it is paired with."""
    parent = np.arange(rows)
    while True:
        ones, others = parent[left], parent[right]
        apart = np.flatnonzero(ones != others)
        if not len(apart):
            found: list[int] = parent.tolist()
            return found
        left, right, ones, others = left[apart], right[apart], ones[apart], others[apart]
        np.minimum.at(parent, np.maximum(ones, others), np.minimum(ones, others))
        while (parent != parent[parent]).any():
            parent = parent[parent]


_MANY_PAIRS: Final = 2_000
MOST: Final = 6.0
"""Log-odds that one pair counts among several at most: what errs, errs in a pair as a whole."""
COUNTED: Final = 2.0**-20
"""What counts of log-odds is a multiple of this: so sums are exact, and the same in whatever order they are made."""
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
    likely than not and the pairs together reach the threshold (see joins). A pair counts MOST at most, for or against, and
    NOT_SEEN where it is not known. So one likely pair does not join what the others hold apart. Ties go by row numbers.
    """
    return clusters_by_rules(root, pairs, threshold, NO_RULES)[0]


def clusters_by_rules(
    root: NDArray[np.int32], pairs: Pairs, threshold: float, rules: Rules
) -> tuple[NDArray[np.int32], list[Held]]:
    """As clusters, with rules (no must-links), and what they hold apart.

    rules.content: of the rows of components of `most` pairs or more; others hold fewer rows.
    """
    left, right, log_odds = pairs
    person = root.copy()
    held: list[Held] = []
    order = np.lexsort((right, left, root[left]))
    order = order[root[left[order]] == root[right[order]]]
    owners = root[left[order]]
    starts = np.flatnonzero(np.append(True, owners[1:] != owners[:-1])).tolist() if len(owners) else []
    barred: dict[int, dict[tuple[int, int], str]] = {}
    for pair, code in rules.barred.items():
        barred.setdefault(int(root[pair[0]]), {})[pair] = code
    for start, end in zip(starts, [*starts[1:], len(order)], strict=bool(starts)):
        part = order[start:end]
        known = list(zip(left[part].tolist(), right[part].tolist(), log_odds[part].tolist(), strict=True))
        content: dict[int, Hashable] = {}
        if rules.content and len(known) >= rules.most:  # fewer pairs join fewer rows
            content = {row: rules.content[row] for pair in known for row in pair[:2]}
        found = grouped(known, threshold, Rules((), barred.get(int(owners[start]), {}), content, rules.most))
        held += found.held
        for row, first in found.person.items():
            person[row] = first
    return person, sorted(held)


class Rules(NamedTuple):
    """What else decides which groups join.

    must: pairs of rows that are one group from the start. barred: pairs of rows (left < right) whose groups never join,
    with the code of why ("" where nobody needs to be told). content: row -> what it holds; a group holds at most `most`
    different contents.
    """

    must: Sequence[tuple[int, int]] = ()
    barred: Mapping[tuple[int, int], str] = {}
    content: Mapping[int, Hashable] = {}
    most: int = 1 << 62


NO_RULES: Final = Rules()
TOO_MANY: Final = "too_many"


class Held(NamedTuple):
    """Groups, by their smallest rows, that would be one but for a rule: its code, and their best pair's log-odds."""

    left: int
    right: int
    code: str
    log_odds: float


class Groups(NamedTuple):
    """person: row -> smallest row of its person."""

    person: dict[int, int]
    held: list[Held]


def grouped(pairs: Sequence[tuple[int, int, float]], threshold: float, rules: Rules) -> Groups:
    """The persons of one component, given the pairs (left < right, log-odds) known in it, and the rules.

    A function of the pairs and rules as sets. Held are the pairs of final groups that a rule with a code keeps apart.
    """
    return _Agglomeration(pairs, threshold, rules).run()


class _Agglomeration:
    def __init__(self, pairs: Sequence[tuple[int, int, float]], threshold: float, rules: Rules) -> None:
        self._threshold = threshold
        self._most = rules.most
        self._members: dict[int, list[int]] = {}
        self._between: dict[int, dict[int, Between]] = {}
        self._barred: dict[int, dict[int, str]] = {}
        self._contents: dict[int, set[Hashable]] = {}
        self._heap: list[tuple[float, int, int]] = []
        self._latest = (-math.inf, 0, 0)
        """The last turn, in order, of any pair that was looked at: later ones still stand in the heap."""
        self._least = min(LIKELY, threshold)
        """Log-odds of the best pair below which two groups never join."""
        group_of = self._start(pairs, rules)
        for row, group in group_of.items():
            self._members.setdefault(group, []).append(row)
            if rules.content:
                self._contents.setdefault(group, set()).add(rules.content[row])
        for left, right, odds in pairs:
            one, other = group_of[left], group_of[right]
            if one != other:
                known = Between(odds, round(min(max(odds, -MOST), MOST) / COUNTED) * COUNTED, 1)
                self._put(self._between, one, other, known, Between.with_)
        for (left, right), code in rules.barred.items():
            one, other = group_of.get(left, -1), group_of.get(right, -1)
            if one != other and one >= 0 and other >= 0:
                self._put(self._barred, one, other, code, min)

    def _start(self, pairs: Sequence[tuple[int, int, float]], rules: Rules) -> dict[int, int]:
        """Row -> the smallest row that must be of its person."""
        rows = sorted(
            {row for left, right, _ in pairs for row in (left, right)} | {row for pair in rules.must for row in pair}
        )
        if not rules.must:
            return {row: row for row in rows}
        place = {row: number for number, row in enumerate(rows)}
        roots = connected(len(rows), [place[one] for one, _ in rules.must], [place[other] for _, other in rules.must])
        return {row: rows[root] for row, root in zip(rows, roots, strict=True)}

    @staticmethod
    def _put(table: dict[int, dict[int, _T]], one: int, other: int, value: _T, joined: Callable[[_T, _T], _T]) -> None:
        mine = table.setdefault(one, {})
        before = mine.get(other)
        value = value if before is None else joined(before, value)
        mine[other] = value
        table.setdefault(other, {})[one] = value

    def run(self) -> Groups:
        """Joins best pairs first.

        Every pair of groups that might join is in the heap by its best pair, and looked at when its turn comes. One that
        did not join then is offered anew when a merge brings pairs to it; a merge that brings none only adds records
        without a known pair, which never speaks for joining.
        """
        self._heap = [
            (-known.best, one, other)
            for one, others in self._between.items()
            for other, known in others.items()
            if one < other and known.best >= self._least
        ]
        heapq.heapify(self._heap)
        while self._heap:
            best, one, other = turn = heapq.heappop(self._heap)
            self._latest = max(self._latest, turn)
            held = self._between.get(one, {}).get(other)
            if held is None or -best != held.best:
                continue  # one of the groups is no more, or they have a better pair since
            if self._wants(one, other, held) and self._bar(one, other) is None:
                self._join(one, other)
        person = {row: group for group, rows in self._members.items() for row in rows}
        return Groups(person, sorted(self._held()))

    def _wants(self, one: int, other: int, known: Between) -> bool:
        """Whether two groups would join but for rules."""
        ones, others = len(self._members[one]), len(self._members[other])
        total = known.total + NOT_SEEN * (ones * others - known.pairs)
        return joins(known.best, total, self._threshold, min(ones, others))

    def _bar(self, one: int, other: int) -> str | None:
        """The code of the rule that keeps two groups apart; None where none does."""
        code = self._barred.get(one, {}).get(other)
        if code is None and self._contents:
            ones, others = self._contents[one], self._contents[other]
            if len(ones) + len(others) > self._most and len(ones | others) > self._most:
                return TOO_MANY
        return code

    def _join(self, one: int, other: int) -> None:
        """Makes two groups one."""
        self._members[one] += self._members.pop(other)
        if self._contents:
            self._contents[one] |= self._contents.pop(other)
        self._barred_joined(one, other)
        gone, mine = self._between.pop(other), self._between[one]
        del mine[other], gone[one]
        for third, theirs in gone.items():
            before = mine.get(third)
            known = theirs if before is None else theirs.with_(before)
            mine[third] = known
            thirds = self._between[third]
            del thirds[other]
            thirds[one] = known
            if known.best >= self._least:
                offer = (-known.best, one, third) if one < third else (-known.best, third, one)
                if before is None or before.best != known.best or offer <= self._latest:
                    heapq.heappush(self._heap, offer)

    def _barred_joined(self, one: int, other: int) -> None:
        for third, code in self._barred.pop(other, {}).items():
            del self._barred[third][other]
            self._put(self._barred, one, third, code, min)

    def _held(self) -> Iterator[Held]:
        for one, others in self._between.items():
            for other, known in others.items():
                if one < other and self._wants(one, other, known):
                    code = self._bar(one, other)
                    if code:
                        yield Held(one, other, code, known.best)


def joins(best: float, total: float, threshold: float, smaller: int) -> bool:
    """Whether two groups become one: by their best pair that nothing speaks against, or by all pairs together.

    smaller: how many records the smaller group has. So often its pairs say the same again: two records each of two twins
    make four pairs, and are no more evidence than two.
    """
    together = threshold * smaller if threshold > 0 else threshold
    return (best >= threshold and total >= 0.0) or (best >= LIKELY and total >= together)
