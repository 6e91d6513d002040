"""Pairs of records to levels: vectorised, each distinct pair of values compared once.

Strings are compared with rapidfuzz, whose Jaro-Winkler (Winkler 1990, prefix weight .1 from .7 on) and optimal string
alignment distance (one insertion, deletion, substitution or swap of neighbours is one edit) are the definitions here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA, JaroWinkler
from rapidfuzz.process import cpdist

from firstring.identity.canonical import nicknames
from firstring.identity.canonical.text import CACHE_VALUES
from firstring.identity.comparison.columns import Column, Table
from firstring.identity.comparison.freelevels import compared_freely
from firstring.identity.comparison.onecharacter import Sums, may_be_one_edit
from firstring.identity.comparison.spec import Comparison, Level, Spec
from firstring.identity.comparison.statistics import BANDS

Rows: TypeAlias = NDArray[np.int64]
"""Row numbers of one side of pairs."""
Outcome: TypeAlias = NDArray[np.uint8]
"""For each pair the number of an outcome: 0 where one side states nothing."""
Patterns: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
Measured: TypeAlias = Callable[[list[str], list[str]], NDArray[np.uint8]]

MISSING: Final = 0
_CLOSE: Final = 0.92
_SIMILAR: Final = 0.82
_EMAIL_SIMILAR: Final = 0.9


class Outcomes(NamedTuple):
    """The outcomes of a comparison in order: (level, band or None), and the first outcome of each level by name."""

    of: tuple[tuple[Level, int | None], ...]
    first: dict[str, int]

    @property
    def radix(self) -> int:
        """How many there are, with "missing"."""
        return len(self.of) + 1


@lru_cache(maxsize=256)
def outcomes(comparison: Comparison) -> Outcomes:
    """All outcomes of a comparison; outcome 0 is "missing" and not among them."""
    rows: list[tuple[Level, int | None]] = []
    first: dict[str, int] = {}
    for level in comparison.levels:
        first[level.name] = len(rows) + 1
        rows += [(level, band) for band in range(BANDS)] if level.banded else [(level, None)]
    return Outcomes(tuple(rows), first)


def active(spec: Spec, table: Table) -> tuple[Comparison, ...]:
    """The comparisons for which the table has any column."""
    return tuple(one for one in spec.comparisons if any(table.has(column) for column in one.columns))


def compare(comparison: Comparison, table: Table, left: Rows, right: Rows) -> Outcome:
    """The outcome of a comparison for each pair of rows; MISSING where no row of the table states any of its columns."""
    if not any(table.has(column) for column in comparison.columns):
        return np.zeros(len(left), np.uint8)
    return _KINDS[comparison.kind](comparison, table, left, right)


def radices(comparisons: Sequence[Comparison]) -> list[int]:
    """How many outcomes each comparison has, with "missing". Their product stays below 2^63."""
    counts = [outcomes(comparison).radix for comparison in comparisons]
    product = 1
    for count in counts:
        product *= count
    if product >= 1 << 63:
        raise ValueError("too many comparisons for one pattern")
    return counts


def patterns(comparisons: Sequence[Comparison], table: Table, left: Rows, right: Rows) -> Patterns:
    """All comparisons of each pair as one number, mixed radix, the first comparison most significant."""
    found = np.zeros(len(left), np.int64)
    for comparison, radix in zip(comparisons, radices(comparisons), strict=True):
        found = found * radix + compare(comparison, table, left, right)
    return found


def unpacked(comparisons: Sequence[Comparison], numbers: Patterns) -> NDArray[np.uint8]:
    """Patterns taken apart again: (comparisons, patterns)."""
    rest = numbers.copy()
    rows = np.empty((len(comparisons), len(numbers)), np.uint8)
    for place, radix in reversed(list(enumerate(radices(comparisons)))):
        rest, rows[place] = np.divmod(rest, radix)
    return rows


# --- comparing values ----------------------------------------------------------------------------------------------


def _measured(column: Column, left: NDArray[np.int32], right: NDArray[np.int32], measure: Measured) -> NDArray[np.uint8]:
    """`measure` of each pair of codes of a column; each distinct unordered pair is measured once."""
    if not len(left):
        return np.zeros(0, np.uint8)
    low, high = np.minimum(left, right).astype(np.int64), np.maximum(left, right)
    distinct, inverse = np.unique(low << 32 | high, return_inverse=True)
    values = column.values
    ones = [values[code] for code in (distinct >> 32).tolist()]
    others = [values[code] for code in (distinct & 0xFFFFFFFF).tolist()]
    return measure(ones, others)[inverse]


def _similarity(ones: list[str], others: list[str]) -> NDArray[np.float32]:
    return np.asarray(cpdist(ones, others, scorer=JaroWinkler.normalized_similarity, dtype=np.float32, workers=1))


def _edits(ones: list[str], others: list[str], most: int) -> NDArray[np.uint8]:
    """Edits up to `most`; more is most + 1."""
    return np.asarray(cpdist(ones, others, scorer=OSA.distance, score_cutoff=most, dtype=np.uint8, workers=1))


def _one_edit(ones: list[str], others: list[str]) -> NDArray[np.uint8]:
    return (_edits(ones, others, 1) <= 1).astype(np.uint8)


def is_close(one: str, other: str) -> bool:
    """Whether two places are nearly the same."""
    return bool(_similarity([one], [other])[0] >= _CLOSE)


def given_levels(ones: list[str], others: list[str]) -> NDArray[np.uint8]:
    """1 nickname or prefix, 2 close, 3 initial, 4 similar, 5 different."""
    alike = _similarity(ones, others)
    found = np.where(alike >= _CLOSE, 2, np.where(alike >= _SIMILAR, 4, 5)).astype(np.uint8)
    for place, (one, other) in enumerate(zip(ones, others, strict=True)):
        if one[:1] == other[:1] and (len(one) == 1 or len(other) == 1):
            found[place] = 3
        elif _is_prefix(one, other) or _is_prefix(other, one) or (found[place] > 1 and nicknames.related(one, other)):
            found[place] = 1
    return found


def _is_prefix(short: str, name: str) -> bool:
    return len(short) > 2 and name.startswith(short)


def family_levels(ones: list[str], others: list[str]) -> NDArray[np.uint8]:
    """1 close, 2 part, 3 similar, 4 different."""
    alike = _similarity(ones, others)
    found = np.where(alike >= _CLOSE, 1, np.where(alike >= _SIMILAR, 3, 4)).astype(np.uint8)
    for place, (one, other) in enumerate(zip(ones, others, strict=True)):
        if found[place] > 1 and (" " in one or " " in other) and _is_part(one.split(), other.split()):
            found[place] = 2
    return found


def _is_part(one: list[str], other: list[str]) -> bool:
    """Whether the last words of one name are among the other's: de la cruz and cruz, garcia and garcia lopez."""
    few, many = sorted((one, other), key=lambda words: (len(words), words))
    return len(few[-1]) > 2 and set(few) <= set(many)


def date_levels(ones: list[str], others: list[str]) -> NDArray[np.uint8]:
    """1 swapped, 2 one edit, 3 two edits, 4 same month and day, 5 days, 6 year, 7 different."""
    edits = _edits(ones, others, 2)
    found = np.where(edits <= 1, 2, np.where(edits == 2, 3, 7)).astype(np.uint8)
    parts: dict[str, int] = {}
    number = {value: place for place, value in enumerate({**dict.fromkeys(ones), **dict.fromkeys(others)})}
    taken = np.array([_date_parts(value, parts) for value in number], np.int64).reshape(-1, 4)
    left, right = (taken[np.array([number[value] for value in values], np.int64)] for values in (ones, others))
    year, rest, turned, day = range(4)
    same_year = left[:, year] == right[:, year]
    first = parts.get("0101", -1)
    swapped = (left[:, rest] == right[:, turned]) | (left[:, rest] == first) | (right[:, rest] == first)
    days = np.where((left[:, day] > 0) & (right[:, day] > 0), np.abs(left[:, day] - right[:, day]), 1 << 20)
    further = np.where(days < 40, 5, np.where(same_year | (days < 400), 6, 7))
    further = np.where(left[:, rest] == right[:, rest], 4, further)
    found = np.where(found == 7, further, found).astype(np.uint8)
    found[same_year & swapped] = 1
    return found


def _date_parts(value: str, parts: dict[str, int]) -> tuple[int, int, int, int]:
    """Of a date: its year, what follows, and that with day and month exchanged, each numbered; its day, 0 for none."""
    year, rest, turned = (parts.setdefault(part, len(parts)) for part in (value[:4], value[4:], value[6:8] + value[4:6]))
    try:
        return year, rest, turned, date.fromisoformat(value).toordinal()
    except ValueError:  # a value that is no day of the calendar, kept for comparing
        return year, rest, turned, 0


# --- kinds of comparison -------------------------------------------------------------------------------------------


def _single(table: Table, name: str, left: Rows, right: Rows) -> tuple[NDArray[np.int32], NDArray[np.int32], Mask, Mask]:
    """Codes of both sides, whether both are there, and whether they are equal."""
    codes = table.column(name).codes[:, 0]
    ones, others = codes[left], codes[right]
    there = (ones >= 0) & (others >= 0)
    return ones, others, there, there & (ones == others)


def _names(comparison: Comparison, table: Table, left: Rows, right: Rows) -> Outcome:
    name = comparison.columns[0]
    first = outcomes(comparison).first
    result = np.zeros(len(left), np.uint8)
    swapped = _swapped(table, left, right)
    if table.has(name):
        column = table.column(name)
        ones, others, there, equal = _single(table, name, left, right)
        result[equal] = first["exact"] + table.bands_at(name, ones[equal])
        rest = there & ~equal
        measure = given_levels if name == "given" else family_levels
        order = GIVEN_ORDER if name == "given" else FAMILY_ORDER
        places = np.array([0, *(first[level] for level in order)], np.uint8)
        result[rest] = places[_measured(column, ones[rest], others[rest], measure)]
    # Swapped names are one piece of evidence: the family name's comparison holds it, the given name's says nothing.
    result[swapped] = first.get("swapped", MISSING)
    return result


GIVEN_ORDER: Final = ("nickname", "close", "initial", "similar", "different")
FAMILY_ORDER: Final = ("close", "part", "similar", "different")
DATE_ORDER: Final = ("swapped", "edit1", "edit2", "month_day", "days", "year", "different")
"""The levels that the measures number from 1, in order."""


def _swapped(table: Table, left: Rows, right: Rows) -> Mask:
    """Given name here is family name there, and the other way round where both are stated, or nearly so."""
    if not (table.has("given") and table.has("family")):
        return np.zeros(len(left), bool)
    given, family = table.part("given")[:, 0], table.part("family")[:, 0]
    given_l, given_r, family_l, family_r = given[left], given[right], family[left], family[right]
    one = (given_l == family_r) & (given_l != 0)
    other = (family_l == given_r) & (family_l != 0)
    apart = ((given_l != given_r) | (given_l == 0)) & ((family_l != family_r) | (family_l == 0))
    one_sided = (family_l == 0) | (given_r == 0)
    other_sided = (given_l == 0) | (family_r == 0)
    found: Mask = apart & ((one & other) | (one & one_sided) | (other & other_sided))
    rest = np.flatnonzero(apart & (one ^ other) & ~found)
    if len(rest):
        # One is the same crosswise: of the other two nearly the same will do.
        open_family = one[rest]
        left, right = left[rest], right[rest]
        ones = np.where(open_family, right, left)  # whose given name stands against the other's family name
        others = np.where(open_family, left, right)
        found[rest] = _close_across(table, ones, others)
    return found


def _close_across(table: Table, ones: Rows, others: Rows) -> Mask:
    """Whether the given name of one and the family name of the other are nearly the same; both are stated."""
    given, family = table.column("given"), table.column("family")
    pairs = given.codes[ones, 0].astype(np.int64) << 32 | family.codes[others, 0]
    distinct, inverse = np.unique(pairs, return_inverse=True)
    alike = _similarity(
        [given.values[code] for code in (distinct >> 32).tolist()],
        [family.values[code] for code in (distinct & 0xFFFFFFFF).tolist()],
    )
    close: Mask = (alike >= _CLOSE)[inverse]
    return close


def _middle(comparison: Comparison, table: Table, left: Rows, right: Rows) -> Outcome:
    first = outcomes(comparison).first
    ones, others, there, equal = _single(table, "middle", left, right)

    def initials(one: list[str], other: list[str]) -> NDArray[np.uint8]:
        return np.array([a[:1] == b[:1] and 1 in (len(a), len(b)) for a, b in zip(one, other, strict=True)], np.uint8)

    result = np.where(there, first["different"], MISSING).astype(np.uint8)
    rest = there & ~equal
    result[rest] = np.where(
        _measured(table.column("middle"), ones[rest], others[rest], initials) > 0, first["initial"], first["different"]
    )
    result[equal] = first["exact"]
    return result


def _plain(comparison: Comparison, table: Table, left: Rows, right: Rows) -> Outcome:
    first = outcomes(comparison).first
    _, _, there, equal = _single(table, comparison.columns[0], left, right)
    return np.where(equal, first["exact"], np.where(there, first["different"], MISSING)).astype(np.uint8)


def _date(comparison: Comparison, table: Table, left: Rows, right: Rows) -> Outcome:
    first = outcomes(comparison).first
    name = comparison.columns[0]
    column = table.column(name)
    ones, others, there, equal = _single(table, name, left, right)
    result = np.zeros(len(left), np.uint8)
    result[equal] = first["exact"] + table.bands_at(name, ones[equal])
    rest = there & ~equal
    places = np.array([0, *(first[level] for level in DATE_ORDER)], np.uint8)
    result[rest] = places[_measured(column, ones[rest], others[rest], date_levels)]
    return result


def _place(comparison: Comparison, table: Table, left: Rows, right: Rows) -> Outcome:
    """The nearest level that any column supports; columns that only one side states say nothing."""
    first = outcomes(comparison).first
    result = np.zeros(len(left), np.uint8)
    no = np.zeros(len(left), bool)
    address_there = postcode_there = address = postcode = no
    if table.has("city"):
        column = table.column("city")
        ones, others, there, equal = _single(table, "city", left, right)
        result[there] = first["different"]
        rest = there & ~equal
        close = _measured(column, ones[rest], others[rest], lambda a, b: (_similarity(a, b) >= _CLOSE).astype(np.uint8))
        result[np.flatnonzero(rest)[close > 0]] = first["city_close"]
        result[equal] = first["city"] + table.bands_at("city", ones[equal])
    if table.has("postcode"):
        column = table.column("postcode")
        _, _, _, near = _single(table, "outward", left, right)
        postcode_ones, _, postcode_there, postcode = _single(table, "postcode", left, right)
        result[postcode_there & (result == MISSING)] = first["different"]
        result[near] = first["near"]
        result[postcode] = first["postcode"] + table.bands_at("postcode", postcode_ones[postcode])
    if table.has("address"):
        column = table.column("address")
        ones, others, address_there, address = _single(table, "address", left, right)
        result[address_there & (result == MISSING)] = first["different"]
        took = address & ~postcode
        result[took] = first["address"] + table.bands_at("address", ones[took])
        rest = address_there & ~address & (result > 0)
        alike = _measured(column, ones[rest], others[rest], same_home)
        close = no.copy()
        close[np.flatnonzero(rest)[alike > 0]] = True
        near_enough = postcode | (result == first["near"]) | _between(result, first["city"], BANDS)
        result[close & near_enough] = first["home_close"]
        result[address & ~postcode & (postcode_there & _near(table, left, right))] = first["home_close"]
    if table.has("home"):
        column = table.column("home")
        ones, _, _, equal = _single(table, "home", left, right)
        result[equal] = first["home"] + table.bands_at("home", ones[equal])
    return result


def _near(table: Table, left: Rows, right: Rows) -> Mask:
    return _single(table, "outward", left, right)[3] if table.has("postcode") else np.zeros(len(left), bool)


def _between(result: Outcome, low: int, count: int) -> Mask:
    return (result >= low) & (result < low + count)


def same_home(ones: list[str], others: list[str]) -> NDArray[np.uint8]:
    """Alike in writing, and no different house numbers or units (see `addresses`)."""
    alike = _similarity(ones, others) >= _CLOSE
    for place in np.flatnonzero(alike).tolist():
        numbers, units = _numbers(ones[place])
        their_numbers, their_units = _numbers(others[place])
        if (numbers and their_numbers and numbers.isdisjoint(their_numbers)) or (
            units and their_units and units.isdisjoint(their_units)
        ):
            alike[place] = False
    return alike.astype(np.uint8)


@lru_cache(maxsize=CACHE_VALUES)
def _numbers(address: str) -> tuple[frozenset[str], frozenset[str]]:
    """The words of an address that are house numbers, and those that are units."""
    words = address.split()
    return (
        frozenset([word for word in words if word[0].isdigit()]),
        frozenset([word for word in words if word[0] == "u" and word[1:2].isdigit()]),
    )


def _identifier(comparison: Comparison, table: Table, left: Rows, right: Rows) -> Outcome:
    first = outcomes(comparison).first
    name = comparison.columns[0]
    column = table.column(name)
    result, rest = _shared(table, name, first["exact"], first["different"], left, right)
    if "close" in first:
        _any_pair(column, left, right, rest, result, _one_edit, first["close"], table.sums(name))
    return result


def _shared(table: Table, name: str, exact: int, different: int, left: Rows, right: Rows) -> tuple[Outcome, Mask]:
    """The rarest shared value of each pair as an outcome, and the pairs that state values and share none."""
    column = table.column(name)
    ones, others = column.codes[left], column.codes[right]
    there = (ones >= 0).any(axis=1) & (others >= 0).any(axis=1)
    best = np.full(len(left), -1, np.int16)
    for one in range(ones.shape[1]):
        for other in range(others.shape[1]):
            equal = np.flatnonzero((ones[:, one] == others[:, other]) & (ones[:, one] >= 0))
            if len(equal):
                best[equal] = np.maximum(best[equal], table.bands_at(name, ones[equal, one]))
    result = np.where(best >= 0, exact + best, np.where(there, different, MISSING)).astype(np.uint8)
    return result, there & (best < 0)


def _any_pair(
    column: Column,
    left: Rows,
    right: Rows,
    rest: Mask,
    result: Outcome,
    test: Measured,
    outcome: int,
    sums: Sums | None = None,
) -> None:
    """Gives pairs of `rest` the outcome where any two of their values pass the test. sums: for a test of one edit."""
    open_rows = np.flatnonzero(rest)
    if not len(open_rows):
        return
    ones, others = column.codes[left[open_rows]], column.codes[right[open_rows]]
    passed = np.zeros(len(open_rows), bool)
    for one in range(ones.shape[1]):
        for other in range(others.shape[1]):
            there = np.flatnonzero((ones[:, one] >= 0) & (others[:, other] >= 0) & ~passed)
            its, theirs = ones[there, one], others[there, other]
            if sums is not None:
                may = may_be_one_edit(sums[its], sums[theirs])
                there, its, theirs = there[may], its[may], theirs[may]
            if not len(there):
                continue
            passed[there] = _measured(column, its, theirs, test) > 0
    result[open_rows[passed]] = outcome


def _email(comparison: Comparison, table: Table, left: Rows, right: Rows) -> Outcome:
    first = outcomes(comparison).first
    column = table.column("email")
    result, rest = _shared(table, "email", first["exact"], first["different"], left, right)
    # An address that several given names use is a household's: agreeing on it says less about who.
    several = table.several_names()
    exact = _between(result, first["exact"], BANDS)
    shared_by_several = np.zeros(len(left), bool)
    ones, others = column.codes[left[exact]], column.codes[right[exact]]
    mine = np.zeros(len(ones), bool)
    alone = np.zeros(len(ones), bool)
    for one in range(ones.shape[1]):
        for other in range(others.shape[1]):
            equal = (ones[:, one] == others[:, other]) & (ones[:, one] >= 0)
            mine |= equal & several[ones[:, one]]
            alone |= equal & ~several[ones[:, one]]
    shared_by_several[np.flatnonzero(exact)[mine & ~alone]] = True
    result[shared_by_several] += np.uint8(first["exact_several"] - first["exact"])
    local = table.column("email_local")
    by_local, _ = _shared(table, "email_local", first["local"], MISSING, left, right)
    _any_pair(column, left, right, rest, result, _one_edit, first["close"], table.sums("email"))
    same_local = rest & (by_local > 0) & (result == first["different"])
    result[same_local] = by_local[same_local]
    _any_pair(local, left, right, result == first["different"], result, _like_local, first["similar"])
    # Two addresses made of a name that both have are alike because the names are: that has been counted already.
    result[(result == first["similar"]) & _named_alike(table, left, right)] = MISSING
    return result


def _named_alike(table: Table, left: Rows, right: Rows) -> Mask:
    """Whether the records share a name that both their addresses are made of."""
    found = np.zeros(len(left), bool)
    for name in ("given", "family"):
        if table.has(name):
            inside = table.named_in_email(name)
            found |= _single(table, name, left, right)[3] & inside[left] & inside[right]
    return found


def _like_local(ones: list[str], others: list[str]) -> NDArray[np.uint8]:
    return (_similarity(ones, others) >= _EMAIL_SIMILAR).astype(np.uint8)


def _text(comparison: Comparison, table: Table, left: Rows, right: Rows) -> Outcome:
    """The first level, in the order of the spec, whose test any values of a pair pass; the last is for all others."""
    first = outcomes(comparison).first
    stated, bands, passed = compared_freely(comparison, table, left, right)
    result = np.where(stated, first[comparison.levels[-1].name], MISSING).astype(np.uint8)
    for level, mask in reversed(list(zip(comparison.levels, passed, strict=False))):
        result[mask] = first[level.name] + (bands[mask] if level.banded else np.uint8(0))
    return result


_KINDS: Final[dict[str, Callable[[Comparison, Table, Rows, Rows], Outcome]]] = {
    "names": _names,
    "middle": _middle,
    "suffix": _plain,
    "code": _plain,
    "date": _date,
    "place": _place,
    "email": _email,
    "identifier": _identifier,
    "text": _text,
}
