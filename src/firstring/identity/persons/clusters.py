"""Persons as connected components of records that share a linking key, and ids that stay through merge and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec


class Split(msgspec.Struct, frozen=True):
    """`records` left person `kept`, and are now of person `person`."""

    kept: int
    person: int
    records: frozenset[int]


class Assignment(msgspec.Struct, frozen=True):
    """person_of: the person of every record. redirects: a person id that is no more -> the one that holds most of it.

    splits: who left a person that is still there, in the order of the persons.
    """

    person_of: dict[int, int]
    redirects: dict[int, int]
    splits: tuple[Split, ...]


def components(records: Mapping[int, Sequence[bytes]], hot: AbstractSet[bytes]) -> list[frozenset[int]]:
    """The connected components of records (id -> link keys), by smallest record id. Keys in `hot` glue nobody.

    Union-find with path halving and union by size: O(n alpha(n)). The result depends on the set of records alone.
    """
    parent = {record: record for record in records}
    size = dict.fromkeys(records, 1)

    def root(record: int) -> int:
        while parent[record] != record:
            parent[record] = parent[parent[record]]
            record = parent[record]
        return record

    holder: dict[bytes, int] = {}
    for record, keys in records.items():
        for key in keys:
            if key in hot:
                continue
            left, right = root(holder.setdefault(key, record)), root(record)
            if left != right:
                small, large = sorted((left, right), key=lambda one: size[one])
                parent[small] = large
                size[large] += size[small]
    found: dict[int, list[int]] = {}
    for record in records:
        found.setdefault(root(record), []).append(record)
    return sorted((frozenset(members) for members in found.values()), key=min)


def assign(parts: Iterable[frozenset[int]], current: Mapping[int, int], new_ids: Callable[[], int]) -> Assignment:
    """Person ids for components of records, given each record's person so far (a new record has none).

    A component keeps the id that most of its records had (ties: the smallest id); of several components with one id,
    the one with most of its records keeps it (ties: the smallest record id). A component left without takes new_ids().
    """
    ordered = sorted(parts, key=min)
    votes = [Counter(current[record] for record in part if record in current) for part in ordered]
    claims = sorted((-count, person, place) for place, vote in enumerate(votes) for person, count in vote.items())
    person_at: dict[int, int] = {}
    place_of: dict[int, int] = {}
    for _, person, place in claims:
        if place not in person_at and person not in place_of:
            person_at[place], place_of[person] = person, place
    for place in range(len(ordered)):
        if place not in person_at:
            person_at[place] = new_ids()
    redirects: dict[int, int] = {}
    for _, person, place in claims:
        if person not in place_of and person not in redirects:
            redirects[person] = person_at[place]
    person_of = {record: person_at[place] for place, part in enumerate(ordered) for record in part}
    left: dict[tuple[int, int], set[int]] = {}
    for record, person in person_of.items():
        before = current.get(record, person)
        if before != person and before in place_of:
            left.setdefault((before, person), set()).add(record)
    splits = tuple(Split(kept, person, frozenset(records)) for (kept, person), records in sorted(left.items()))
    return Assignment(person_of, redirects, splits)
