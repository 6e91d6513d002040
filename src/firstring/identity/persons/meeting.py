"""Which pairs of records meet: those that share a linking key that is not hot, unless it is one key that does not suffice.

A key may say that it suffices only where two records do not both state something else (`BlockingKey.unless`): who share
one name by ear and a year of birth and nothing else, though both state a telephone number, are hardly ever one person, and
at a million records they are most of all pairs. What meets is a function of the two records and of which keys are hot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.identity.model.model import Model
from firstring.identity.persons.linkkeys import PROFILE, tags

SEVERAL: Final = -1
"""In place of a tag: more keys than one."""
_TAG_BITS: Final = 8
_TAG: Final = (1 << _TAG_BITS) - 1


class Shared(NamedTuple):
    """Pairs that share keys, as left * n + right, left < right, rising. tag: of the key, where it is one; else SEVERAL."""

    pairs: NDArray[np.int64]
    by_profile: NDArray[np.bool_]
    tag: NDArray[np.int64]

    def part(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Shared:
        return Shared(self.pairs[chosen], self.by_profile[chosen], self.tag[chosen])


@lru_cache(maxsize=8)
def unless(model: Model) -> Mapping[int, tuple[str, ...]]:
    """By the tag of a key that does not always suffice alone: the columns of which two records must not state the same."""
    known = tags(model.spec)
    return {known[key.name]: columns for key in model.spec.linking if (columns := model.spec.unless(key))}


def shared(carrying: Iterable[tuple[bytes, Sequence[int]]], size: int, some: AbstractSet[int] | None = None) -> Shared:
    """The pairs of n = size rows that share keys. carrying: key and the rows that carry it.

    some: only pairs with one of these rows at least.
    """
    keys, rows = [], []
    for key, members in carrying:
        keys.append(key[0])
        rows.append(members)
    chosen = None if some is None else np.isin(np.arange(size), np.fromiter(some, np.int64, len(some)))
    flat = np.fromiter(chain.from_iterable(rows), np.int64)
    return shared_of(np.array(keys, np.int64), np.array([len(one) for one in rows], np.int64), flat, size, chosen)


def shared_of(
    tags: NDArray[np.int64],
    lengths: NDArray[np.int64],
    rows: NDArray[np.int64],
    size: int,
    some: NDArray[np.bool_] | None = None,
) -> Shared:
    """As shared, of keys by their tags; lengths: how many rows carry each; rows: those of all keys in turn."""
    key = np.repeat(np.arange(len(lengths)), lengths)
    at = np.arange(len(rows)) if some is None else np.flatnonzero(some[rows])
    # Each of these with all that carry its key: the first of them, and how many there are.
    owner = key[at]
    count = lengths[owner]
    within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    one = np.repeat(rows[at], count)
    other = rows[np.repeat((np.cumsum(lengths) - lengths)[owner], count) + within]
    kept = one < other if some is None else one != other
    one, other, tag = one[kept], other[kept], np.repeat(tags[owner], count)[kept]
    hits = np.sort((np.minimum(one, other) * size + np.maximum(one, other)) << _TAG_BITS | tag)
    hits = hits[np.append(True, hits[1:] != hits[:-1])] if len(hits) else hits
    pairs, tag = hits >> _TAG_BITS, hits & _TAG
    if not len(pairs):
        return Shared(pairs, np.zeros(0, np.bool_), tag)
    first = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1]))
    alone = np.diff(np.append(first, len(pairs))) == 1
    by_profile = np.logical_or.reduceat(tag & PROFILE != 0, first)
    return Shared(pairs[first], by_profile, np.where(alone, tag[first], SEVERAL))


def insufficient(found: Shared, model: Model) -> dict[int, NDArray[np.int64]]:
    """By tag the places of the pairs that share that key alone, and meet only unless both state something."""
    places = {tag: np.flatnonzero(found.tag == tag) for tag in unless(model)}
    return {tag: at for tag, at in places.items() if len(at)}


def meeting(found: Shared, size: int, model: Model, states: Callable[[str], NDArray[np.bool_]]) -> Shared:
    """The pairs that meet. states: which of the rows state a column; asked once for each."""
    left_out = np.zeros(len(found.pairs), np.bool_)
    of_column: dict[str, NDArray[np.bool_]] = {}
    for tag, at in insufficient(found, model).items():
        left, right = found.pairs[at] // size, found.pairs[at] % size
        for column in unless(model)[tag]:
            stated = of_column.get(column)
            if stated is None:
                stated = of_column[column] = states(column)
            left_out[at] |= stated[left] & stated[right]
    return found.part(~left_out) if left_out.any() else found


def suffices(names: Collection[str], model: Model, one: Collection[str], other: Collection[str]) -> bool:
    """`meeting` for two records that share the keys of these names. one, other: the columns that they state."""
    if len(names) != 1:
        return bool(names)
    (name,) = names
    key = next((key for key in model.spec.linking if key.name == name), None)
    return key is None or not any(column in one and column in other for column in model.spec.unless(key))
