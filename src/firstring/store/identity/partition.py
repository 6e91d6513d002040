"""Which persons records form: a function of the set of records, computed for the part of it that a change reaches.

Records that share a linking key are one person (identity.clusters). A key glues nobody while it is hot (more than
limits.HOT_LINK_RECORDS records carry it) or contested (identity.blocking.link_guards): both depend on the set alone.

A narrow key is stored as its wide key and something more (`narrow_index`), in the record only, not among the keys that
are looked up: who shares it shares the wide key too. A third fewer keys to write, and a contested key can be seen
without opening anything. For the same reason a hot wide key's narrow keys glue nobody either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from firstring import limits
from firstring.identity.persons.clusters import Assignment, assign, components
from firstring.store.seal import BLIND_INDEX_BYTES

_NARROW_BYTES: Final = 4


def narrow_index(wide: bytes, narrow: bytes) -> bytes:
    """What is stored of a narrow key, out of the blind indexes of both: the wide one's bytes and four more."""
    return wide + narrow[:_NARROW_BYTES]


def is_looked_up(key: bytes) -> bool:
    """Whether a link key stands among the keys that are looked up: all but the narrow ones."""
    return len(key) == BLIND_INDEX_BYTES


def glue_keys(link_keys: Sequence[bytes]) -> list[bytes]:
    """Of a record's stored link keys those that glue: beside them may stand those of a model version that is rolled in."""
    return [key for key in link_keys if len(key) in (BLIND_INDEX_BYTES, BLIND_INDEX_BYTES + _NARROW_BYTES)]


class Change(msgspec.Struct, frozen=True):
    """What happens to records: links maps new and changed records to their link keys, gone are those deleted.

    before: link keys that the changed and deleted records had.
    """

    links: Mapping[int, Sequence[bytes]]
    before: Mapping[int, Sequence[bytes]]
    gone: frozenset[int] = frozenset()

    def touched(self) -> dict[bytes, int]:
        """Every key that gains, keeps or loses a record, with how many of its present records change or go."""
        counts = dict.fromkeys((key for keys in self.links.values() for key in keys if is_looked_up(key)), 0)
        for keys in self.before.values():
            for key in filter(is_looked_up, keys):
                counts[key] = counts.get(key, 0) + 1
        return counts


def bounds(touched: Mapping[bytes, int]) -> list[int]:
    """How many present records of each touched key must be read to know whether it is hot before and after."""
    return [limits.HOT_LINK_RECORDS + 1 + leaving for leaving in touched.values()]


class Membership:
    """Who carries the touched keys before and after a change. Built from the rows (key, record) that `bounds` allows."""

    def __init__(self, change: Change, rows: Iterable[tuple[bytes, int]]) -> None:
        present: dict[bytes, set[int]] = {}
        for key, record in rows:
            present.setdefault(key, set()).add(record)
        self.after: dict[bytes, set[int]] = {key: members - change.before.keys() for key, members in present.items()}
        for record, keys in change.links.items():
            for key in filter(is_looked_up, keys):
                self.after.setdefault(key, set()).add(record)
        hot = limits.HOT_LINK_RECORDS
        self.reached: set[int] = set(change.before)
        """Records whose persons may change: those of every key that glues before or after."""
        for key, members in present.items():
            if len(members) <= hot or len(self.after[key]) <= hot:
                self.reached |= members


def settle(
    links: Mapping[int, Sequence[bytes]],
    members: Mapping[bytes, Collection[int]],
    outside: Mapping[int, Sequence[bytes]],
    current: Mapping[int, int],
    new_ids: Callable[[], int],
) -> Assignment:
    """The persons of `links`: all records of every person that a change reaches, as they are after it.

    members: for each looked-up key carried by two of them, who carries it in the whole set (of a hot one, more than
    limits.HOT_LINK_RECORDS suffice). outside: link keys of members that are not in `links`. current: the persons so far.
    """
    return assign(components(links, _inert(links, members, outside)), current, new_ids)


def shared_keys(links: Mapping[int, Sequence[bytes]]) -> set[bytes]:
    """The looked-up keys that more than one of these records carries: no other key can glue them."""
    once: set[bytes] = set()
    twice: set[bytes] = set()
    for keys in links.values():
        for key in filter(is_looked_up, keys):
            (twice if key in once else once).add(key)
    return twice


def _inert(
    links: Mapping[int, Sequence[bytes]], members: Mapping[bytes, Collection[int]], outside: Mapping[int, Sequence[bytes]]
) -> set[bytes]:
    hot: set[bytes] = set()
    contested: set[bytes] = set()
    for key, carrying in members.items():
        if len(carrying) > limits.HOT_LINK_RECORDS:
            hot.add(key)
        elif len(carrying) > 1:
            keys_of = (links[record] if record in links else outside[record] for record in carrying)
            if len({other for keys in keys_of for other in keys if other != key and other.startswith(key)}) > 1:
                contested.add(key)
    narrow = {key for keys in links.values() for key in keys if not is_looked_up(key) and key[:BLIND_INDEX_BYTES] in hot}
    return hot | contested | narrow
