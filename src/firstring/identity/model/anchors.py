"""What pairs that are surely one person, and pairs that state what tells people apart, tell training beforehand.

People of one country share names, places and postcodes. Where the values are few, independence given the class is far
off, and the class that may learn everything takes these pairs in: pairs of one person whose birth dates or contact points
do not agree, or are not stated. Two things keep it from that. The classes are learned from pairs that state a birth date
on both sides, or a contact point where the data have no birth dates: these tell people apart and do not follow names and
places. And how often what one person states is unlike (birth dates, contact points, places) is bounded by pairs that
agree on the given name and on another contact point. docs/decisions/latent-classes.md has measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.identity.comparison.columns import Table
from firstring.identity.comparison.levels import MISSING, outcomes
from firstring.identity.comparison.spec import Comparison
from firstring.identity.model.model import Floats, coarse

CONTACTS: Final = ("email", "identifier")
"""Kinds of comparison of contact points."""
_UNLIKE: Final = ("edit2", "month_day", "days", "year", "different")
"""Levels of a birth date that pairs of strangers have often enough to be taken for pairs of one person."""
_PRIOR_PAIRS: Final = 20.0
_PRIOR_UNLIKE: Final = 0.2
_FACTOR: Final = 1.25
_MORE: Final = 0.02
"""A class of one person may have this much more of what is unlike than sure pairs, which agree on more than others."""
_LEAST_STATED: Final = 0.02
"""Share of pairs of records that state a birth date (or contact point) below which all pairs are learned from."""
_ALL_STATED: Final = 0.9
"""The same above which all are learned from: the few others lead nothing astray, and hold something to learn."""
_EVEN: Final = 0.5
"""The same where sure pairs state one so much more seldom than others: the source that has none holds one side of them."""

Mask = NDArray[np.bool_]


def birth_date(comparisons: Sequence[Comparison]) -> int | None:
    """The place of the first comparison of dates."""
    return next((place for place, one in enumerate(comparisons) if one.kind == "date"), None)


def sure(comparisons: Sequence[Comparison], rows: NDArray[np.uint8], but: int | None = None) -> Mask:
    """Patterns (comparisons, patterns) that share a contact point, and the given name where it is compared.

    but: the place of a comparison that does not count.
    """
    found = np.zeros(rows.shape[1], bool)
    for place, one in enumerate(comparisons):
        if one.kind in CONTACTS and place != but:
            found |= coarse(one)[rows[place]] == 1
    for place, one in enumerate(comparisons):
        if one.kind == "names" and one.columns[0] == "given":
            found &= coarse(one)[rows[place]] == 1
    return found


class Bound(NamedTuple):
    """At some outcomes of a comparison, pairs of one person have at most this share in all."""

    places: list[int]
    most: float


def bounds(comparisons: Sequence[Comparison], rows: NDArray[np.uint8], counts: Floats) -> dict[int, Bound]:
    """By the place of a comparison, how often pairs of one person are unlike in it at most, by sure pairs.

    A birth date: by pairs that share any contact point. A contact point or a place: by those that share another contact
    point; where there is none, it has no bound.
    """
    found: dict[int, Bound] = {}
    for place, one in enumerate(comparisons):
        others = [other for other in comparisons if other.kind in CONTACTS and other is not one]
        if one.kind == "date" and place == birth_date(comparisons):
            unlike = unlike_places(one)
        elif others and one.kind in (*CONTACTS, "place"):
            unlike = [outcomes(one).first["different"]]
        else:
            continue
        stated = sure(comparisons, rows, but=place) & (rows[place] != MISSING)
        seen = counts[stated & np.isin(rows[place], unlike)].sum()
        share = (seen + _PRIOR_PAIRS * _PRIOR_UNLIKE) / (counts[stated].sum() + _PRIOR_PAIRS)
        found[place] = Bound(unlike, min(1.0, _FACTOR * float(share) + _MORE))
    return found


def unlike_places(comparison: Comparison) -> list[int]:
    """The outcomes of a birth date that are unlike."""
    first = outcomes(comparison).first
    return [first[name] for name in _UNLIKE if name in first]


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

    Those that state a birth date on both sides, or any contact point where the data have no birth date; all, for 1,
    where nearly all or next to none do, or pairs of one person do much more seldom.
    """
    everything = np.ones(rows.shape[1], bool), 1.0
    place = birth_date(comparisons)
    if place is None:
        chosen = [number for number, one in enumerate(comparisons) if one.kind in CONTACTS]
        certain = _alike(comparisons, rows)
    else:
        chosen, certain = [place], sure(comparisons, rows)
    share = _both_state(table, [comparisons[number].columns[0] for number in chosen])
    if not _LEAST_STATED <= share < _ALL_STATED:
        return everything
    stated = (rows[chosen] != MISSING).any(axis=0)
    of_sure = (counts[certain & stated].sum() + _PRIOR_PAIRS * share) / (counts[certain].sum() + _PRIOR_PAIRS)
    return (stated, share) if of_sure >= _EVEN * share else everything


def _alike(comparisons: Sequence[Comparison], rows: NDArray[np.uint8]) -> Mask:
    """Patterns that agree in everything of the profile."""
    found = np.ones(rows.shape[1], bool)
    for place, one in enumerate(comparisons):
        if one.profile:
            found &= coarse(one)[rows[place]] == 1
    return found


def _both_state(table: Table, columns: Sequence[str]) -> float:
    """Share of all pairs of records in which both state one of these columns, the same one."""
    states = np.zeros(table.rows, np.int64)
    for bit, name in enumerate(columns):
        states |= (table.column(name).codes >= 0).any(axis=1).astype(np.int64) << bit
    kinds, held = np.unique(states, return_counts=True)
    common = (kinds[:, None] & kinds[None, :]) != 0
    pairs = np.outer(held, held) - np.diag(held)
    return float((pairs * common).sum()) / max(table.rows * (table.rows - 1.0), 1.0)
