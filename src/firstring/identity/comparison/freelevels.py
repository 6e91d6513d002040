"""Comparisons of kind text: levels whose tests a spec states, such as `jaro_winkler >= 0.92` or `email_local equal`.

A test is `[COLUMN] equal`, or `[COLUMN] MEASURE OP NUMBER`; COLUMN is one of the comparison's columns or one derived from
them (the first, where it is left out). Measures (rapidfuzz's definitions):

jaro_winkler, jaro: similarity, 0 to 1, `>=`; levenshtein, damerau (unrestricted), osa: edits, `<=`; days: between two
dates YYYYMMDD, `<=`.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA, DamerauLevenshtein, Jaro, JaroWinkler, Levenshtein
from rapidfuzz.process import cpdist

from firstring.identity.comparison.columns import Column, Table
from firstring.identity.comparison.spec import Comparison

_TEST = re.compile(r"(?:(?P<column>[^\s]+) )?(?:equal|(?P<measure>[a-z_]+) (?P<op><=|>=) (?P<number>\d+(?:\.\d+)?))")
_SIMILARITIES: Final[dict[str, Any]] = {
    "jaro_winkler": JaroWinkler.normalized_similarity,
    "jaro": Jaro.normalized_similarity,
}
_EDITS: Final[dict[str, Any]] = {
    "levenshtein": Levenshtein.distance,
    "damerau": DamerauLevenshtein.distance,
    "osa": OSA.distance,
}
MEASURES: Final = (*_SIMILARITIES, *_EDITS, "days")
_NEVER: Final = 1 << 20


class LevelTest(NamedTuple):
    """One test. column "": the comparison's first; measure "": equality. number: similarity, edits or days."""

    column: str
    measure: str
    number: float


@lru_cache(maxsize=1024)
def read_test(text: str) -> LevelTest:
    """Raises ValueError where the text is no test."""
    match = _TEST.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is no test: [COLUMN] equal, or [COLUMN] MEASURE >= NUMBER")
    measure = match["measure"] or ""
    if measure and measure not in MEASURES:
        raise ValueError(f"'{measure}' is no measure: one of {', '.join(MEASURES)}")
    if measure and (match["op"] == ">=") != (measure in _SIMILARITIES):
        raise ValueError(f"'{text}': a similarity is tested with >=, edits and days with <=")
    return LevelTest(match["column"] or "", measure, float(match["number"] or 0))


def compared_freely(
    comparison: Comparison, table: Table, left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """For each pair whether both sides state a column, the octave of the rarest equal value, and what passes each test.

    The last level has no test. A test over a column that the table does not have passes nowhere.
    """
    stated = np.zeros(len(left), bool)
    for name in comparison.columns:
        if table.has(name):
            codes = table.column(name).codes
            stated |= (codes[left] >= 0).any(axis=1) & (codes[right] >= 0).any(axis=1)
    bands = np.zeros(len(left), np.uint8)
    passed = []
    for level in comparison.levels[:-1]:
        test = read_test(level.test)
        name = test.column or comparison.columns[0]
        found = np.zeros(len(left), bool)
        if table.has(name):
            found = _passed(test, table, name, left, right, bands)
        passed.append(found)
    return stated, bands, passed


def _passed(
    test: LevelTest, table: Table, name: str, left: NDArray[np.int64], right: NDArray[np.int64], bands: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    column = table.column(name)
    ones, others = column.codes[left], column.codes[right]
    found = np.zeros(len(left), bool)
    for one in range(ones.shape[1]):
        for other in range(others.shape[1]):
            here, there = ones[:, one], others[:, other]
            both = (here >= 0) & (there >= 0)
            equal = both & (here == there)
            found |= equal
            if not test.measure:
                bands[equal] = np.maximum(bands[equal], table.bands_at(name, here[equal]))
                continue
            rest = both & ~found
            found[rest] = _distinct(test, column, here[rest], there[rest])
    return found


def _distinct(test: LevelTest, column: Column, left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Each distinct pair of values is measured once."""
    low, high = np.minimum(left, right).astype(np.int64), np.maximum(left, right)
    distinct, inverse = np.unique(low << 32 | high, return_inverse=True)
    ones = [column.values[code] for code in (distinct >> 32).tolist()]
    others = [column.values[code] for code in (distinct & 0xFFFFFFFF).tolist()]
    return _measured(test, ones, others)[inverse]


def _measured(test: LevelTest, ones: list[str], others: list[str]) -> NDArray[np.bool_]:
    if test.measure == "days":
        return np.array([days_between(one, other) <= test.number for one, other in zip(ones, others, strict=True)], bool)
    if test.measure in _SIMILARITIES:
        alike = cpdist(ones, others, scorer=_SIMILARITIES[test.measure], dtype=np.float64, workers=1)
        return np.asarray(alike >= test.number)
    edits = cpdist(ones, others, scorer=_EDITS[test.measure], dtype=np.int32, workers=1)
    return np.asarray(edits <= test.number)


def days_between(one: str, other: str) -> int:
    """Days between two dates YYYYMMDD; more than any where one of them is no day of the calendar."""
    try:
        return abs((date.fromisoformat(one) - date.fromisoformat(other)).days)
    except ValueError:
        return _NEVER
