"""Why two records are, or are not, one person: every weight in words, what would tip it, what holds a person together.

Weights are nats. Of a pair they add up to its log-odds: those of the fields against the likeliest other explanation,
how common each explanation is to begin with, the correction of the cell, the other explanations, the calibration.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from firstring.identity.comparison.columns import Table
from firstring.identity.comparison.levels import MISSING, outcomes, patterns, radices, unpacked
from firstring.identity.comparison.spec import CLASSES, Comparison
from firstring.identity.comparison.statistics import BANDS
from firstring.identity.model.model import SAME, Model, Scores, cell_names, score, weights

_SAID: Final = {
    "given": "given name",
    "family": "family name",
    "middle": "middle name",
    "suffix": "name suffix",
    "email": "e-mail",
    "national_id": "national id",
    "social": "social handle",
}
_OTHERWISE: Final = {
    "household": "two who live together",
    "namesake": "two of one name",
    "local": "two of one family name and region",
    "neighbour": "two of one name and region",
    "compatriot": "two of one given name and region",
    "junior": "two of one household with one name, as father and son",
    "twin": "two of one household born on one day",
    "unrelated": "two who have nothing to do with one another",
}
_PREDICATES: Final = ("is ", "has ", "stands ")
_SHOWN_NATS: Final = 40.0
"""Odds beyond e^40 are said as that: more digits say nothing."""


class FieldWeight(msgspec.Struct, frozen=True):
    """One comparison of a pair. octave: the shared value's rarity (one in 2^octave has it), where it counts.

    left and right: the values compared, by column of the comparison.
    """

    comparison: str
    level: str
    weight_nats: float
    text: str
    octave: int | None = None
    left: tuple[str, ...] = ()
    right: tuple[str, ...] = ()


class Tip(msgspec.Struct, frozen=True):
    """One field that would turn the verdict if it were otherwise; probability: of the pair then."""

    comparison: str
    level: str
    probability: float
    text: str


class PairExplained(msgspec.Struct, frozen=True):
    """One pair under a model. The parts in nats and the weights of the fields add up to log_odds_nats."""

    probability: float
    log_odds_nats: float
    threshold: float
    against: str
    prior_nats: float
    cell_nats: float
    others_nats: float
    calibration_nats: float
    fields: tuple[FieldWeight, ...]
    tips: tuple[Tip, ...]
    verdict: str
    cell: str = ""


class Link(msgspec.Struct, frozen=True, order=True):
    """A pair of a person's records: left < right. decided: a steward's must-link, above all log-odds."""

    log_odds_nats: float
    left: int
    right: int
    decided: bool = False

    @property
    def probability(self) -> float:
        return 1.0 if self.decided else probability_of(self.log_odds_nats)


class Held(msgspec.Struct, frozen=True):
    """What holds a person together: the strongest links that reach every record (a spanning tree of the greatest weight).

    weakest: the link without which it would fall apart into `sides`; none of a single record. loose: records that no
    link reaches, each with its group alone.
    """

    links: tuple[Link, ...]
    weakest: Link | None
    sides: tuple[tuple[int, ...], tuple[int, ...]] | None
    loose: tuple[int, ...] = ()


# --- words ---------------------------------------------------------------------------------------------------------


def said(comparison: str) -> str:
    """A comparison's name in words."""
    return _SAID.get(comparison, comparison.replace("_", " "))


def otherwise(name: str) -> str:
    """What two records are that are not one person, in words; name: one of CLASSES."""
    return _OTHERWISE.get(name, name)


def rarity(octave: int) -> str:
    """How rare a value of an octave is: one in 2^octave of those who state the field."""
    count = 1 << octave
    if count < 100:
        return f"one in {count} has it"
    digits = len(str(count)) - 2
    return f"one in {round(count, -digits):,} has it"


def odds_text(nats: float) -> str:
    """A weight as odds, for or against one person."""
    if abs(nats) < 0.095:  # less than 1.1 : 1
        return "says nothing either way"
    odds = float(np.exp(min(abs(nats), _SHOWN_NATS)))
    shown = f"{odds:.1f}" if odds < 10 else f"{odds:,.0f}" if odds < 1e6 else f"{odds:.0e}".replace("e+", "e")
    return f"{shown} : 1 {'for' if nats > 0 else 'against'} one person"


def probability_of(log_odds_nats: float) -> float:
    """The probability of log-odds."""
    return float(1.0 / (1.0 + np.exp(-np.clip(log_odds_nats, -700, 700))))


def log_odds_of(probability: float) -> float:
    """The log-odds of a probability between 0 and 1, both excluded."""
    return float(np.log(probability / (1.0 - probability)))


# --- a pair --------------------------------------------------------------------------------------------------------


def explained_pair(
    model: Model, table: Table, left: int, right: int, *, by_profile: bool, threshold: float, records: int | None = None
) -> PairExplained:
    """Rows `left` and `right` of a table under a model.

    by_profile: whether the two meet under a profile key. threshold: the probability from which on a pair is linked, as
    it stands; persons are clustered from all pairs, so a pair below it may still be of one person. records: of the data
    set (default: the model's).
    """
    comparisons = model.comparisons()
    there = tuple(one for one in comparisons if any(table.has(column) for column in one.columns))
    rows = np.array([left]), np.array([right])
    found = dict(zip(there, unpacked(there, patterns(there, table, *rows))[:, 0].tolist(), strict=True))
    whole = [int(found.get(one, MISSING)) for one in comparisons]
    values = {
        one.name: (_values(one, table, left), _values(one, table, right))
        for one in there
    }  # fmt: skip
    return explained(model, whole, by_profile=by_profile, threshold=threshold, records=records, values=values)


def explained(
    model: Model,
    row: Sequence[int],
    *,
    by_profile: bool,
    threshold: float,
    records: int | None = None,
    values: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] | None = None,
) -> PairExplained:
    """A pair given by its outcome of each comparison of the model, in their order (0 where one side states nothing)."""
    comparisons = model.comparisons()
    count = model.records if records is None else records
    pattern = np.array([_packed(comparisons, row)], np.int64)
    scores = score(model, pattern, np.array([by_profile]), count)
    rival = int(scores.rival[0])
    by_field = weights(model, pattern, scores.rival)
    prior = np.log(model.class_pairs(count))
    cell, cell_nats = "", 0.0
    if model.cells and by_profile:
        [cell] = cell_names(comparisons, unpacked(comparisons, pattern))[0]
        corrections = model.cells.get(cell, [0.0] * len(CLASSES))
        cell_nats = corrections[SAME] - corrections[rival]
    others = float(scores.joint[rival, 0] - np.logaddexp.reduce(scores.joint[1:, 0]))
    raw = float(scores.joint[SAME, 0] - np.logaddexp.reduce(scores.joint[1:, 0]))
    total = float(scores.log_odds[0])
    probability = probability_of(total)
    shown = values or {}
    fields = tuple(
        _weighed(one, outcome, float(by_field[one.name][0]), *shown.get(one.name, ((), ())))
        for one, outcome in zip(comparisons, row, strict=True)
        if outcome != MISSING
    )
    return PairExplained(
        probability=probability,
        log_odds_nats=total,
        threshold=threshold,
        against=CLASSES[rival],
        prior_nats=float(prior[SAME] - prior[rival]),
        cell_nats=float(cell_nats),
        others_nats=others,
        calibration_nats=total - raw,
        fields=tuple(sorted(fields, key=lambda one: -abs(one.weight_nats))),
        tips=_tips(model, comparisons, row, by_profile, count, threshold, total),
        verdict=_verdict(probability, threshold, CLASSES[rival]),
        cell=cell,
    )


def _values(comparison: Comparison, table: Table, row: int) -> tuple[str, ...]:
    found: list[str] = []
    for name in comparison.columns:
        if name in table.columns and name != "root":  # the root is the given name again
            column = table.columns[name]
            found += [column.values[code] for code in column.codes[row].tolist() if code >= 0]
    return tuple(found)


def _weighed(
    comparison: Comparison, outcome: int, nats: float, left: tuple[str, ...], right: tuple[str, ...]
) -> FieldWeight:
    level, octave = outcomes(comparison).of[outcome - 1]
    rare = f" ({rarity(octave)})" if octave is not None else ""
    text = f"{said(comparison.name)}{_joined(level.says)}{rare}: {odds_text(nats)}"
    return FieldWeight(comparison.name, level.name, nats, text, octave, left, right)


def _verdict(probability: float, threshold: float, against: str) -> str:
    stands = "at or above" if probability >= threshold else "below"
    return f"{shown_probability(probability)} that they are one person, {stands} {threshold:g}; if not, {otherwise(against)}"


def shown_probability(probability: float) -> str:
    """A probability with as many digits as tell it from 0 and 1."""
    for digits in (2, 3, 4, 5, 6):
        if 10**-digits <= probability <= 1 - 10**-digits:
            return f"{probability:.{digits}f}"
    return "more than 0.999999" if probability > 0.5 else "less than 0.000001"


def _packed(comparisons: Sequence[Comparison], row: Sequence[int]) -> int:
    number = 0
    for outcome, radix in zip(row, radices(comparisons), strict=True):
        number = number * radix + outcome
    return number


# --- what would tip it -----------------------------------------------------------------------------------------------


def _tips(
    model: Model,
    comparisons: Sequence[Comparison],
    row: Sequence[int],
    by_profile: bool,
    records: int,
    threshold: float,
    total: float,
) -> tuple[Tip, ...]:
    """For each comparison the smallest change that turns the verdict, the smallest of all first."""
    tried = [
        (place, level, outcome)
        for place, one in enumerate(comparisons)
        for level, outcome in _alternatives(model, one, row[place])
    ]
    changed = [_packed(comparisons, [*row[:place], outcome, *row[place + 1 :]]) for place, _, outcome in tried]
    if not changed:
        return ()
    scores: Scores = score(model, np.array(changed, np.int64), np.full(len(changed), by_profile), records)
    bound = log_odds_of(threshold)
    best: dict[int, tuple[float, Tip]] = {}
    for (place, level, _), odds in zip(tried, scores.log_odds.tolist(), strict=True):
        if (odds >= bound) == (total >= bound):
            continue
        change = abs(odds - total)
        if place not in best or change < best[place][0]:
            probability = probability_of(odds)
            says = "was not known" if level == "missing" else _would(comparisons[place], level)
            text = f"if the {said(comparisons[place].name)} {says}: {shown_probability(probability)}"
            best[place] = (change, Tip(comparisons[place].name, level, probability, text))
    return tuple(tip for _, tip in sorted(best.values(), key=lambda one: one[0]))


def _alternatives(model: Model, comparison: Comparison, outcome: int) -> list[tuple[str, int]]:
    """Other levels of a comparison, each at the mean rarity of pairs of one person.

    Swapped names are left out: they are one finding of two comparisons.
    """
    known = outcomes(comparison)
    now = known.of[outcome - 1][0].name if outcome != MISSING else "missing"
    found = [] if now == "missing" else [("missing", MISSING)]
    shares = model.shares[comparison.name]
    for level in comparison.levels:
        if level.name == now or (comparison.kind == "names" and level.name == "swapped"):
            continue
        first = known.first[level.name]
        if level.banded:
            held = [shares[f"{level.name} 2^-{octave}"][SAME] for octave in range(BANDS)]
            first += round(float(np.average(range(BANDS), weights=held))) if any(held) else 0
        found.append((level.name, first))
    return found


def _joined(says: str) -> str:
    """A level's words behind the field's name: the words of some are a sentence of their own."""
    return f" {says}" if says.startswith(_PREDICATES) else f": {says}"


def _would(comparison: Comparison, level: str) -> str:
    says = next(one.says for one in comparison.levels if one.name == level)
    if says.startswith("is "):
        return f"were {says[3:]}"
    return f"were such that it {says}" if says.startswith(_PREDICATES) else f"were such that {says}"


# --- a person --------------------------------------------------------------------------------------------------------


def held_together(records: Collection[int], links: Collection[Link]) -> Held:
    """The spanning tree of the greatest total log-odds over the records, and its weakest link (Kruskal 1956).

    Steward's links go first, then the strongest; ties by the records' numbers, so that the same links give the same
    tree. Links to records that are not asked for are left out.
    """
    wanted = set(records)
    parent = {record: record for record in wanted}

    def top(record: int) -> int:
        while parent[record] != record:
            parent[record] = parent[parent[record]]
            record = parent[record]
        return record

    chosen: list[Link] = []
    for link in sorted(links, key=lambda one: (not one.decided, -one.log_odds_nats, one.left, one.right)):
        if link.left not in wanted or link.right not in wanted:
            continue
        one, other = top(link.left), top(link.right)
        if one != other:
            parent[other] = one
            chosen.append(link)
    linked = {record for link in chosen for record in (link.left, link.right)}
    loose = tuple(sorted(wanted - linked)) if len(wanted) > 1 else ()
    if not chosen:
        return Held((), None, None, loose)
    weakest = chosen[-1]
    rest = [link for link in chosen if link is not weakest]
    return Held(tuple(chosen), weakest, (_side(rest, weakest.left), _side(rest, weakest.right)), loose)


def _side(links: Sequence[Link], start: int) -> tuple[int, ...]:
    return tuple(sorted(_reached(_neighbours(links), start)))


def _neighbours(links: Sequence[Link]) -> dict[int, list[Link]]:
    found: dict[int, list[Link]] = {}
    for link in links:
        found.setdefault(link.left, []).append(link)
        found.setdefault(link.right, []).append(link)
    return found


def _reached(neighbours: Mapping[int, Sequence[Link]], start: int) -> dict[int, Link | None]:
    """Every record that links lead to from `start`, with the link by which it was reached first."""
    found: dict[int, Link | None] = {start: None}
    waiting = [start]
    while waiting:
        record = waiting.pop()
        for link in neighbours.get(record, ()):
            other = link.right if link.left == record else link.left
            if other not in found:
                found[other] = link
                waiting.append(other)
    return found


def path(held: Held, one: int, other: int) -> tuple[Link, ...] | None:
    """The links from one record to the other within what holds the person together; None where there is no way.

    Of all ways between the two it is the one whose weakest link is the strongest (a property of such trees).
    """
    reached = _reached(_neighbours(held.links), one)
    if other not in reached:
        return None
    way: list[Link] = []
    while (link := reached[other]) is not None:
        way.append(link)
        other = link.left if link.right == other else link.right
    return tuple(reversed(way))
