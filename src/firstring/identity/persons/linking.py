"""Which of a set of records are one person, under one model version: the same for three records as for a million.

A pair of records is known when the two meet (`meeting`): they share a linking key that is not hot. Known pairs are compared
and scored; likely ones make components, and each component is taken apart into persons (`clustering.grouped`). Everything
is a function of the set of records, the version and the decisions: rows stand in canonical order, by content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, count, pairwise
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring import limits
from firstring.identity.comparison.levels import Patterns, patterns
from firstring.identity.comparison.shelf import Shelf
from firstring.identity.comparison.statistics import Statistics
from firstring.identity.model.model import Model, score
from firstring.identity.persons.clustering import LIKELY, Groups, Held, Rules, connected, grouped
from firstring.identity.persons.dense import DENSE_PAIRS, grouped_densely, is_dense
from firstring.identity.persons.guards import contradictions
from firstring.identity.persons.linkkeys import Values
from firstring.identity.persons.meeting import Shared, meeting, shared_of

COPIES: Final = 4
"""Records of identical content that take part with their keys; the others follow the first two."""
CONTENT_BYTES: Final = 16


_KEPT_SCORES: Final = 100_000
_MANY_PAIRS: Final = 4_000
_PAIRS_OF_A_ROW: Final = 4
"""Where there are as many, it is a person of many records; of records that arrive together it is about one."""


class Version(Protocol):
    """What linking rests on. log_odds: of the threshold at which two records are one person.

    shelf: records compared lately. scored: log-odds of patterns (see _log_odds) that were met lately; a few patterns are
    most of all pairs.
    """

    @property
    def model(self) -> Model: ...
    @property
    def statistics(self) -> Statistics: ...
    @property
    def log_odds(self) -> float: ...
    @property
    def shelf(self) -> Shelf: ...
    @property
    def scored(self) -> dict[int, float]: ...


class Entry(NamedTuple):
    """A record that takes part.

    content: digest of its values; order: what stands after the content in the canonical order, unique among equal
    contents. values: None for one whose content stands on the version's shelf. keys: each begins with its tag
    (`linkkeys.tags`).
    """

    content: bytes
    order: bytes
    values: Values | None
    keys: Sequence[bytes]


class Linked(NamedTuple):
    """persons and components: records of each, by the first in canonical order; every record is in one of each.

    held: (record, record, code, log-odds of the best pair) of persons that a guard keeps apart.
    """

    persons: list[frozenset[int]]
    components: list[frozenset[int]]
    held: list[tuple[int, int, str, float]]


class Known(NamedTuple):
    """Pairs of records that were scored, in no order: records, patterns, log-odds."""

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    patterns: Patterns
    log_odds: NDArray[np.float64]


NOTHING_KNOWN: Final = Known(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


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
    known: Known = NOTHING_KNOWN,
) -> Linked:
    """The persons of records that no other record is likely to be one with.

    hot: keys that make no pairs. must, cannot: decisions about records; those about others are passed over. known: pairs
    that were scored before, under the same keys.
    """
    ordered = sorted(entries, key=lambda record: entries[record][:2])
    row_of = {record: row for row, record in enumerate(ordered)}
    rows = [entries[record] for record in ordered]
    scored = _scored(rows, meetings(rows, hot, version), version, _by_rows(known, ordered))
    joined = _rows_of(must, row_of)
    likely = _likely(scored.log_odds, version)
    more = np.array(joined, np.int64).reshape(-1, 2)
    left, right = (np.concatenate((side[likely], more[:, place])) for place, side in enumerate((scored.left, scored.right)))
    root = connected(len(rows), left, right)
    groups = groups_of([row.content for row in rows], scored, root, version, joined, _rows_of(cannot, row_of))
    return Linked(
        _gathered(ordered, [groups.person.get(row, row) for row in range(len(rows))]),
        _gathered(ordered, root),
        [(ordered[one.left], ordered[one.right], one.code, one.log_odds) for one in groups.held],
    )


def likely_pairs(
    entries: Mapping[int, Entry], records: Sequence[int], met: Shared, version: Version
) -> tuple[set[int], Known]:
    """The records of likely pairs, among those (by their places in `records`) that meet; all pairs that meet, scored."""
    left, right = met.pairs // max(1, len(records)), met.pairs % max(1, len(records))
    there, places = np.unique(np.concatenate((left, right)), return_inverse=True)
    rows = [entries[records[place]] for place in there.tolist()]
    numbers, log_odds = _compared(rows, places[: len(left)], places[len(left) :], met.by_profile, version)
    of = np.array(records, np.int64)
    known = Known(of[left], of[right], numbers, log_odds)
    strong = _likely(log_odds, version)
    return {*known.one[strong].tolist(), *known.other[strong].tolist()}, known


def likely_between(
    entries: Mapping[int, Entry], some: AbstractSet[int], hot: AbstractSet[bytes], version: Version
) -> list[tuple[int, int]]:
    """The likely pairs of a record of `some` and one that is not, in that order; in canonical order of records."""
    records = sorted(entries, key=lambda record: entries[record][:2])
    rows = [entries[record] for record in records]
    scored = _scored(rows, meetings(rows, hot, version), version)
    inside = np.fromiter((record in some for record in records), np.bool_, len(records))
    across = np.flatnonzero(_likely(scored.log_odds, version) & (inside[scored.left] != inside[scored.right]))
    lefts, rights = scored.left[across].tolist(), scored.right[across].tolist()
    pairs = [(left, right) if inside[left] else (right, left) for left, right in zip(lefts, rights, strict=True)]
    return [(records[one], records[other]) for one, other in pairs]


def _likely(log_odds: NDArray[np.float64], version: Version) -> NDArray[np.bool_]:
    return np.asarray(log_odds >= min(LIKELY, version.log_odds))


def meetings(rows: Sequence[Entry], hot: AbstractSet[bytes], version: Version) -> Shared:
    """The pairs of rows that meet. hot: keys under which none does."""
    flat = list(chain.from_iterable([entry.keys for entry in rows]))
    number = dict(zip(dict.fromkeys(flat), count(), strict=False))
    codes = np.fromiter(map(number.__getitem__, flat), np.int64, len(flat))
    lengths = np.bincount(codes, minlength=len(number))
    usable = lengths > 1  # most keys are of one row
    usable[[number[key] for key in hot if key in number]] = False
    of = np.repeat(np.arange(len(rows)), [len(entry.keys) for entry in rows])
    order = np.argsort(codes, kind="stable")
    chosen = np.flatnonzero(usable)
    keys = list(number)
    tag = np.fromiter((keys[one][0] for one in chosen.tolist()), np.int64, len(chosen))
    found = shared_of(tag, lengths[chosen], of[order[usable[codes[order]]]], len(rows))

    def states(column: str) -> NDArray[np.bool_]:
        return version.shelf.states(put_up(rows, version.shelf), column)

    return meeting(found, len(rows), version.model, states)


def _by_rows(known: Known, records: Sequence[int]) -> tuple[NDArray[np.int64], Known]:
    """Pairs as left * n + right of rows, rising, and what is known of them; of other records nothing."""
    if not len(known.one) or not records:
        return NOTHING_KNOWN.one, NOTHING_KNOWN
    size = len(records)
    order = np.argsort(records)
    by_id = np.array(records, np.int64)[order]
    places = [np.minimum(np.searchsorted(by_id, side), size - 1) for side in (known.one, known.other)]
    there = np.flatnonzero((by_id[places[0]] == known.one) & (by_id[places[1]] == known.other))
    one, other = (order[side[there]] for side in places)
    pairs = np.minimum(one, other) * size + np.maximum(one, other)
    rising = np.argsort(pairs)
    there = there[rising]
    return pairs[rising], Known(known.one[there], known.other[there], known.patterns[there], known.log_odds[there])


def _scored(
    rows: Sequence[Entry], met: Shared, version: Version, known: tuple[NDArray[np.int64], Known] | None = None
) -> Scored:
    """The pairs with their patterns and log-odds; what is not known is compared."""
    size = max(1, len(rows))
    left, right = met.pairs // size, met.pairs % size
    if known is None or not len(known[0]):
        return Scored(left, right, *_compared(rows, left, right, met.by_profile, version))
    place = np.minimum(np.searchsorted(known[0], met.pairs), len(known[0]) - 1)
    numbers, log_odds = known[1].patterns[place], known[1].log_odds[place]
    unknown = np.flatnonzero(known[0][place] != met.pairs)
    numbers[unknown], log_odds[unknown] = _compared(rows, left[unknown], right[unknown], met.by_profile[unknown], version)
    return Scored(left, right, numbers, log_odds)


def _compared(
    rows: Sequence[Entry],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    by_profile: NDArray[np.bool_],
    version: Version,
) -> tuple[Patterns, NDArray[np.float64]]:
    """The patterns and log-odds of pairs of rows; each pattern is scored once."""
    if not len(left):
        return np.zeros(0, np.int64), np.zeros(0)
    shelf = version.shelf
    if len(left) < max(_MANY_PAIRS, _PAIRS_OF_A_ROW * len(rows)):
        found = _patterns(rows, left, right, version)
        return found, _odds_of(found, by_profile, version)
    # Likely to be asked for again with the next decision.
    places = shelf.places(put_up(rows, shelf))
    of_pairs = places[left], places[right], by_profile
    found, log_odds, unknown = shelf.kept_pairs(*of_pairs)
    if len(unknown):
        found[unknown] = _patterns(rows, left[unknown], right[unknown], version)
        log_odds[unknown] = _odds_of(found[unknown], by_profile[unknown], version)
        shelf.keep_pairs(*of_pairs, found, log_odds)
    return found, log_odds


def _odds_of(found: Patterns, by_profile: NDArray[np.bool_], version: Version) -> NDArray[np.float64]:
    """Log-odds of pairs by their patterns; each pattern is scored once."""
    distinct, place = np.unique(found.astype(np.uint64) << np.uint64(1) | by_profile, return_inverse=True)
    return _log_odds(distinct, version)[place]


def _patterns(rows: Sequence[Entry], left: NDArray[np.int64], right: NDArray[np.int64], version: Version) -> Patterns:
    asked = np.zeros(len(rows), np.bool_)
    asked[left] = asked[right] = True
    there = np.flatnonzero(asked)
    table = version.shelf.table(put_up([rows[row] for row in there.tolist()], version.shelf))
    return patterns(version.model.comparisons(), table, np.searchsorted(there, left), np.searchsorted(there, right))


def put_up(rows: Sequence[Entry], shelf: Shelf) -> list[bytes]:
    """What each row holds; all of it stands on the shelf then."""
    for content, _, values, _ in rows:
        if values is not None:  # what has none stands there
            shelf.put(content, values)
    return [row.content for row in rows]


def _log_odds(numbers: NDArray[np.uint64], version: Version) -> NDArray[np.float64]:
    """The log-odds of patterns, each with whether its pairs meet by a profile key as the last bit."""
    scored = version.scored
    if len(scored) > _KEPT_SCORES:
        scored.clear()
    listed = numbers.tolist()
    new = np.array([one for one in listed if one not in scored], np.uint64)
    if len(new):
        by_profile = (new & np.uint64(1)).astype(bool)
        scores = score(version.model, (new >> np.uint64(1)).astype(np.int64), by_profile, version.model.records)
        scored.update(zip(new.tolist(), scores.log_odds.tolist(), strict=True))
    return np.array([scored[one] for one in listed], np.float64)


def groups_of(
    contents: Sequence[Hashable],
    scored: Scored,
    root: Sequence[int],
    version: Version,
    must: Sequence[tuple[int, int]],
    cannot: Sequence[tuple[int, int]],
) -> Groups:
    """The persons of every component of two rows or more; contents and root: of every row."""
    of = np.array(root, np.int64)
    inside = np.flatnonzero(of[scored.left] == of[scored.right])
    inside = inside[np.argsort(of[scored.left[inside]], kind="stable")]
    left, right, odds = scored.left[inside], scored.right[inside], scored.log_odds[inside]
    barred: dict[int, dict[tuple[int, int], str]] = {}
    for code, places in contradictions(version.model, scored.patterns[inside]):
        for pair in zip(left[places].tolist(), right[places].tolist(), strict=True):
            barred.setdefault(root[pair[0]], {}).setdefault(pair, code)
    for pair in cannot:
        barred.setdefault(root[pair[0]], {})[pair] = ""
    joined: dict[int, list[tuple[int, int]]] = {}
    for one, other in must:
        joined.setdefault(root[one], []).append((one, other))
    person: dict[int, int] = {}
    held: list[Held] = []
    components, starts = np.unique(of[left], return_index=True)
    ranges = dict(zip(components.tolist(), pairwise([*starts.tolist(), len(inside)]), strict=True))
    for component in ranges.keys() | joined.keys():
        start, end = ranges.get(component, (0, 0))
        content = {}
        if end - start + len(joined.get(component, ())) >= limits.PERSON_CONTENTS:  # fewer pairs join fewer rows
            content = {row: contents[row] for row, first in enumerate(root) if first == component}
        rules = Rules(joined.get(component, ()), barred.get(component, {}), content, limits.PERSON_CONTENTS)
        part = slice(start, end)
        if end - start > DENSE_PAIRS and is_dense(left[part], right[part]):
            found = grouped_densely(left[part], right[part], odds[part], version.log_odds, rules)
        else:
            plain = list(zip(left[part].tolist(), right[part].tolist(), odds[part].tolist(), strict=True))
            found = grouped(plain, version.log_odds, rules)
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
