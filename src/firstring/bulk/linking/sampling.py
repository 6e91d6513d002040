"""The pairs that training sees: those of all keys that touch a random sample of records, with their share of all pairs.

A pair is seen when one of its records or both are in the sample: every pair with the same chance, whatever its keys and
however many pairs its records are in, so that shares and numbers of pairs come out as among all pairs. Frequencies of
values and the number of records are those of all records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.bulk.linking.comparing import PART_PAIRS, compared
from firstring.bulk.linking.plan import PAIRS_PER_RECORD, Rows, block_pairs, key_rows
from firstring.identity.comparison.columns import Table
from firstring.identity.comparison.spec import BlockingKey, Comparison, Spec
from firstring.identity.model.training import Observed

SEEN_PAIRS: Final = 1_500_000
"""About how many pairs training sees at most."""
_PAIRS_OF_A_RECORD: Final = 30.0
"""How many pairs all keys together make for each record, from which the sample is sized: 26 in households, 12 in FEBRL."""
_SEED: Final = 1


class Seen(NamedTuple):
    """Pairs that training sees: left < right, by_profile: meets under a linking key of the profile; share of all pairs."""

    left: Rows
    right: Rows
    by_profile: NDArray[np.bool_]
    share: float


def seen_pairs(
    spec: Spec, table: Table, most: int = SEEN_PAIRS, told: Callable[[int, int], None] = lambda _done, _all: None
) -> Seen:
    """The pairs of all keys of `spec` that touch the sample, in order; about `most` of them."""
    chosen, share = _sample(table.rows, most)
    linking = {key.name for key in spec.linking if key.profile}
    keys = [key for key in spec.keys if all(table.has(part) for part in key.parts)]
    found: list[NDArray[np.int64]] = []
    for done, key in enumerate(keys, 1):
        left, right = _touching(key, table, chosen, spec.most(key), bounded=key not in spec.linking)
        flag = int(key.name in linking)
        found.append(np.unique((left.astype(np.int64) * table.rows + right) << 1 | flag))
        told(done, len(keys))
    codes = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
    pair, by_profile = codes >> 1, (codes & 1).astype(bool)
    last = np.append(pair[1:] != pair[:-1], True) if len(pair) else np.zeros(0, bool)  # with the profile, if there is one
    left, right = np.divmod(pair[last], max(table.rows, 1))
    return Seen(left.astype(np.int32), right.astype(np.int32), by_profile[last], share)


def _sample(rows: int, most: int) -> tuple[NDArray[np.bool_], float]:
    """Which records are in the sample, and the share of pairs that touch it."""
    share = most / max(rows * _PAIRS_OF_A_RECORD, 1.0)
    if share >= 1.0:
        return np.ones(rows, bool), 1.0
    chance = 1.0 - np.sqrt(1.0 - share)
    # Rows are in the order of their content: the same records give the same sample, in whatever order they came.
    return np.random.default_rng(_SEED).random(rows) < chance, share


def _touching(key: BlockingKey, table: Table, chosen: NDArray[np.bool_], most: int, *, bounded: bool) -> tuple[Rows, Rows]:
    """The pairs under a key that touch the sample.

    A key that is not for linking leaves out its larger blocks where it would make too many pairs (`bounded`).
    """
    hashes, rows = key_rows(key, table)
    begins = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])) if len(hashes) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(begins, len(hashes)))
    if not len(sizes):
        return rows[:0], rows[:0]
    in_sample = np.add.reduceat(chosen[rows].astype(np.int64), begins)
    bound = most
    if bounded:
        by_size = np.bincount(np.minimum(sizes, most + 1), minlength=most + 2)
        sized = np.arange(most + 2)
        pairs = np.cumsum(by_size * sized * (sized - 1) // 2)
        bound = int(np.searchsorted(pairs[:-1], PAIRS_PER_RECORD * table.rows, side="right")) - 1
    keep = np.repeat((in_sample > 0) & (sizes <= max(bound, 2)), sizes)
    lefts, rights = [rows[:0]], [rows[:0]]
    for left, right in block_pairs(hashes[keep], rows[keep]):
        touches = chosen[left] | chosen[right]
        lefts.append(left[touches])
        rights.append(right[touches])
    return np.concatenate(lefts), np.concatenate(rights)


def observe(
    comparisons: Sequence[Comparison],
    table: Table,
    seen: Seen,
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> Observed:
    """The distinct patterns of the pairs seen, in order, and how many of all pairs have each."""
    numbers: list[NDArray[np.int64]] = []
    flags: list[NDArray[np.bool_]] = []
    counts: list[NDArray[np.int64]] = []
    parts = [slice(start, start + PART_PAIRS) for start in range(0, len(seen.left), PART_PAIRS)]
    rows = ((seen.left[part], seen.right[part]) for part in parts)
    for part, found in zip(parts, compared(comparisons, table, rows, len(seen.left)), strict=True):
        for flag in (False, True):
            distinct, count = np.unique(found[seen.by_profile[part] == flag], return_counts=True)
            numbers.append(distinct)
            flags.append(np.full(len(distinct), flag))
            counts.append(count)
        told(min(part.stop, len(seen.left)), len(seen.left))
    return _added_up(np.concatenate(numbers), np.concatenate(flags), np.concatenate(counts), seen.share)


def _added_up(numbers: NDArray[np.int64], flags: NDArray[np.bool_], counts: NDArray[np.int64], share: float) -> Observed:
    order = np.lexsort((flags, numbers))
    numbers, flags, counts = numbers[order], flags[order], counts[order]
    begins = np.flatnonzero(np.append(True, (numbers[1:] != numbers[:-1]) | (flags[1:] != flags[:-1])))
    whole = np.add.reduceat(counts, begins).astype(np.float64)
    return Observed(numbers[begins], whole / share, flags[begins])
