"""The generator of customers: frozen, deterministic, in the shares that its documentation states."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import phonenumbers
import pytest

from firstring.bench import callers, people
from firstring.bench.names import COUNTRIES, Country
from firstring.bulk.files.mapping import guess_map
from firstring.identity.canonical.record import canonical_record

COLUMN = {name: place for place, name in enumerate(people.COLUMNS)}
FROZEN = "b7d6d898ead61dff"


@pytest.fixture(scope="module")
def some() -> list[people.Record]:
    return list(people.population(1, 20_000))


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def truth_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["record_id"]: row for row in csv.DictReader(file)}


def value(record: people.Record, column: str) -> str:
    return record.row[COLUMN[column]]


def test_a_seed_gives_what_it_always_gave(some: list[people.Record]) -> None:
    """Whoever changes what a seed gives raises people.VERSION: results of two versions are not comparable."""
    digest = hashlib.sha256("\n".join(",".join(record.row) for record in some[:2_000]).encode()).hexdigest()
    assert (people.VERSION, digest[:16]) == ("people-1", FROZEN)


def test_the_same_files_for_the_same_seed(tmp_path: Path) -> None:
    made = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        written = people.write(tmp_path / name, 5, 25_000)
        made.append([path.read_bytes() for path in (*written.files, written.truth, written.events_file)])
    assert made[0] == made[1]
    assert people.write(tmp_path, 6, 1_000).files[0].read_bytes() not in made[0][:1]


def test_files_hold_every_record_once_and_the_truth_beside(tmp_path: Path) -> None:
    written = people.write(tmp_path, 3, 30_000)
    assert written.records == 30_000
    expected = {record.row: (record.person, record.household, record.source) for record in people.population(3, 30_000)}
    truth = truth_of(written.truth)
    found = 0
    for source, path in enumerate(written.files):
        for row in rows_of(path)[1:]:
            person, household, of_source = expected[tuple(row)]
            told = truth[row[0]]
            assert (str(person), str(household), people.SOURCES[source]) == (
                told["person"],
                told["household"],
                told["source"],
            )
            assert source == of_source
            found += 1
    assert found == len(truth) == len(expected) == 30_000


def test_neighbours_in_a_file_are_not_one_household(tmp_path: Path) -> None:
    written = people.write(tmp_path, 1, 30_000)
    truth = truth_of(written.truth)
    order = [truth[row[0]]["household"] for row in rows_of(written.files[0])[1:]]
    together = sum(left == right for left, right in pairwise(order))
    assert together < 0.01 * len(order)


def test_shares(some: list[people.Record]) -> None:
    count = len(some)
    people_of = Counter(record.person for record in some)
    homes = {record.household: set[int]() for record in some}
    for record in some:
        homes[record.household].add(record.person)
    assert 1.6 < count / len(people_of) < 2.0, "records a person"
    assert 2.0 < len(people_of) / len(homes) < 2.6, "people a household"
    assert max(len(members) for members in homes.values()) == 5
    assert 0.5 < sum(value(r, "country") == "US" for r in some) / count < 0.62
    assert 0.08 < sum(not r.row[1].isascii() or not r.row[2].isascii() for r in some) / count < 0.3
    assert 0.15 < sum(not value(r, "birth_date") for r in some) / count < 0.25
    assert 0.003 < sum(value(r, "email") == "noemail@example.com" for r in some) / count < 0.02
    switchboards = Counter(value(r, "work_phone") for r in some if value(r, "work_phone") in people.SWITCHBOARDS)
    assert set(switchboards) == set(people.SWITCHBOARDS)


def test_relatives_share_and_strangers_inherit_numbers(some: list[people.Record]) -> None:
    landlines: dict[str, set[int]] = {}
    mobiles: dict[str, set[int]] = {}
    for record in some:
        if number := value(record, "home_phone"):
            landlines.setdefault(number, set()).add(record.person)
        if number := value(record, "mobile_phone"):
            mobiles.setdefault(number, set()).add(record.household)
    assert sum(len(persons) > 1 for persons in landlines.values()) > 500
    assert sum(1 < len(homes) < 5 for homes in mobiles.values()) > 60, "recycled numbers"


def test_every_record_can_be_imported(some: list[people.Record]) -> None:
    sample = [dict(zip(people.COLUMNS, record.row, strict=True)) for record in some[:1_000]]
    choices = {choice.column: choice.field for choice in guess_map(people.COLUMNS, sample).choices}
    assert choices["mobile_phone"] == choices["home_phone"] == choices["work_phone"] == "phone"
    assert all(
        choices[column] == column for column in ("record_id", "given_name", "family_name", "birth_date", "email", "account")
    )
    for row in sample[:300]:
        raw = {choices[column]: cell for column, cell in row.items() if cell and choices[column] != "phone"}
        raw["phone"] = [row[column] for column in ("mobile_phone", "home_phone", "work_phone") if row[column]]
        assert canonical_record(raw, country="US").fields


@pytest.mark.parametrize("country", COUNTRIES, ids=lambda country: country.code)
def test_numbers_have_the_form_of_their_country(country: Country) -> None:
    homes = (people.household(1, number) for number in range(3_000))
    numbers = [home.members[0].mobile for home in homes if home.country is country][:200]
    assert len(numbers) > 20
    valid = [phonenumbers.is_valid_number(phonenumbers.parse(number)) for number in numbers]
    assert sum(valid) > 0.9 * len(valid)


def test_callers_come_in_their_shares_and_say_who_they_are() -> None:
    calls = list(callers.callers(1, 500, 4_000))
    assert calls == list(callers.callers(1, 500, 4_000))
    kinds = Counter(call.kind for call in calls)
    for kind, share in callers.MIX:
        assert abs(kinds[kind] / len(calls) - share) < 0.03
    for call in calls:
        assert bool(call.number) == (call.kind != "withheld")
        if call.kind == "known":
            assert call.person is not None
            member = people.household(1, call.person // 8).members[call.person % 8]
            assert (call.number, call.claims["family_name"]) == (member.mobile, member.family)
