"""Drift: silent on more of the same, whatever the seed; loud when a field vanishes, a source swaps or dates are made up."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from firstring.bench.people import population
from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical_record
from firstring.identity.comparison.columns import compared, table_of
from firstring.identity.comparison.statistics import Statistics
from firstring.identity.model.drift import Drift, Profile, by_chance, calibration, compared_profiles, profile, stability

NAMES = ("crm", "shop", "billing")
KEY = b"0123456789abcdef"
Row = dict[str, tuple[str, ...]]


@cache
def _rows(seed: int, count: int = 3_000) -> tuple[tuple[int, Row], ...]:
    """(source, what is compared) of generated people."""
    columns = (
        "record_id", "given_name", "family_name", "suffix", "birth_date", "mobile", "home", "work", "email", "street",
        "house_number", "city", "postcode",
    )  # fmt: skip
    found = []
    for record in population(seed, count):
        raw: dict[str, object] = dict(zip(columns, record.row, strict=False))
        raw["phone"] = [number for kind in ("mobile", "home", "work") if (number := raw.pop(kind))]
        try:
            fields = canonical_record({k: v for k, v in raw.items() if v}, country="US").fields
        except BadInput:
            continue
        found.append((record.source, compared(fields)))
    return tuple(found)


def _profiled(rows: tuple[tuple[int, Row], ...], statistics: Statistics | None) -> tuple[Profile, Statistics]:
    table = table_of([row for _, row in rows])
    known = statistics or table.frozen([name for name in _FROZEN if table.has(name)], KEY)
    sources = np.array([source for source, _ in rows], np.int32)
    return profile(table, sources, NAMES, known, {}), known


_FROZEN = ("given", "family", "born", "city", "postcode", "email", "phone", "email_host")


def _drift(change: Callable[[int, Row], Row], seed: int, count: int = 3_000) -> Drift:
    was, statistics = _profiled(_rows(1), None)
    now, _ = _profiled(tuple((source, change(source, row)) for source, row in _rows(seed)[:count]), statistics)
    return compared_profiles(was, now)


@pytest.mark.parametrize("seed", range(2, 14))
@pytest.mark.parametrize("count", [60, 400, 3_000])
def test_more_of_the_same_is_steady(seed: int, count: int) -> None:
    found = _drift(lambda _, row: row, seed, count)
    assert [one.text for one in found.measures if one.state == "alarm"] == []


def test_phones_that_vanish_are_an_alarm() -> None:
    found = _drift(lambda _, row: {name: values for name, values in row.items() if name != "phone"}, 5)
    assert found.state == "alarm"
    worst = {(one.kind, one.name) for one in found.measures if one.state == "alarm"}
    assert worst == {("stated", "phone")}


def test_a_source_that_swaps_names_is_named_and_the_others_are_not() -> None:
    def swapped(source: int, row: Row) -> Row:
        if source != 1:
            return row
        given, family = row.get("given", ()), row.get("family", ())
        changed = {**row, "given": family, "family": given, "root": family}
        return {name: values for name, values in changed.items() if values}

    alarms = [one for one in _drift(swapped, 6).measures if one.state == "alarm"]
    assert {one.source for one in alarms} == {"shop"}
    assert {"given", "family"} <= {one.name for one in alarms}


def test_birth_dates_all_of_1_january_are_an_alarm() -> None:
    def made_up(_: int, row: Row) -> Row:
        return {**row, "born": (row["born"][0][:4] + "0101",)} if "born" in row else row

    alarms = [one for one in _drift(made_up, 7).measures if one.state == "alarm"]
    assert {one.name for one in alarms} == {"month_day"}


def test_a_source_nobody_knew_is_said_and_held_against_all() -> None:
    was, statistics = _profiled(_rows(1), None)
    rows = tuple((0, {name: values for name, values in row.items() if name != "email"}) for _, row in _rows(8))
    table = table_of([row for _, row in rows])
    now = profile(table, np.zeros(len(rows), np.int32), ("partner",), statistics, {})
    found = compared_profiles(was, now).measures
    assert any(one.kind == "source" and one.source == "partner" for one in found)
    assert any(one.kind == "stated" and one.name == "email" and one.state == "alarm" for one in found)


def test_levels_of_linked_pairs_that_move_are_an_alarm() -> None:
    was = Profile({}, {"birth_date": {"missing": 100, "exact": 5_000, "edit1": 300}})
    same = Profile({}, {"birth_date": {"missing": 12, "exact": 480, "edit1": 33}})
    moved = Profile({}, {"birth_date": {"missing": 12, "exact": 80, "edit1": 33, "swapped": 400}})
    assert compared_profiles(was, same).state == "steady"
    assert compared_profiles(was, moved).state == "alarm"


def test_few_records_are_no_alarm_and_empty_ones_nothing() -> None:
    assert compared_profiles(Profile({}, {}), Profile({}, {})).measures == ()
    assert _drift(lambda _, row: {name: values for name, values in row.items() if name != "phone"}, 5, 3).state == "steady"
    assert stability(np.zeros(3), np.ones(3)) == (0.0, 1.0)


@pytest.mark.parametrize("degrees", [1, 3, 31])
def test_chance_is_that_of_chi_square(degrees: int) -> None:
    drawn = np.random.default_rng(3).chisquare(degrees, 200_000)
    for share in (0.1, 0.01, 0.001):
        bound = float(np.quantile(drawn, 1 - share))
        assert 0.5 * share < by_chance(bound, degrees) < 2 * share


@pytest.mark.parametrize("seed", range(20))
def test_answers_as_stated_are_steady_and_others_are_not(seed: int) -> None:
    random = np.random.default_rng(seed)
    stated = random.uniform(0, 1, 500)
    assert calibration(stated, random.uniform(0, 1, 500) < stated).state != "alarm"
    assert calibration(stated, random.uniform(0, 1, 500) < stated**3).state == "alarm"
    assert calibration(np.array([0.97, 0.98, 0.99]), np.array([True, True, False])).state == "steady"
    assert calibration(np.zeros(0), np.zeros(0, bool)).measures == ()
