"""`clustering.grouped` for a component in which most records know one another: the same groups, by matrices.

A dictionary of pairs costs time by the pair, a matrix by the group and merge. Which one is used never shows: merges are
the same, in the same order, and so are the sums, which are added in that order.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firstring.identity.persons.clustering import LIKELY, MOST, NOT_SEEN, TOO_MANY, Groups, Held, Rules, connected

Rows: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

_BEST, _TOTAL, _PAIRS = range(3)
_ROWS_MOST: Final = 2_000
"""Of a matrix: 32 bytes for each pair of rows, 128 MB."""
DENSE_PAIRS: Final = 90
"""No component of fewer pairs is dense."""
_NEVER: Final = -np.inf


def is_dense(left: Rows, right: Rows) -> bool:
    """Whether matrices are the faster way: a pair costs 8 microseconds or so otherwise, a merge of two groups here 50."""
    rows = len(np.unique(np.concatenate((left, right))))
    return rows <= _ROWS_MOST and len(left) > 6 * rows + rows * rows // 400


def grouped_densely(left: Rows, right: Rows, log_odds: Floats, threshold: float, rules: Rules) -> Groups:
    """As clustering.grouped; each pair once, left < right."""
    rows = np.unique(np.concatenate((left, right, np.array(rules.must, np.int64).reshape(-1))))
    places = np.searchsorted(rows, left), np.searchsorted(rows, right)
    return _Matrices(rows, places, log_odds, threshold, rules).run()


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
        counted = np.clip(odds, -MOST, MOST)
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
