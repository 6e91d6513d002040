"""`clustering.grouped` for a component in which most records know one another: the same groups, by matrices.

A dictionary of pairs costs time by the pair, a matrix by the group and merge. Which one is used never shows: merges are
the same, in the same order, and sums are exact (`clustering.COUNTED`).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firstring.identity.persons.clustering import (
    COUNTED,
    LIKELY,
    MOST,
    NOT_SEEN,
    TOO_MANY,
    Groups,
    Held,
    Rules,
    connected,
    joins,
)

Rows: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

_BEST, _TOTAL, _PAIRS = range(3)
_ROWS_MOST: Final = 2_000
"""Of a matrix: 32 bytes for each pair of rows, 128 MB."""
DENSE_PAIRS: Final = 90
"""No component of fewer pairs is dense."""
_NEVER: Final = -np.inf
_LOOKS_OF_A_ROW: Final = 20
_AT_ONCE: Final = 4_096
"""Pairs that are looked through at once for those that are of two groups still."""


def is_dense(left: Rows, right: Rows) -> bool:
    """Whether matrices are the faster way: a pair costs 8 microseconds or so otherwise, a merge of two groups here 50."""
    rows = int(_named(left, right).sum())
    return rows <= _ROWS_MOST and len(left) > 6 * rows + rows * rows // 400


def grouped_densely(left: Rows, right: Rows, log_odds: Floats, threshold: float, rules: Rules) -> Groups:
    """As clustering.grouped; each pair once, left < right."""
    named = _named(left, right, np.array(rules.must, np.int64).reshape(-1))
    rows, place = np.flatnonzero(named), np.cumsum(named) - 1
    places = place[left], place[right]
    found = _Descent(rows, places, log_odds, threshold, rules).run()
    return found or _Matrices(rows, places, log_odds, threshold, rules).run()


def _named(*rows: Rows) -> NDArray[np.bool_]:
    """By row, up to the last, whether it is among these."""
    found = np.zeros(1 + max((int(some.max()) for some in rows if len(some)), default=-1), np.bool_)
    for some in rows:
        found[some] = True
    return found


def _parted(what: Rows, begins: Rows) -> list[Rows]:
    """What np.split returns, where the first part begins at 0; that takes 10 microseconds a part."""
    starts = begins.tolist()
    return [what[start:end] for start, end in zip(starts, [*starts[1:], len(what)], strict=bool(starts))]


def _counted(log_odds: Floats) -> Floats:
    return np.asarray(np.rint(np.clip(log_odds, -MOST, MOST) / COUNTED) * COUNTED)


class _Descent:
    """Looks at pairs from the best one down, and sums up what is known of two groups when their turn comes.

    That is quick where most pairs speak for one person: nearly every look joins two groups, and most pairs are never looked
    at, because their groups are one already. Where many looks come to nothing it gives up.

    Groups are known by the place of their smallest row. totals: of a group's place, what is known between the group and each
    row, the unknown counted too.
    """

    def __init__(self, rows: Rows, pairs: tuple[Rows, Rows], log_odds: Floats, threshold: float, rules: Rules) -> None:
        size = len(rows)
        self._rows = rows
        self._pairs = pairs
        self._log_odds = log_odds
        self._threshold = threshold
        self._most = rules.most
        self._totals = np.full((size, size), NOT_SEEN)
        self._totals[pairs] = self._totals[pairs[::-1]] = _counted(log_odds)
        self._of = np.arange(size)
        self._members: dict[int, list[int]] = {place: [place] for place in range(size)}
        self._offered: dict[int, dict[int, float]] = {}
        """Of pairs of groups that were looked at, or are in the heap, the best log-odds."""
        self._refused: dict[int, set[int]] = {}
        """With whom a group did not join when it was looked at; some that are no more among them."""
        self._heap: list[tuple[float, int, int]] = []
        self._level: dict[int, Rows] = {}
        """Of the level that is looked at, the rows that each row is paired with; those of groups whose turn is to come."""
        self._best = 0.0
        self._known_to = -1
        self._known = np.zeros(size, np.bool_)
        """The group whose pairs were offered last, and those that it has been offered with."""
        self._looks = _LOOKS_OF_A_ROW * size + 1_000
        self._contents: dict[int, set[object]] = {}
        if rules.content:
            self._contents = {place: {rules.content[row]} for place, row in enumerate(rows.tolist())}
        place = {row: number for number, row in enumerate(rows.tolist())}
        self._barred: dict[int, dict[int, str]] = {}
        for (one, other), code in rules.barred.items():
            if one in place and other in place:
                self._bar(place[one], place[other], code)
        for one, other in rules.must:
            ones, others = int(self._of[place[one]]), int(self._of[place[other]])
            if ones != others:
                self._join(min(ones, others), max(ones, others))

    def run(self) -> Groups | None:
        """None where it is not the quick way."""
        order = np.argsort(-self._log_odds, kind="stable")
        order = order[: int((self._log_odds >= min(LIKELY, self._threshold)).sum())]
        left, right, falling = self._pairs[0][order], self._pairs[1][order], -self._log_odds[order]
        start = 0
        while start < len(order) and len(self._members) > 1:
            end = int(np.searchsorted(falling, falling[min(start + _AT_ONCE, len(order)) - 1], side="right"))
            apart = start + np.flatnonzero(self._of[left[start:end]] != self._of[right[start:end]])
            begins = np.flatnonzero(np.append(True, np.diff(falling[apart]) > 0)) if len(apart) else apart
            for level in _parted(apart, begins):
                if len(level) and not self._descend(left[level], right[level], -float(falling[level[0]])):
                    return None
            start = end
        return self._groups()

    def _descend(self, left: Rows, right: Rows, best: float) -> bool:
        """Looks at the pairs of one level, by groups from the first on; whether it was worth the while.

        Pairs of a group are offered when its turn comes, or when it joins one whose turn it is: most never are.
        """
        self._best = best
        ones, others = np.concatenate((left, right)), np.concatenate((right, left))
        small = len(self._of) <= np.iinfo(np.int16).max  # such numbers are sorted by their digits
        order = np.argsort(ones.astype(np.int16) if small else ones, kind="stable")
        ones = ones[order]
        begins = np.flatnonzero(np.append(True, ones[1:] != ones[:-1]))
        rows = ones[begins]
        self._level = dict(zip(rows.tolist(), _parted(others[order], begins), strict=True))
        for group in np.unique(self._of[rows]).tolist():
            if self._of[group] == group:
                self._offer(group, self._members[group])
                if not self._look():
                    return False
        return True

    def _offer(self, group: int, rows: Sequence[int]) -> None:
        """Puts into the heap the pairs of this level that a group has by some of its rows."""
        if not self._level:
            return
        mine = self._offered.setdefault(group, {})
        if self._known_to != group:
            self._known_to = group
            self._known[:] = False
            self._known[[group, *mine]] = True
        for row in rows:
            others = self._level.pop(row, None)
            if others is None:
                continue
            thirds = self._of[others]
            for third in thirds[~self._known[thirds]].tolist():
                if third not in mine:
                    self._known[third] = True
                    mine[third] = self._offered.setdefault(third, {})[group] = self._best
                    heapq.heappush(self._heap, (-self._best, min(group, third), max(group, third)))

    def _look(self) -> bool:
        """Joins what is in the heap and may join, the first first; whether it was worth the while."""
        while self._heap:
            best, one, other = heapq.heappop(self._heap)
            if self._offered.get(one, {}).get(other) != -best:
                continue  # one of them is no more
            self._looks -= 1
            if self._looks < 0:
                return False
            if self._wants(one, other, -best) and self._held_by(one, other) is None:
                self._join(one, other)
            else:
                self._refused.setdefault(one, set()).add(other)
                self._refused.setdefault(other, set()).add(one)
        return True

    def _wants(self, one: int, other: int, best: float) -> bool:
        ones, others = self._members[one], self._members[other]
        total = self._totals[one, others] if len(others) <= len(ones) else self._totals[other, ones]
        return joins(best, float(total.sum()), self._threshold, min(len(ones), len(others)))

    def _held_by(self, one: int, other: int) -> str | None:
        """The code of the rule that keeps two groups apart; None where none does."""
        code = self._barred.get(one, {}).get(other)
        if code is None and self._contents:
            ones, others = self._contents[one], self._contents[other]
            if len(ones) + len(others) > self._most and len(ones | others) > self._most:
                return TOO_MANY
        return code

    def _bar(self, one: int, other: int, code: str) -> None:
        if one != other:
            code = min(code, self._barred.get(one, {}).get(other, code))
            self._barred.setdefault(one, {})[other] = self._barred.setdefault(other, {})[one] = code

    def _join(self, one: int, other: int) -> None:
        """Makes the second group part of the first, and looks anew at what was looked at of either."""
        gone = self._members.pop(other)
        self._of[gone] = one
        self._members[one] += gone
        self._totals[one] += self._totals[other]
        if self._contents:
            self._contents[one] |= self._contents.pop(other)
        for third, code in self._barred.pop(other, {}).items():
            del self._barred[third][other]
            self._bar(one, third, code)
        mine = self._offered.setdefault(one, {})
        for third, best in self._offered.pop(other, {}).items():
            thirds = self._offered[third]
            del thirds[other]
            if third != one:
                mine[third] = thirds[one] = best = max(best, mine.get(third, best))
                if self._known_to == one:
                    self._known[third] = True
                heapq.heappush(self._heap, (-best, min(one, third), max(one, third)))
        for third in self._refused.pop(one, set()) | self._refused.pop(other, set()):
            if third in mine:
                heapq.heappush(self._heap, (-mine[third], min(one, third), max(one, third)))
        self._offer(one, gone)

    def _groups(self) -> Groups:
        rows = self._rows.tolist()
        held = []
        if self._barred or self._contents:
            group, size = self._of, len(rows)
            ones, others = group[self._pairs[0]], group[self._pairs[1]]
            apart = np.flatnonzero(ones != others)
            both = np.minimum(ones, others)[apart] * size + np.maximum(ones, others)[apart]
            met, at = np.unique(both, return_inverse=True)
            best = np.full(len(met), -np.inf)
            np.maximum.at(best, at, self._log_odds[apart])
            for pair, odds in zip(met.tolist(), best.tolist(), strict=True):
                one, other = divmod(pair, size)
                if self._wants(one, other, odds):
                    code = self._held_by(one, other)
                    if code:
                        held.append(Held(rows[one], rows[other], code, odds))
        return Groups({row: rows[root] for row, root in zip(rows, self._of.tolist(), strict=True)}, sorted(held))


class _Matrices:
    """Groups stand at the place of their smallest row; what is known of two stands twice."""

    def __init__(self, rows: Rows, pairs: tuple[Rows, Rows], log_odds: Floats, threshold: float, rules: Rules) -> None:
        self._rows = rows
        self._threshold = threshold
        self._most = rules.most
        size = len(rows)
        place = {row: number for number, row in enumerate(rows.tolist())}
        must = [(place[one], place[other]) for one, other in rules.must]
        self._group = np.array(connected(size, [one for one, _ in must], [other for _, other in must]), np.int64)
        self._sizes = np.bincount(self._group, minlength=size).astype(np.float64)
        self._known = np.zeros((size, size, 3))
        self._known[:, :, _BEST] = _NEVER
        self._meet(pairs, log_odds, bool(must))
        self._barred: dict[tuple[int, int], str] = {}
        self._bars = np.zeros((size, size), bool) if rules.barred else None
        for (one, other), code in rules.barred.items():
            if one in place and other in place:
                self._bar(int(self._group[place[one]]), int(self._group[place[other]]), code)
        self._contents: dict[int, set[object]] = {}
        if rules.content:
            for row, group in zip(rows.tolist(), self._group.tolist(), strict=True):
                self._contents.setdefault(group, set()).add(rules.content[row])

    def _meet(self, pairs: tuple[Rows, Rows], log_odds: Floats, joined: bool) -> None:
        left, right = self._group[pairs[0]], self._group[pairs[1]]
        apart = left != right
        left, right, odds = left[apart], right[apart], log_odds[apart]
        counted = _counted(odds)
        for one, other in ((left, right), (right, left)):
            if joined:  # several pairs may have become pairs of the same groups
                np.maximum.at(self._known, (one, other, _BEST), odds)
                np.add.at(self._known, (one, other, _TOTAL), counted)
                np.add.at(self._known, (one, other, _PAIRS), 1.0)
            else:
                self._known[one, other] = np.stack((odds, counted, np.ones(len(odds))), axis=1)

    def _bar(self, one: int, other: int, code: str) -> None:
        if one == other or self._bars is None:
            return
        self._bars[one, other] = self._bars[other, one] = True
        pair = (min(one, other), max(one, other))
        self._barred[pair] = min(self._barred.get(pair, code), code)

    def run(self) -> Groups:
        """Joins the first pair of groups that may join, in the order of clustering.grouped, until there is none.

        first: for each group the best pair by which it may join another, or more: it is found out when its turn comes.
        """
        open_pairs = self._joining(slice(None))
        if self._bars is not None:
            open_pairs[self._bars] = _NEVER
        first = open_pairs.max(axis=1)
        while True:
            one = int(first.argmax())
            if first[one] == _NEVER:
                return self._groups()
            row = open_pairs[one]
            other = int(row.argmax())
            if row[other] != first[one]:
                first[one] = row[other]
            elif self._too_many(one, other):
                row[other] = open_pairs[other, one] = _NEVER
            else:
                self._join(one, other)
                row = self._joining(one)
                if self._bars is not None:
                    row[self._bars[one]] = _NEVER
                open_pairs[one] = open_pairs[:, one] = row
                open_pairs[other] = open_pairs[:, other] = _NEVER
                np.maximum(first, row, out=first)
                first[one] = row.max()
                first[other] = _NEVER

    def _joining(self, one: int | slice) -> Floats:
        """The best pair of groups with all others where they would join but for rules; _NEVER where not."""
        best, total, pairs = (self._known[one, :, field] for field in range(3))
        sizes = self._sizes[one, None] if isinstance(one, slice) else self._sizes[one]
        total = total + NOT_SEEN * (sizes * self._sizes - pairs)
        strong = (best >= self._threshold) & (total >= 0.0)
        smaller = np.minimum(sizes, self._sizes) if self._threshold > 0 else 1.0  # as clustering.joins
        strong |= (best >= LIKELY) & (total >= self._threshold * smaller)
        return np.where(strong, best, _NEVER)

    def _too_many(self, one: int, other: int) -> bool:
        if not self._contents:
            return False
        ones, others = self._contents[one], self._contents[other]
        return len(ones) + len(others) > self._most and len(ones | others) > self._most

    def _join(self, one: int, other: int) -> None:
        known, gone = self._known[one], self._known[other]
        np.maximum(known[:, _BEST], gone[:, _BEST], out=known[:, _BEST])
        known[:, _TOTAL:] += gone[:, _TOTAL:]
        known[one] = known[other] = (_NEVER, 0.0, 0.0)
        self._known[:, one] = known
        gone[:] = (_NEVER, 0.0, 0.0)
        self._known[:, other] = gone
        self._sizes[one] += self._sizes[other]
        self._sizes[other] = 0.0
        self._group[self._group == other] = one
        if self._bars is not None:
            self._bars[one] |= self._bars[other]
            self._bars[:, one] = self._bars[one]
            self._bars[other] = self._bars[:, other] = False
        if self._contents:
            self._contents[one] |= self._contents.pop(other)

    def _groups(self) -> Groups:
        rows = self._rows.tolist()
        group = self._group.tolist()
        codes: dict[tuple[int, int], str] = {}
        for (left, right), code in self._barred.items():
            one, other = sorted((group[left], group[right]))
            if one != other:
                codes[one, other] = min(codes.get((one, other), code), code)
        held = []
        wanting = self._joining(slice(None))
        for one, other in zip(*(side.tolist() for side in np.nonzero(wanting > _NEVER)), strict=True):
            if one < other:
                found = codes.get((one, other), TOO_MANY if self._too_many(one, other) else "")
                if found:
                    held.append(Held(rows[one], rows[other], found, float(wanting[one, other])))
        return Groups({row: rows[root] for row, root in zip(rows, group, strict=True)}, sorted(held))
