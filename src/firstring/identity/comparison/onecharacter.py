"""Which texts cannot be one edit apart, told by one number of each text: most pairs need no comparing of texts.

The number is a sum over the characters of a text, so that one edit changes it by one of 273 known differences; two
neighbours that change places do not change it. A difference that is none of them says that there are more edits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Sums: TypeAlias = NDArray[np.uint64]

_KINDS: Final = 16
"""Characters are told apart by their last four bits: all digits, and most letters of like frequency."""
_WEIGHTS: Final[Sums] = np.random.default_rng(1).integers(1, 1 << 63, _KINDS, np.uint64)
_DIFFERENCES: Final[Sums] = np.unique(
    np.concatenate((_WEIGHTS, np.uint64(0) - _WEIGHTS, (_WEIGHTS[:, None] - _WEIGHTS[None, :]).ravel()))
)
_CHUNK: Final = 1 << 16


def character_sums(values: Sequence[str]) -> Sums:
    """The number of each text."""
    found = np.zeros(len(values), np.uint64)
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        characters = np.frombuffer("".join(chunk).encode("utf-32-le", "surrogatepass"), np.uint32)
        ends = np.cumsum([len(value) for value in chunk])
        running = np.append(np.uint64(0), np.cumsum(_WEIGHTS[characters & (_KINDS - 1)], dtype=np.uint64))
        found[start : start + _CHUNK] = np.diff(running[ends], prepend=np.uint64(0))
    return found


def may_be_one_edit(ones: Sums, others: Sums) -> NDArray[np.bool_]:
    """Whether texts with these numbers can be one insertion, deletion, substitution or swap of neighbours apart."""
    apart = ones - others
    at = np.searchsorted(_DIFFERENCES, apart)
    found: NDArray[np.bool_] = _DIFFERENCES[np.minimum(at, len(_DIFFERENCES) - 1)] == apart
    return found
