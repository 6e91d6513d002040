"""Guards: merges that are held for a person to look at, and why. Data, and a function of the set of records alone."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.identity.comparison.levels import Patterns, outcomes, unpacked
from firstring.identity.model.model import SAME, Model
from firstring.identity.persons.clustering import TOO_MANY


class Contradiction(msgspec.Struct, frozen=True):
    """Two records whose comparisons all come out so contradict one another: (comparison, level) pairs.

    seldom: it holds under a model by which at most this share of the pairs of one person show it. Where more do, the
    fields are written wrong so often that they contradict nothing.
    """

    code: str
    says: str
    all: tuple[tuple[str, str], ...]
    seldom: float = 1.0


CONTRADICTIONS: Final = (
    Contradiction(
        "suffix_contradicts",
        "One is called Jr (or Sr, II, ...) and the other is not the same: father and son share the rest.",
        (("suffix", "different"),),
    ),
    Contradiction(
        "national_id_contradicts",
        "Both state a national id, not the same one, and the birth dates differ too.",
        (("national_id", "different"), ("birth_date", "different")),
        seldom=0.001,
    ),
    Contradiction(
        "birth_date_contradicts",
        "Their birth dates have nothing in common: father and son of one name share the rest.",
        (("birth_date", "different"),),
        seldom=0.01,
    ),
)
"""Evidence so strong that no number of agreements joins over it without somebody looking."""

SAYS: Final = {
    TOO_MANY: "Together they would be made of unusually many different records.",
    **{one.code: one.says for one in CONTRADICTIONS},
}
"""What each guard says for itself, by its code."""


def contradictions(model: Model, patterns: Patterns) -> list[tuple[str, NDArray[np.int64]]]:
    """For each contradiction the places of the patterns that show it. Comparisons that are not there show nothing."""
    wanted = [one for one in CONTRADICTIONS if _holds(one, model)]
    if not wanted or not len(patterns):
        return []
    comparisons = model.comparisons()
    place = {one.name: number for number, one in enumerate(comparisons)}
    rows = unpacked(comparisons, patterns)
    found = []
    for one in wanted:
        shown = np.ones(len(patterns), bool)
        for name, level in one.all:
            known = comparisons[place[name]]
            shown &= rows[place[name]] == outcomes(known).first[level]
        if shown.any():
            found.append((one.code, np.flatnonzero(shown)))
    return found


def _holds(one: Contradiction, model: Model) -> bool:
    share = 1.0
    for name, level in one.all:
        if level not in model.shares.get(name, ()):
            return False
        share *= model.shares[name][level][SAME]
    return share <= one.seldom
