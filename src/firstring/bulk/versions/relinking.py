"""All records of a store linked under one model version, by the functions that link files and arrivals."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.bulk.linking.link import Progress, working_folder
from firstring.bulk.linking.pairs import Pairs
from firstring.bulk.linking.plan import make_plan
from firstring.bulk.versions.storelink import Stored
from firstring.identity.persons.clustering import LIKELY, connected
from firstring.identity.persons.linking import Scored, Version, groups_of


class Persons(NamedTuple):
    """Of every record, in canonical order: the first record (its place) of its person, and of its component.

    held: (place, place, code, log-odds) of persons that a guard keeps apart. pairs: how many were compared.
    """

    person: NDArray[np.int64]
    component: NDArray[np.int64]
    held: list[tuple[int, int, str, float]]
    pairs: int


Decided = Sequence[tuple[int, int]]
"""Pairs of records by their ids."""


def relink(stored: Stored, version: Version, must: Decided, cannot: Decided, *, memory_mb: int, told: Progress) -> Persons:
    """The persons of all records. Decisions about records that are not there are passed over."""
    place_of = _Places(stored)
    joined, barred = place_of.rows(must), place_of.rows(cannot)
    root, scored, count = _compared(stored, version, joined, memory_mb, told)
    told("clustering", 0, 1)
    contents = stored.first[stored.kept].tolist()  # copies have one first row
    groups = groups_of(contents, scored, root.tolist(), version, joined, barred)
    person = np.arange(stored.table.rows, dtype=np.int64)
    person[list(groups.person)] = list(groups.person.values())
    told("clustering", 1, 1)
    held = [(int(stored.kept[one.left]), int(stored.kept[one.right]), one.code, one.log_odds) for one in groups.held]
    return Persons(_of_all(stored, person), _of_all(stored, root), held, count)


def _compared(
    stored: Stored, version: Version, joined: Decided, memory_mb: int, told: Progress
) -> tuple[NDArray[np.int64], Scored, int]:
    """(component of each row, all pairs compared within components, how many pairs were compared at all)."""
    model, table = version.model, stored.table
    ones, others = [one for one, _ in joined], [other for _, other in joined]
    with working_folder() as folder:
        pairs = Pairs(folder, memory_mb=memory_mb, threads=os.cpu_count() or 1)
        try:
            pairs.gather(make_plan(model.spec, table), table, lambda done, whole: told("pairs", done, whole))
            count = pairs.count
            left = right = np.zeros(0, np.int32)
            if count:
                pairs.compare(model.comparisons(), table, lambda done, whole: told("comparing", done, whole))
                pairs.score(model, model.records)
                left, right, odds = pairs.edges()
                strong = odds >= min(LIKELY, version.log_odds)
                left, right = left[strong], right[strong]
            root = np.array(connected(table.rows, [*left.tolist(), *ones], [*right.tolist(), *others]), np.int32)
            odds, numbers = np.zeros(0), np.zeros(0, np.int64)
            if count:
                left, right, odds, numbers = pairs.within(root)
        finally:
            pairs.close()
    return root.astype(np.int64), Scored(left.astype(np.int64), right.astype(np.int64), numbers, odds), count


class _Places:
    """Rows of the table by record id."""

    def __init__(self, stored: Stored) -> None:
        self._order = np.argsort(stored.record_ids, kind="stable")
        self._stored = stored

    def rows(self, decided: Decided) -> list[tuple[int, int]]:
        """Pairs of rows, left < right; those of a record that is not there are left out."""
        found = set()
        for pair in decided:
            one, other = (self._row(record) for record in pair)
            if one is not None and other is not None and one != other:
                found.add((min(one, other), max(one, other)))
        return sorted(found)

    def _row(self, record_id: int) -> int | None:
        ids = self._stored.record_ids
        at = int(np.searchsorted(ids, record_id, sorter=self._order))
        if at == len(ids) or ids[self._order[at]] != record_id:
            return None
        place = int(self._order[at])
        row = int(np.searchsorted(self._stored.kept, place))
        if row < len(self._stored.kept) and self._stored.kept[row] == place:
            return row
        return None


def _of_all(stored: Stored, row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of every record the first one of its group. Copies left out of the table go with the first, if the second did."""
    whole = len(stored.record_ids)
    found = np.full(whole, -1, np.int64)
    found[stored.kept] = stored.kept[row]
    left_out = np.flatnonzero(found < 0)
    first = stored.first[left_out]
    together = row[first] == row[np.minimum(first + 1, len(row) - 1)]
    found[left_out] = np.where(together, stored.kept[row[first]], left_out)
    return found
