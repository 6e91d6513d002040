"""Which of a set of records are one person, under one model version: the same for three records as for a million.

A pair of records is known when they share a linking key that is not hot. Known pairs are compared and scored; likely
ones make components, and each component is taken apart into persons (`clustering.grouped`). Everything is a function of
the set of records, the version and the decisions: rows stand in canonical order, by content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import combinations
from typing import Final, NamedTuple, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring import limits
from firstring.identity.clustering import LIKELY, Groups, Held, Rules, connected, grouped
from firstring.identity.columns import table_of
from firstring.identity.guards import contradictions
from firstring.identity.levels import Patterns, patterns
from firstring.identity.linkkeys import PROFILE, Values
from firstring.identity.model import Model, score
from firstring.identity.statistics import Statistics

COPIES: Final = 4
"""Records of identical content that take part with their keys; the others follow the first two."""
CONTENT_BYTES: Final = 16


class Version(Protocol):
    """What linking rests on. log_odds: of the threshold at which two records are one person."""

    @property
    def model(self) -> Model: ...
    @property
    def statistics(self) -> Statistics: ...
    @property
    def log_odds(self) -> float: ...


class Entry(NamedTuple):
    """A record that takes part.

    content: digest of its values; order: what stands after the content in the canonical order, unique among equal
    contents. keys: each begins with its tag (`linkkeys.tags`).
    """

    content: bytes
    order: bytes
    values: Values
    keys: Sequence[bytes]


class Linked(NamedTuple):
    """persons and components: records of each, by the first in canonical order; every record is in one of each.

    held: (record, record, code, log-odds of the best pair) of persons that a guard keeps apart.
    """

    persons: list[frozenset[int]]
    components: list[frozenset[int]]
    held: list[tuple[int, int, str, float]]


Known: TypeAlias = dict[tuple[int, int], tuple[int, float]]
"""Pairs of records, in canonical order: their pattern and log-odds."""


class Met(NamedTuple):
    """Pairs of rows as left * n + right, left < right, in order; whether they meet under a profile key."""

    pairs: NDArray[np.int64]
    by_profile: NDArray[np.bool_]


class Scored(NamedTuple):
    """Pairs of rows, left < right, in order."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    patterns: Patterns
    log_odds: NDArray[np.float64]


def content_of(values: Values) -> bytes:
    """The digest of what is compared; records of one content are copies. 16 bytes."""
    return hashlib.blake2b(msgspec.json.encode(sorted(values.items())), digest_size=CONTENT_BYTES).digest()


def link(
    entries: Mapping[int, Entry],
    hot: AbstractSet[bytes],
    version: Version,
    *,
    must: Iterable[tuple[int, int]] = (),
    cannot: Iterable[tuple[int, int]] = (),
    known: Known | None = None,
) -> Linked:
    """The persons of records that no other record is likely to be one with.

    hot: keys that make no pairs. must, cannot: decisions about records; those about others are passed over. known: pairs
    that were scored before, under the same keys.
    """
    ordered = sorted(entries, key=lambda record: entries[record][:2])
    row_of = {record: row for row, record in enumerate(ordered)}
    rows = [entries[record] for record in ordered]
    scored = _scored(ordered, rows, meetings(rows, hot), version, {} if known is None else known)
    joined = _rows_of(must, row_of)
    likely = scored.log_odds >= min(LIKELY, version.log_odds)
    left = [*scored.left[likely].tolist(), *(one for one, _ in joined)]
    right = [*scored.right[likely].tolist(), *(other for _, other in joined)]
    root = connected(len(rows), left, right)
    groups = groups_of([row.content for row in rows], scored, root, version, joined, _rows_of(cannot, row_of))
    return Linked(
        _gathered(ordered, [groups.person.get(row, row) for row in range(len(rows))]),
        _gathered(ordered, root),
        [(ordered[one.left], ordered[one.right], one.code, one.log_odds) for one in groups.held],
    )


def likely_pairs(
    entries: Mapping[int, Entry],
    new: AbstractSet[int],
    carrying: Mapping[bytes, Collection[int]],
    version: Version,
    known: Known,
) -> list[tuple[int, int]]:
    """The likely pairs of records with one of `new` at least, in canonical order.

    carrying: who carries each key of `new` that is not hot. What is scored goes to `known`.
    """
    records = sorted(entries, key=lambda record: entries[record][:2])
    row_of = {record: row for row, record in enumerate(records)}
    rows = [entries[record] for record in records]
    size = len(rows)
    contact: list[int] = []
    profile: list[int] = []
    for key, members in carrying.items():
        if len(members) > 1:
            found = profile if key[0] & PROFILE else contact
            places = [row_of[member] for member in members]
            for one in [row_of[member] for member in members if member in new]:
                found += [min(one, other) * size + max(one, other) for other in places if other != one]
    return _likely(records, _scored(records, rows, _met(contact, profile), version, known), version)


def likely_between(
    entries: Mapping[int, Entry], some: AbstractSet[int], hot: AbstractSet[bytes], version: Version
) -> list[tuple[int, int]]:
    """The likely pairs of a record of `some` and one that is not, in that order; in canonical order of records."""
    records = sorted(entries, key=lambda record: entries[record][:2])
    rows = [entries[record] for record in records]
    pairs = _likely(records, _scored(records, rows, meetings(rows, hot), version, {}), version)
    return [(one, other) if one in some else (other, one) for one, other in pairs if (one in some) != (other in some)]


def _likely(records: Sequence[int], scored: Scored, version: Version) -> list[tuple[int, int]]:
    strong = np.flatnonzero(scored.log_odds >= min(LIKELY, version.log_odds))
    lefts, rights = scored.left[strong].tolist(), scored.right[strong].tolist()
    return [(records[left], records[right]) for left, right in zip(lefts, rights, strict=True)]


def meetings(rows: Sequence[Entry], hot: AbstractSet[bytes]) -> Met:
    """The pairs of rows that share a key which is not hot."""
    carrying: dict[bytes, list[int]] = {}
    for row, entry in enumerate(rows):
        for key in entry.keys:
            if key in carrying:
                carrying[key].append(row)
            else:
                carrying[key] = [row]
    size = len(rows)
    contact: list[int] = []
    profile: list[int] = []
    for key, members in carrying.items():
        if len(members) > 1 and key not in hot:
            found = profile if key[0] & PROFILE else contact
            found += [left * size + right for left, right in combinations(members, 2)]
    return _met(contact, profile)


def _met(contact: Sequence[int], profile: Sequence[int]) -> Met:
    by_profile = np.unique(np.array(profile, np.int64))
    met = np.union1d(np.array(contact, np.int64), by_profile)
    return Met(met, np.isin(met, by_profile, assume_unique=True))


def _scored(records: Sequence[int], rows: Sequence[Entry], met: Met, version: Version, known: Known) -> Scored:
    """The pairs with their patterns and log-odds; what is not known is compared, and known then."""
    size = max(1, len(rows))
    left, right = met.pairs // size, met.pairs % size
    names = [(records[one], records[other]) for one, other in zip(left.tolist(), right.tolist(), strict=True)]
    unknown = np.array([place for place, name in enumerate(names) if name not in known], np.int64)
    if len(unknown):
        ones, others = left[unknown], right[unknown]
        there = np.unique(np.concatenate((ones, others)))
        table = table_of([rows[row].values for row in there.tolist()], version.statistics)
        model = version.model
        found = patterns(model.comparisons(), table, np.searchsorted(there, ones), np.searchsorted(there, others))
        log_odds = score(model, found, met.by_profile[unknown], model.records).log_odds
        for place, pattern, odds in zip(unknown.tolist(), found.tolist(), log_odds.tolist(), strict=True):
            known[names[place]] = (pattern, odds)
    shown = [known[name] for name in names]
    return Scored(
        left, right, np.array([one[0] for one in shown], np.int64), np.array([one[1] for one in shown], np.float64)
    )


def groups_of(
    contents: Sequence[Hashable],
    scored: Scored,
    root: Sequence[int],
    version: Version,
    must: Sequence[tuple[int, int]],
    cannot: Sequence[tuple[int, int]],
) -> Groups:
    """The persons of every component of two rows or more; contents and root: of every row."""
    pairs: dict[int, list[tuple[int, int, float]]] = {}
    inside: list[int] = []
    for place, (left, right, odds) in enumerate(
        zip(scored.left.tolist(), scored.right.tolist(), scored.log_odds.tolist(), strict=True)
    ):
        if root[left] == root[right]:
            pairs.setdefault(root[left], []).append((left, right, odds))
            inside.append(place)
    barred: dict[int, dict[tuple[int, int], str]] = {}
    chosen = np.array(inside, np.int64)
    for code, places in contradictions(version.model.comparisons(), scored.patterns[chosen]):
        for place in chosen[places].tolist():
            left, right = int(scored.left[place]), int(scored.right[place])
            barred.setdefault(root[left], {}).setdefault((left, right), code)
    for pair in cannot:
        barred.setdefault(root[pair[0]], {})[pair] = ""
    joined: dict[int, list[tuple[int, int]]] = {}
    for one, other in must:
        joined.setdefault(root[one], []).append((one, other))
    person: dict[int, int] = {}
    held: list[Held] = []
    for component in pairs.keys() | joined.keys():
        known = pairs.get(component, [])
        content = {}
        if len(known) + len(joined.get(component, ())) >= limits.PERSON_CONTENTS:  # fewer pairs join fewer rows
            content = {row: contents[row] for row, first in enumerate(root) if first == component}
        rules = Rules(joined.get(component, ()), barred.get(component, {}), content, limits.PERSON_CONTENTS)
        found = grouped(known, version.log_odds, rules)
        person.update(found.person)
        held += found.held
    return Groups(person, sorted(held))


def _rows_of(pairs: Iterable[tuple[int, int]], row_of: Mapping[int, int]) -> list[tuple[int, int]]:
    """Pairs of records as pairs of rows, left < right, without those of which a record is not there."""
    found = {(row_of[one], row_of[other]) for one, other in pairs if one in row_of and other in row_of and one != other}
    return sorted((min(pair), max(pair)) for pair in found)


def _gathered(records: Sequence[int], group: Collection[int]) -> list[frozenset[int]]:
    found: dict[int, list[int]] = {}
    for record, one in zip(records, group, strict=True):
        found.setdefault(one, []).append(record)
    return [frozenset(members) for members in found.values()]
