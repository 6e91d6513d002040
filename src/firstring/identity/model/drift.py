"""Does what arrives now still look like what a model version was trained on?

Both are counted alike (`Profile`), by source: how many records state a field, how its values spread, how many of them are
unfamiliar to the version; and over all sources, at which levels linked pairs agree. Two counts are held against one another
by the population stability index, sum of (p - q) ln(p / q) (Siddiqi, Credit Risk Scorecards, 2006: from .1 on worth a
look, from .25 on another population), and only where chance does not explain the difference: Pearson's chi-square of
homogeneity, weakened because records come in households.

Values are counted in buckets of a keyed hash, so a profile says how uneven they are and names none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import erfc, sqrt
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.identity.comparison.columns import COLUMNS, Table
from firstring.identity.comparison.levels import MISSING, Patterns, outcomes, unpacked
from firstring.identity.comparison.spec import Comparison
from firstring.identity.comparison.statistics import Statistics, octave

State: TypeAlias = Literal["steady", "watch", "alarm"]
"""In the order of how bad it is."""
Kind: TypeAlias = Literal["stated", "unfamiliar", "values", "levels", "source", "calibration"]
STATES: Final[tuple[State, ...]] = ("steady", "watch", "alarm")

WATCH_INDEX: Final = 0.1
ALARM_INDEX: Final = 0.25
CHANCE: Final = 1e-3
"""How often, at most, a comparison of two profiles out of one population says anything but steady."""
BUCKETS: Final = 32
SPREAD: Final = ("given", "family", "gender", "month_day", "year", "city", "outward", "email_host")
"""Columns whose values are counted in buckets."""
FAMILIAR: Final = ("given", "family", "city", "email_host")
"""Columns of which a version knows most values. Of a number, an address, a postcode it never does."""
FAMILIAR_RECORDS: Final = 20
"""A value that fewer of the version's records hold is as good as unseen: one household holds as many by itself."""
_DESIGN_EFFECT: Final = 4.0
"""By how much households (a family name, a city, a phone for all) make chance differences larger (Kish 1965)."""
_EXPECTED_MIN: Final = 5.0
"""Cells with fewer expected are counted together, or chi-square says nothing (Cochran 1954)."""
_WATCH_OFF: Final = 0.05
_ALARM_OFF: Final = 0.1
"""How far the stated probability may be off, on average in a bin."""
_BINS: Final = (0.0, 0.2, 0.5, 0.8, 0.95, 1.0)


class Counts(msgspec.Struct, frozen=True):
    """Of one source: records; stated: by column, how many state it; unfamiliar: by column, how many state a value that
    fewer than FAMILIAR_RECORDS of the version's records hold; values: by column, how many in each bucket."""

    records: int
    stated: dict[str, int]
    unfamiliar: dict[str, int]
    values: dict[str, list[int]]


class Profile(msgspec.Struct, frozen=True):
    """What records look like. levels: comparison -> level ("missing" among them) -> how many linked pairs agree so."""

    sources: dict[str, Counts]
    levels: dict[str, dict[str, int]]


class Measure(msgspec.Struct, frozen=True):
    """One thing compared. was and now are shares (of calibration: stated and found); index: population stability index
    (of calibration: how far off); n: records, pairs or answers now."""

    kind: Kind
    name: str
    source: str
    state: State
    was: float
    now: float
    index: float
    n: int
    text: str


class Drift(msgspec.Struct, frozen=True):
    """All measures, the worst first."""

    measures: tuple[Measure, ...]

    @property
    def state(self) -> State:
        return max((one.state for one in self.measures), key=STATES.index, default="steady")

    def worst_first(self) -> Drift:
        order = sorted(self.measures, key=lambda one: (-STATES.index(one.state), -one.index, one.kind, one.source, one.name))
        return Drift(tuple(order))


def profile(
    table: Table,
    source_of: NDArray[np.int32],
    names: Sequence[str],
    statistics: Statistics,
    levels: Mapping[str, Mapping[str, int]],
) -> Profile:
    """Counts a table. source_of: (rows,) places in `names`; levels: as level_counts gives them."""
    records = np.bincount(source_of, minlength=len(names))
    stated: dict[str, NDArray[np.int64]] = {}
    unfamiliar: dict[str, NDArray[np.int64]] = {}
    values: dict[str, NDArray[np.int64]] = {}
    for name in COLUMNS:
        if table.has(name):
            there = (table.column(name).codes >= 0).any(axis=1)
            stated[name] = np.bincount(source_of[there], minlength=len(names))
    for name in dict.fromkeys((*SPREAD, *FAMILIAR)):
        if not table.has(name):
            continue
        column = table.column(name)
        codes = column.codes[:, 0]
        there = codes >= 0
        codes, owner = codes[there], source_of[there]
        if name in SPREAD:
            bucket = (statistics.hashes(name, column.values) % np.uint64(BUCKETS)).astype(np.int64)
            counted = np.bincount(owner * BUCKETS + bucket[codes], minlength=len(names) * BUCKETS)
            values[name] = counted.reshape(-1, BUCKETS)
        if name in FAMILIAR:
            rarest = octave(np.array([FAMILIAR_RECORDS]), statistics.stated(name))[0]
            unknown = statistics.bands(name, column.values) > rarest
            unfamiliar[name] = np.bincount(owner[unknown[codes]], minlength=len(names))
    return Profile(
        {
            source: Counts(
                int(records[place]),
                {name: int(count[place]) for name, count in stated.items()},
                {name: int(count[place]) for name, count in unfamiliar.items()},
                {name: count[place].tolist() for name, count in values.items()},
            )
            for place, source in enumerate(names)
            if records[place]
        },
        {name: dict(by_level) for name, by_level in levels.items()},
    )


def level_counts(
    comparisons: Sequence[Comparison], numbers: Patterns, pairs: NDArray[np.int64]
) -> dict[str, dict[str, int]]:
    """By comparison, how many of the pairs agree at each level; `pairs` counts them by pattern."""
    rows = unpacked(comparisons, numbers)
    found: dict[str, dict[str, int]] = {}
    for place, comparison in enumerate(comparisons):
        of = outcomes(comparison)
        counts = np.bincount(rows[place], weights=pairs, minlength=of.radix)
        by_level = {"missing": int(counts[MISSING])}
        for outcome, (level, _) in enumerate(of.of, 1):
            by_level[level.name] = by_level.get(level.name, 0) + int(counts[outcome])
        found[comparison.name] = by_level
    return found


def compared_profiles(was: Profile, now: Profile) -> Drift:
    """What is different. A source that the version does not know is held against all of its records together."""
    together = _together(was)
    tests = list(_tests(was, now, together))
    bound = CHANCE / max(len(tests), 1)
    found = [_measured(*one, bound) for one in tests]
    for source, counts in now.sources.items():
        if source not in was.sources:
            share = counts.records / max(sum(one.records for one in now.sources.values()), 1)
            text = f"source {source} is new: the version was trained without it"
            found.append(Measure("source", source, source, "watch", 0.0, share, 0.0, counts.records, text))
    return Drift(tuple(found)).worst_first()


_Test: TypeAlias = tuple[Kind, str, str, NDArray[np.float64], NDArray[np.float64]]


def _tests(was: Profile, now: Profile, together: Counts) -> Iterator[_Test]:
    for source, counts in now.sources.items():
        before = was.sources.get(source, together)
        if not (before.records and counts.records):
            continue
        for name in sorted({*before.stated, *counts.stated}):
            yield (
                "stated",
                name,
                source,
                _split(before.stated, name, before.records),
                _split(counts.stated, name, counts.records),
            )
        for name, unfamiliar in counts.unfamiliar.items():
            old, new = before.stated.get(_base(name), 0), counts.stated.get(_base(name), 0)
            if name in before.unfamiliar and old and new:
                yield "unfamiliar", name, source, _split(before.unfamiliar, name, old), _split({name: unfamiliar}, name, new)
        for name, spread in counts.values.items():
            if name in before.values:
                yield "values", name, source, np.array(before.values[name], float), np.array(spread, float)
    for name, levels in now.levels.items():
        known = was.levels.get(name, {})
        order = sorted({*known, *levels})
        yield "levels", name, "", _cells(known, order), _cells(levels, order)


def _base(name: str) -> str:
    return {"email_host": "email"}.get(name, name)


def _cells(counts: Mapping[str, int], order: Sequence[str]) -> NDArray[np.float64]:
    return np.array([counts.get(name, 0) for name in order], float)


def _split(counts: Mapping[str, int], name: str, whole: int) -> NDArray[np.float64]:
    share = min(counts.get(name, 0), whole)
    return np.array([share, whole - share], float)


def _together(profile: Profile) -> Counts:
    stated: dict[str, int] = {}
    unfamiliar: dict[str, int] = {}
    values: dict[str, list[int]] = {}
    for counts in profile.sources.values():
        for total, part in ((stated, counts.stated), (unfamiliar, counts.unfamiliar)):
            for name, count in part.items():
                total[name] = total.get(name, 0) + count
        for name, spread in counts.values.items():
            values[name] = [one + other for one, other in zip(values.get(name, [0] * BUCKETS), spread, strict=True)]
    return Counts(sum(one.records for one in profile.sources.values()), stated, unfamiliar, values)


def _measured(
    kind: Kind, name: str, source: str, was: NDArray[np.float64], now: NDArray[np.float64], bound: float
) -> Measure:
    index, chance = stability(was, now)
    over = chance < bound
    state: State = "alarm" if over and index >= ALARM_INDEX else "watch" if over and index >= WATCH_INDEX else "steady"
    old, new = was / max(was.sum(), 1.0), now / max(now.sum(), 1.0)
    place = 0 if kind in ("stated", "unfamiliar") else int(np.argmax(np.abs(new - old)))
    shares = f"{new[place]:.1%}", f"{old[place]:.1%} in training"
    said = {
        "stated": f"source {source}: {name} is stated by {shares[0]} of the records, {shares[1]}",
        "unfamiliar": f"source {source}: {shares[0]} of the values of {name} are unfamiliar, {shares[1]}",
        "values": f"source {source}: the values of {name} spread otherwise than in training",
        "levels": f"linked pairs agree in {name} otherwise than in training",
    }[kind]
    return Measure(kind, name, source, state, float(old[place]), float(new[place]), index, int(now.sum()), said)


def stability(was: NDArray[np.float64], now: NDArray[np.float64]) -> tuple[float, float]:
    """(population stability index, how likely a chi-square as large is by chance) of counts by cell."""
    totals = was.sum(), now.sum()
    if min(totals) <= 0:
        return 0.0, 1.0
    pooled = (was + now) / (totals[0] + totals[1])
    small = pooled * min(totals) < _EXPECTED_MIN
    if small.any():
        was = np.append(was[~small], was[small].sum())
        now = np.append(now[~small], now[small].sum())
        pooled = (was + now) / (totals[0] + totals[1])
    there = pooled > 0
    was, now, pooled = was[there], now[there], pooled[there]
    if len(pooled) < 2:
        return 0.0, 1.0
    chi_square = sum(
        float(((counts - pooled * total) ** 2 / (pooled * total)).sum())
        for counts, total in ((was, totals[0]), (now, totals[1]))
    )
    # Half a record in each cell: an empty cell is rare, not impossible.
    p, q = (was + 0.5) / (totals[0] + 0.5 * len(was)), (now + 0.5) / (totals[1] + 0.5 * len(now))
    return float(((q - p) * np.log(q / p)).sum()), by_chance(chi_square / _DESIGN_EFFECT, len(pooled) - 1)


def by_chance(chi_square: float, degrees: int) -> float:
    """How likely a chi-square as large or larger is (Wilson and Hilferty 1931: its cube root is nearly normal)."""
    spread = 2.0 / (9.0 * degrees)
    z = ((chi_square / degrees) ** (1.0 / 3.0) - (1.0 - spread)) / sqrt(spread)
    return erfc(z / sqrt(2.0)) / 2.0


def calibration(stated: NDArray[np.float64], same: NDArray[np.bool_]) -> Drift:
    """Stated probabilities of pairs against what people answered: by bin, how many were to be expected and how many were.

    Chance: the normal approximation of a sum of independent answers, each true with its stated probability.
    """
    found: list[Measure] = []
    bound = CHANCE / (len(_BINS) - 1)
    for low, high in pairwise(_BINS):
        inside = (stated >= low) & ((stated < high) | (high == 1.0))
        n = int(inside.sum())
        if not n:
            continue
        expected, true = float(stated[inside].mean()), float(same[inside].mean())
        variance = float((stated[inside] * (1 - stated[inside])).sum())
        off = abs(true - expected)
        # Half an answer for continuity: three right ones of three do not prove .9 wrong.
        z = max(off * n - 0.5, 0.0) / max(variance**0.5, 0.5)
        over = erfc(z / sqrt(2.0)) < bound
        state: State = "alarm" if over and off >= _ALARM_OFF else "watch" if over and off >= _WATCH_OFF else "steady"
        text = f"pairs stated {low:g} to {high:g}: {true:.1%} of {n:,} answers say one person, {expected:.1%} were expected"
        found.append(Measure("calibration", f"{low:g}-{high:g}", "", state, expected, true, off, n, text))
    return Drift(tuple(found)).worst_first()
