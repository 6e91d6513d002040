"""What pairs that are surely one person, and pairs that state a birth date, tell training beforehand.

People of one country share names, places and postcodes. Where the values are few, independence given the class is far
off, and the class that may learn everything takes these pairs in: pairs of one person whose birth dates do not agree, or
are not stated. Two things keep it from that. The classes are learned from pairs that state a birth date on both sides,
which tells people apart and does not follow names and places; and how often the birth dates of one person are unlike is
bounded by pairs that agree on the given name and on a contact point. docs/decisions/latent-classes.md has measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firstring.identity.columns import Table
from firstring.identity.levels import MISSING, outcomes
from firstring.identity.model import Floats, coarse
from firstring.identity.spec import Comparison

CONTACTS: Final = ("email", "identifier")
"""Kinds of comparison of contact points."""
_UNLIKE: Final = ("edit2", "month_day", "days", "year", "different")
"""Levels of a birth date that pairs of strangers have often enough to be taken for pairs of one person."""
_PRIOR_PAIRS: Final = 20.0
_PRIOR_UNLIKE: Final = 0.2
_FACTOR: Final = 1.25
_MORE: Final = 0.02
"""A class of one person may have this much more of unlike birth dates than sure pairs, which agree on more than others."""
_LEAST_STATED: Final = 0.02
"""Share of pairs of records that state a birth date below which all pairs are learned from."""
_ALL_STATED: Final = 0.9
"""The same above which all are learned from: the few others lead nothing astray, and hold something to learn."""
_EVEN: Final = 0.5
"""The same where sure pairs state one so much more seldom than others: the source that has none holds one side of them."""

Mask = NDArray[np.bool_]


def birth_date(comparisons: Sequence[Comparison]) -> int | None:
    """The place of the first comparison of dates."""
    return next((place for place, one in enumerate(comparisons) if one.kind == "date"), None)


def sure(comparisons: Sequence[Comparison], rows: NDArray[np.uint8]) -> Mask:
    """Patterns (comparisons, patterns) that share a contact point, and the given name where it is compared."""
    found = np.zeros(rows.shape[1], bool)
    for place, one in enumerate(comparisons):
        if one.kind in CONTACTS:
            found |= coarse(one)[rows[place]] == 1
    for place, one in enumerate(comparisons):
        if one.kind == "names" and one.columns[0] == "given":
            found &= coarse(one)[rows[place]] == 1
    return found


def unlike_places(comparison: Comparison) -> list[int]:
    """The outcomes of a birth date that are unlike."""
    first = outcomes(comparison).first
    return [first[name] for name in _UNLIKE if name in first]


def unlike_most(comparisons: Sequence[Comparison], rows: NDArray[np.uint8], counts: Floats) -> float:
    """The share of unlike birth dates that pairs of one person may have at most, by sure pairs; 1 without birth dates."""
    place = birth_date(comparisons)
    if place is None:
        return 1.0
    stated = sure(comparisons, rows) & (rows[place] != MISSING)
    unlike = stated & np.isin(rows[place], unlike_places(comparisons[place]))
    share = (counts[unlike].sum() + _PRIOR_PAIRS * _PRIOR_UNLIKE) / (counts[stated].sum() + _PRIOR_PAIRS)
    return min(1.0, _FACTOR * float(share) + _MORE)


def bounded(shares: Floats, places: Sequence[int], most: float) -> Floats:
    """Shares that add up to 1, with at most `most` in all at some places."""
    chosen = np.array(places, np.int64)
    held = float(shares[chosen].sum())
    if held <= most:
        return shares
    found: Floats = shares * ((1.0 - most) / (1.0 - held))
    found[chosen] = shares[chosen] * (most / held)
    return found


def telling(comparisons: Sequence[Comparison], rows: NDArray[np.uint8], counts: Floats, table: Table) -> tuple[Mask, float]:
    """The patterns to learn classes from, and the share of all pairs of records that are like them: what to divide by.

    Those that state a birth date on both sides; all, for 1, where nearly all or next to none do, or sure pairs do much
    more seldom.
    """
    everything = np.ones(rows.shape[1], bool), 1.0
    place = birth_date(comparisons)
    if place is None:
        return everything
    stating = float((table.column(comparisons[place].columns[0]).codes[:, 0] >= 0).sum())
    share = stating * (stating - 1.0) / max(table.rows * (table.rows - 1.0), 1.0)
    if not _LEAST_STATED <= share < _ALL_STATED:
        return everything
    stated = rows[place] != MISSING
    certain = sure(comparisons, rows)
    of_sure = (counts[certain & stated].sum() + _PRIOR_PAIRS * share) / (counts[certain].sum() + _PRIOR_PAIRS)
    return (stated, share) if of_sure >= _EVEN * share else everything
