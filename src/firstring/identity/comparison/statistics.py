"""What a model version knows of values: how rare each is. Frozen with the version, so that order of arrival cannot matter.

Values are held as keyed 64-bit hashes (BLAKE2b, RFC 7693), sorted, and only those that two records or more state: a value
that is not there is as rare as a value can be. Two values in 2^64 look alike by chance: with ten million values one pair
in 400,000 data sets does, and then one of them has the other's rarity.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

BANDS: Final = 24
"""Octaves of rarity: from 1 (every record has it) to 2^-23, so that a pair in ten million records has its own."""
SEVERAL_NAMES: Final = "email_names"
"""The column of e-mail addresses that several given names use."""

Bands = NDArray[np.uint8]


def octave(counts: NDArray[np.int64], stated: int) -> Bands:
    """The octave of rarity of values that so many of `stated` records hold: n where the share is 2^-n or less."""
    share = np.maximum(counts, 1) / max(stated, 1)
    rarity = np.floor(-np.log2(np.minimum(share, 1.0)) + 1e-9)
    return np.minimum(rarity, BANDS - 1).astype(np.uint8)


class Values(msgspec.Struct, frozen=True):
    """Of one column: how many records state it; hashes (sorted) and bands of the values that two or more of them share."""

    stated: int
    hashes: NDArray[np.uint64]
    bands: Bands


class Statistics:
    """The value tables of one model version. key: 16 to 64 secret bytes, the same for making and asking."""

    def __init__(self, records: int, columns: Mapping[str, Values], key: bytes) -> None:
        self.records = records
        self.columns = dict(columns)
        self._key = key
        self._alone = {name: int(octave(np.ones(1, np.int64), one.stated)[0]) for name, one in self.columns.items()}
        """By column, the octave of a value that no two records share."""

    def hashes(self, column: str, values: Sequence[str]) -> NDArray[np.uint64]:
        """The keyed hashes of values of a column."""
        person = column.encode()[:16]
        key = self._key
        digests = b"".join(hashlib.blake2b(one.encode(), digest_size=8, key=key, person=person).digest() for one in values)
        return np.frombuffer(digests, np.uint64)

    def bands(self, column: str, values: Sequence[str]) -> Bands:
        """The octave of rarity of each value; of a column that the version does not know, the rarest."""
        known = self.columns.get(column)
        if known is None:
            return np.full(len(values), BANDS - 1, np.uint8)
        found = np.full(len(values), self._alone[column], np.uint8)
        there, place = self._places(known, column, values)
        found[there] = known.bands[place[there]]
        return found

    def band(self, column: str, value: str) -> int:
        """`bands` of one value, in a tenth of the time."""
        known = self.columns.get(column)
        if known is None:
            return BANDS - 1
        place = self._place(known, column, value)
        return int(known.bands[place]) if place >= 0 else self._alone[column]

    def stated(self, column: str) -> int:
        """How many of the version's records state a column."""
        known = self.columns.get(column)
        return 0 if known is None else known.stated

    def several_names(self, emails: Sequence[str]) -> NDArray[np.bool_]:
        """Whether records of several given names state each e-mail address."""
        known = self.columns.get(SEVERAL_NAMES)
        if known is None:
            return np.zeros(len(emails), np.bool_)
        return self._places(known, SEVERAL_NAMES, emails)[0]

    def has_several_names(self, email: str) -> bool:
        """`several_names` of one address."""
        known = self.columns.get(SEVERAL_NAMES)
        return known is not None and self._place(known, SEVERAL_NAMES, email) >= 0

    def _place(self, known: Values, column: str, value: str) -> int:
        """Where a value stands among those that are known; -1 where it does not."""
        digest = hashlib.blake2b(value.encode(), digest_size=8, key=self._key, person=column.encode()[:16]).digest()
        hashed = int.from_bytes(digest, sys.byteorder)
        place = int(known.hashes.searchsorted(np.uint64(hashed)))
        return place if place < len(known.hashes) and int(known.hashes[place]) == hashed else -1

    def _places(self, known: Values, column: str, values: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        hashes = self.hashes(column, values)
        if not len(known.hashes):
            return np.zeros(len(values), np.bool_), np.zeros(len(values), np.int64)
        place = np.minimum(np.searchsorted(known.hashes, hashes), len(known.hashes) - 1)
        return np.asarray(known.hashes[place] == hashes), np.asarray(place)

    def as_bytes(self) -> bytes:
        """Everything but the key."""
        file = io.BytesIO()
        arrays: dict[str, NDArray[np.generic]] = {"records": np.array([self.records], np.int64)}
        for name, values in sorted(self.columns.items()):
            arrays[f"{name}.stated"] = np.array([values.stated], np.int64)
            arrays[f"{name}.hashes"] = values.hashes
            arrays[f"{name}.bands"] = values.bands
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, key: bytes) -> Statistics:
        """Reads what as_bytes wrote. Raises ValueError where it is something else."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            names = sorted({name.rpartition(".")[0] for name in arrays.files} - {""})
            columns = {
                name: Values(int(arrays[f"{name}.stated"][0]), arrays[f"{name}.hashes"], arrays[f"{name}.bands"])
                for name in names
            }
            return cls(int(arrays["records"][0]), columns, key)


def frozen(
    records: int, counted: Mapping[str, tuple[Sequence[str], NDArray[np.int64], int]], several: Sequence[str], key: bytes
) -> Statistics:
    """Statistics of counted columns: name -> (values, how many records hold each, how many state any).

    several: the e-mail addresses that records of several given names state.
    """
    empty = Statistics(records, {}, key)
    columns: dict[str, Values] = {}
    for name, (values, counts, stated) in counted.items():
        shared = np.flatnonzero(counts > 1)
        hashes = empty.hashes(name, [values[place] for place in shared.tolist()])
        order = np.argsort(hashes, kind="stable")
        columns[name] = Values(stated, hashes[order], octave(counts[shared], stated)[order])
    hashes = np.sort(empty.hashes(SEVERAL_NAMES, several))
    columns[SEVERAL_NAMES] = Values(len(several), hashes, np.zeros(len(hashes), np.uint8))
    return Statistics(records, columns, key)
