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

from firstring.identity.columns import Hashes, Table
from firstring.identity.spec import BlockingKey, Spec

Rows: TypeAlias = NDArray[np.int32]

PAIRS_PER_RECORD: Final = 4
"""Pairs that one key may make for each record. A key that would make more leaves out its larger blocks first."""
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

    @property
    def pairs(self) -> int:
        return sum(one.pairs for one in self.keys)


def make_plan(spec: Spec, table: Table) -> Plan:
    """Counts the blocks of every key; nothing is compared."""
    found = []
    for key in spec.keys:
        if not all(table.has(part) for part in key.parts):
            continue
        hashes, _ = key_rows(key, table)
        _, counts = np.unique(hashes, return_counts=True)
        found.append(_planned(key, counts[counts > 1], spec.block_records, PAIRS_PER_RECORD * table.rows))
    return Plan(table.rows, tuple(found))


def _planned(key: BlockingKey, counts: NDArray[np.int64], most: int, budget: int) -> KeyPlan:
    """The largest bound on blocks, up to `most` records, under which the key stays within its budget of pairs."""
    by_size = np.bincount(np.minimum(counts, most + 1), minlength=most + 2)
    sizes = np.arange(most + 2)
    pairs = np.cumsum(by_size * sizes * (sizes - 1) // 2)
    bound = most
    while bound > _SMALLEST_BLOCK and pairs[bound] > budget:
        bound -= 1
    hot = counts[counts > bound]
    return KeyPlan(key, bound, int((counts <= bound).sum()), int(pairs[bound]), len(hot), int(hot.sum()))


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
    hashes, rows = hashes[keep], rows[keep]
    for apart in range(1, plan.block_records):
        same = np.flatnonzero(hashes[apart:] == hashes[:-apart])
        if not len(same):
            return
        yield rows[same], rows[same + apart]
