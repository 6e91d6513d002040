"""Which pairs of records are worth comparing: blocking keys, how many pairs each makes, and values too hot to make any.

The plan is a function of the set of records. It knows no engine: a key is a set of hashes by row, and what it gives is
pairs of row numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.identity.comparison.columns import Hashes, Table
from firstring.identity.comparison.spec import BlockingKey, Spec

Rows: TypeAlias = NDArray[np.int32]

PAIRS_PER_RECORD: Final = 4
"""Pairs that a key which is for training alone may make for each record; it leaves out its larger blocks first."""
_SMALLEST_BLOCK: Final = 2
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


class KeyPlan(msgspec.Struct, frozen=True):
    """One key: `blocks` of 2 to `block_records` records make `pairs`; hot_values larger ones with hot_records make none."""

    key: BlockingKey
    block_records: int
    blocks: int
    pairs: int
    hot_values: int
    hot_records: int


class Plan(msgspec.Struct, frozen=True):
    """All keys that the records have values for. Pairs are counted per key: a pair that meets twice counts twice."""

    records: int
    keys: tuple[KeyPlan, ...]
    spec: Spec

    @property
    def pairs(self) -> int:
        return sum(one.pairs for one in self.keys)


def make_plan(spec: Spec, table: Table) -> Plan:
    """Counts the blocks of every key that links; nothing is compared.

    A value that more than `Spec.most` rows carry is hot and makes no pairs under its key. Nothing else is left out,
    so that the pairs of two records depend on the values that they carry, and not on how large the data are.
    """
    found = []
    for key in spec.linking:
        if all(table.has(part) for part in key.parts):
            hashes, _ = key_rows(key, table)
            counts = np.unique(hashes, return_counts=True)[1]
            most = spec.most(key)
            within = counts[(counts >= _SMALLEST_BLOCK) & (counts <= most)]
            hot = counts[counts > most]
            made = int((within * (within - 1) // 2).sum())
            found.append(KeyPlan(key, most, len(within), made, len(hot), int(hot.sum())))
    return Plan(table.rows, tuple(found), spec)


def key_rows(key: BlockingKey, table: Table) -> tuple[Hashes, Rows]:
    """(hash, row) for every value that a record has under a key, sorted by hash, then row; no row twice in a block."""
    rows = np.arange(table.rows, dtype=np.int32)
    joined: Hashes = np.zeros((table.rows, 1), np.uint64)
    stated = np.ones((table.rows, 1), bool)
    for part in key.parts:
        hashes = table.part(part)
        # Parts with several slots meet every slot of the parts before.
        stated = (stated[:, :, None] & (hashes != 0)[:, None, :]).reshape(table.rows, -1)
        mixed = (joined * _MIX) ^ (joined >> np.uint64(29))
        joined = (mixed[:, :, None] + hashes[:, None, :]).reshape(table.rows, -1)
    width = joined.shape[1]
    keep = stated.ravel()
    flat, owner = joined.ravel()[keep], np.repeat(rows, width)[keep]
    order = np.lexsort((owner, flat))
    flat, owner = flat[order], owner[order]
    if width > 1 and len(flat):
        first = np.append(True, (flat[1:] != flat[:-1]) | (owner[1:] != owner[:-1]))
        flat, owner = flat[first], owner[first]
    return flat, owner


def key_pairs(plan: KeyPlan, table: Table) -> Iterator[tuple[Rows, Rows]]:
    """The pairs of rows (left < right) that meet under a key, in parts; each pair once."""
    hashes, rows = key_rows(plan.key, table)
    begins = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])) if len(hashes) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(begins, len(hashes)))
    size_of = np.repeat(sizes, sizes)
    keep = (size_of >= _SMALLEST_BLOCK) & (size_of <= plan.block_records)
    yield from block_pairs(hashes[keep], rows[keep])


def insufficient(spec: Spec, key: BlockingKey, table: Table, left: Rows, right: Rows) -> NDArray[np.bool_]:
    """Which pairs that meet under a key do not, where they share no other one (`BlockingKey.unless`)."""
    found: NDArray[np.bool_] = np.zeros(len(left), np.bool_)
    for column in spec.unless(key):
        if table.has(column):
            stated = np.asarray((table.column(column).codes >= 0).any(axis=1))
            found = np.asarray(found | (stated[left] & stated[right]))
    return found


def block_pairs(hashes: Hashes, rows: Rows) -> Iterator[tuple[Rows, Rows]]:
    """All pairs of rows that share a hash, in parts; hashes are sorted."""
    for apart in range(1, len(hashes)):
        same = np.flatnonzero(hashes[apart:] == hashes[:-apart])
        if not len(same):
            return
        yield rows[same], rows[same + apart]
