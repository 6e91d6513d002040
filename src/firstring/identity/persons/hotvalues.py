"""Values that point at nobody, found by themselves: what many records state whose other evidence disagrees.

No list and no label is needed. People who share a number because they are one person, or live together, agree in their
names, their birth dates or their place far more often than strangers do; those who share a placeholder or a switchboard
agree as seldom as strangers. How often strangers agree is seen in the same records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring import limits
from firstring.identity.comparison.columns import SEVERAL, Table
from firstring.identity.review.explain import said

IDENTIFIERS: Final = ("national_id", *SEVERAL)
"""Columns whose values are meant to point at one person, or at few."""
WITNESSES: Final = ("root", "family", "born", "place")
"""What the holders of a value agree in, or not. place: home, else city."""

_WITNESS_SAID: Final = {"root": "given name", "family": "family name", "born": "birth date", "place": "place"}

Kind = Literal["strangers", "one_place", "relatives", "many_records", "odd_date", "odd_name", "crowded_home"]

_RECORDS: Final = 5
"""A value that fewer records state is not judged: that is a family's."""
_STRANGERS: Final = 3.0
"""Holders agree as strangers do up to this many times the chance, and _SLACK: few records scatter."""
_SLACK: Final = 0.1
_TOGETHER: Final = 0.5
"""Holders of whom this share of pairs agrees in a witness have it in common."""
_DATE_TIMES: Final = 10.0
"""A birth date stated so many times as often as other days of its year, or of any year, is no birth date."""
_NAME_TIMES: Final = 6.0
"""A name stated so many times as often as the next one is no name: the commonest names follow one another closely."""
_NAMES: Final = 5
_NAME_SHARE: Final = 0.01
_HOME_FAMILIES: Final = 12


class Suspect(msgspec.Struct, frozen=True):
    """A value that points at nobody. people: how many the holders are at least, by their names or birth dates.

    agreement: of each witness that holders state, the share of their pairs that agree; chance: of strangers.
    """

    column: str
    value: str
    kind: Kind
    records: int
    people: int
    agreement: dict[str, float]
    chance: dict[str, float]
    reason: str


class _Holders(NamedTuple):
    """Of values of a column: which code each is, how many records hold it, and per witness what they agree in."""

    codes: NDArray[np.int64]
    records: NDArray[np.int64]
    agreement: dict[str, NDArray[np.float64]]
    distinct: dict[str, NDArray[np.int64]]
    stating: dict[str, NDArray[np.int64]]


def suspects(
    table: Table,
    *,
    chance: Mapping[str, float] | None = None,
    persons_limit: Mapping[str, int] = limits.PERSONS_PER_IDENTIFIER,
    block_records: int = 50,
) -> list[Suspect]:
    """The values of a table that point at nobody, those of most records first.

    chance: how often strangers agree in each witness (default: counted in the table). persons_limit: how many people may
    share an identifier of each kind. block_records: values of more records are hot for linking, whoever holds them.
    """
    by_chance = dict(chance) if chance is not None else chances(table)
    found: list[Suspect] = []
    for column in IDENTIFIERS:
        if table.has(column):
            found += _identifiers(table, column, by_chance, persons_limit.get(column, 1), block_records)
    found += _dates(table, by_chance) + _names(table, by_chance) + _homes(table, by_chance)
    return sorted(found, key=lambda one: (-one.records, one.column, one.value))


def chances(table: Table) -> dict[str, float]:
    """How often two records drawn at random agree in each witness that both state."""
    found: dict[str, float] = {}
    for name in WITNESSES:
        codes = _witness(table, name)
        if codes is None:
            continue
        counts = np.bincount(codes[codes >= 0]).astype(np.float64)
        stated = counts.sum()
        if stated > 1:
            found[name] = float((counts * (counts - 1)).sum() / (stated * (stated - 1)))
    return found


def _witness(table: Table, name: str) -> NDArray[np.int32] | None:
    if name == "place":
        name = "home" if table.has("home") else "city"
    return table.column(name).codes[:, 0] if table.has(name) else None


def _holders(table: Table, column: str, least: int) -> _Holders | None:
    """The values of a column that `least` records or more hold."""
    held = table.column(column)
    codes = np.flatnonzero(held.counts >= least)
    if not len(codes):
        return None
    wanted = np.full(len(held.values) + 1, -1, np.int64)
    wanted[codes] = np.arange(len(codes))
    slots = wanted[held.codes]
    row, slot = np.nonzero(slots >= 0)
    value = slots[row, slot]
    agreement, distinct, stating = {}, {}, {}
    for name in WITNESSES:
        witness = _witness(table, name)
        if witness is None or name == column or (column, name) in (("given", "root"), ("home", "place"), ("city", "place")):
            continue
        there = witness[row] >= 0
        pairs, counts = np.unique(value[there] << 32 | witness[row][there].astype(np.int64), return_counts=True)
        owner = pairs >> 32
        stating[name] = np.bincount(value[there], minlength=len(codes))
        distinct[name] = np.bincount(owner, minlength=len(codes))
        alike = np.bincount(owner, weights=(counts * (counts - 1)).astype(np.float64), minlength=len(codes))
        possible = stating[name].astype(np.float64) * (stating[name] - 1)
        agreement[name] = np.where(possible > 0, alike / np.maximum(possible, 1), np.nan)
    return _Holders(codes, held.counts[codes], agreement, distinct, stating)


def _people(holders: _Holders, place: int) -> int:
    """How many people the holders are at least: mistyped names and dates make more of each, hardly of both alike."""
    births, names = (
        int(holders.distinct[name][place]) if name in holders.distinct else 0 for name in ("born", "root")
    )  # fmt: skip
    if not names:
        names = int(holders.distinct["family"][place]) if "family" in holders.distinct else 0
    stated = int(holders.stating["born"][place]) if "born" in holders.stating else 0
    if names and 2 * stated >= holders.records[place]:
        return min(births, names)
    return names or births


def _agreement(holders: _Holders, place: int) -> dict[str, float]:
    found = {name: float(shares[place]) for name, shares in holders.agreement.items()}
    return {name: round(share, 6) for name, share in found.items() if not np.isnan(share)}


def _as_strangers(agreement: Mapping[str, float], chance: Mapping[str, float]) -> bool:
    most = {name: min(_STRANGERS * chance.get(name, 0.0) + _SLACK, _TOGETHER) for name in agreement}
    return bool(agreement) and all(share <= most[name] for name, share in agreement.items())


def agreement_of(table: Table, column: str, value: str) -> tuple[dict[str, float], int]:
    """What the holders of one value of a table agree in, and how many people they are at least."""
    holders = _holders(table, column, 1) if table.has(column) else None
    if holders is None or value not in table.column(column).values:
        return {}, 0
    place = table.column(column).values.index(value)
    return _agreement(holders, place), _people(holders, place)


# --- identifiers ---------------------------------------------------------------------------------------------------


def _identifiers(table: Table, column: str, chance: dict[str, float], most: int, block_records: int) -> list[Suspect]:
    holders = _holders(table, column, min(_RECORDS, most + 1))
    if holders is None:
        return []
    values = table.column(column).values
    found = []
    for place, code in enumerate(holders.codes.tolist()):
        records, people = int(holders.records[place]), _people(holders, place)
        agreement = _agreement(holders, place)
        judged = judge(column, records, people, agreement, chance, most, block_records)
        if judged is not None:
            found.append(Suspect(column, values[code], judged[0], records, people, agreement, chance, judged[1]))
    return found


def judge(
    column: str,
    records: int,
    people: int,
    agreement: Mapping[str, float],
    chance: Mapping[str, float],
    most: int,
    block_records: int,
) -> tuple[Kind, str] | None:
    """What is the matter with an identifier that so many records of at least so many people state; None: nothing."""
    if people > most:
        begin = f"{records:,} records of {people:,} people or more state it, and no more than {most} may"
        if agreement.get("place", 0.0) >= _TOGETHER and agreement.get("family", 0.0) < _TOGETHER:
            return "one_place", f"{begin}. They are at one place: a switchboard, an institution, a company's inbox"
        if _as_strangers(agreement, chance):
            return "strangers", f"{begin}. They agree as seldom as strangers do ({_compared(agreement, chance)})"
        return "relatives", f"{begin}. Some of them agree ({_compared(agreement, chance)})"
    if records > block_records:
        return "many_records", (
            f"{records:,} records state it, of {people:,} people or more; values of more than {block_records} make no pairs"
        )
    return None


def _compared(agreement: Mapping[str, float], chance: Mapping[str, float]) -> str:
    parts = [
        f"{_WITNESS_SAID[name]} {_percent(share)} (strangers {_percent(chance.get(name, 0.0))})"
        for name, share in agreement.items()
    ]
    return ", ".join(parts)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{share:.1%}" if share >= 0.0005 else "under 0.1%"


# --- dates, names, homes -------------------------------------------------------------------------------------------


def _dates(table: Table, chance: dict[str, float]) -> list[Suspect]:
    """Birth dates that come far more often than other days of their year and of any year, of people with other names."""
    if not table.has("born"):
        return []
    column = table.column("born")
    holders = _holders(table, "born", _RECORDS)
    if holders is None:
        return []
    usual = float(np.mean(column.counts))
    by_year: dict[str, int] = {}
    for value, count in zip(column.values, column.counts.tolist(), strict=True):
        by_year[value[:4]] = by_year.get(value[:4], 0) + count
    found = []
    for place, code in enumerate(holders.codes.tolist()):
        value, records = column.values[code], int(holders.records[place])
        expected = max((by_year[value[:4]] - records) / 365, usual)
        agreement = _agreement(holders, place)
        if records < _DATE_TIMES * expected or not _as_strangers(_only(agreement, "root", "family"), chance):
            continue
        reason = (
            f"{records:,} records state it, {records / expected:,.0f} times as many as another day; their names agree as "
            f"seldom as strangers' ({_compared(_only(agreement, 'root', 'family'), chance)})"
        )
        people = _people(holders, place)
        found.append(Suspect("born", value, "odd_date", records, people, agreement, chance, reason))
    return found


def _names(table: Table, chance: dict[str, float]) -> list[Suspect]:
    """Names that stand apart from all others by how often they come."""
    found = []
    for name in ("given", "family"):
        if not table.has(name):
            continue
        column = table.column(name)
        order = np.argsort(-column.counts, kind="stable")[: _NAMES + 1]
        counts = column.counts[order]
        stated = max(column.stated, 1)
        odd = [
            place + 1
            for place in range(len(order) - 1)
            if counts[place] >= _NAME_TIMES * max(counts[place + 1], _RECORDS) and counts[place] >= _NAME_SHARE * stated
        ]
        for code in order[: max(odd, default=0)].tolist():
            agreement = _of_code(table, name, code)
            if not _as_strangers(agreement, chance):
                continue  # one person many times, or a family
            records = int(column.counts[code])
            next_one = int(counts[max(odd)])
            reason = f"{records:,} records state it; the commonest other {said(name)} comes {next_one:,} times"
            found.append(Suspect(name, column.values[code], "odd_name", records, records, agreement, chance, reason))
    return found


def _of_code(table: Table, name: str, code: int) -> dict[str, float]:
    holders = _holders(table, name, _RECORDS)
    assert holders is not None, "a name that stands apart is held by many"
    return _agreement(holders, int(np.flatnonzero(holders.codes == code)[0]))


def _homes(table: Table, chance: dict[str, float]) -> list[Suspect]:
    """Homes of many families: an institution, a shop, an address that was made up."""
    holders = _holders(table, "home", _HOME_FAMILIES + 1) if table.has("home") else None
    if holders is None or "family" not in holders.distinct:
        return []
    values = table.column("home").values
    found = []
    for place, code in enumerate(holders.codes.tolist()):
        families, agreement = int(holders.distinct["family"][place]), _agreement(holders, place)
        if families > _HOME_FAMILIES and _as_strangers(_only(agreement, "family", "born"), chance):
            records = int(holders.records[place])
            reason = f"{records:,} records of {families:,} family names state it: an institution, a shop, or made up"
            people = _people(holders, place)
            found.append(Suspect("home", values[code], "crowded_home", records, people, agreement, chance, reason))
    return found


def _only(agreement: Mapping[str, float], *names: str) -> dict[str, float]:
    return {name: agreement[name] for name in names if name in agreement}
