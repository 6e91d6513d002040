"""Values that point at nobody are found by what their holders disagree in; families and busy people are left alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from firstring.bench.people import COLUMNS, PLACEHOLDER_BORN, SWITCHBOARDS, population
from firstring.bulk.linking.suspects import show_suspects
from firstring.identity.comparison.columns import Encoder, Table, compared, table_of
from firstring.identity.persons.hotvalues import chances, suspects

Row = dict[str, tuple[str, ...]]


def _person(number: int, **more: tuple[str, ...]) -> Row:
    born = f"{1930 + number % 70}{1 + number % 12:02d}{1 + number % 28:02d}"
    name = f"name{number % 97}"
    home = {"address": (f"{number} elm street",), "postcode": (f"{10000 + number}",), "city": (f"city{number % 29}",)}
    return {"given": (name,), "root": (name,), "family": (f"family{number % 89}",), "born": (born,), **home, **more}


def _kinds(table: Table) -> dict[tuple[str, str], str]:
    return {(one.column, one.value): one.kind for one in suspects(table)}


PEOPLE = [_person(number, phone=(f"+{number}",)) for number in range(600)]


def test_a_placeholder_a_switchboard_and_an_institution() -> None:
    rows = [
        *PEOPLE,
        *(_person(number, phone=("+000",)) for number in range(1000, 1040)),
        *(_person(number, email=("info@hotel.example",)) | {"address": ("1 hotel square",), "postcode": ("77777",)}
          for number in range(2000, 2020)),
    ]  # fmt: skip
    found = _kinds(table_of(rows))
    assert found[("phone", "+000")] == "strangers"
    assert found[("email", "info@hotel.example")] == "one_place"
    assert found[("home", "77777 1 hotel square")] == "crowded_home"
    assert len(found) == 3, "and nobody else"


def test_families_and_people_with_many_records_are_no_suspects() -> None:
    family = [_person(number, phone=("+1555",)) | {"family": ("lee",), "address": ("9 oak lane",), "postcode": ("1",)}
              for number in range(3000, 3007)]  # fmt: skip
    busy = [_person(4000, phone=("+1666",), email=("busy@mail.example",)) for _ in range(30)]
    assert not _kinds(table_of([*PEOPLE, *family, *busy]))


def test_one_record_a_thousand_times_is_hot_for_linking_and_says_so() -> None:
    [found] = suspects(table_of([*PEOPLE, *[_person(4000, phone=("+1666",))] * 1000]), block_records=50)[:1]
    assert (found.column, found.kind, found.records, found.people) == ("phone", "many_records", 1000, 1)


def test_relatives_beyond_the_limit_are_told_from_strangers() -> None:
    clan = [_person(number, phone=("+1555",)) | {"family": ("lee",)} for number in range(3000, 3012)]
    [found] = suspects(table_of([*PEOPLE, *clan]))
    assert found.kind == "relatives"
    assert "no more than 8 may" in found.reason


def test_odd_dates_and_names() -> None:
    dated = [_person(number) | {"born": ("19000101",)} for number in range(1000, 1030)]
    named = [_person(number) | {"family": ("kunde",)} for number in range(5000, 5200)]
    found = _kinds(table_of([*PEOPLE, *dated, *named]))
    assert found == {("born", "19000101"): "odd_date", ("family", "kunde"): "odd_name"}


@pytest.mark.parametrize("columns", [(), ("phone",), ("phone", "given", "root"), ("born",), ("national_id", "family")])
def test_missing_columns_and_constants_are_no_error(columns: tuple[str, ...]) -> None:
    assert isinstance(suspects(table_of([dict.fromkeys(columns, ("1",)) for _ in range(40)])), list)
    assert suspects(table_of([])) == []


def test_the_chance_of_strangers_is_that_of_drawing_two() -> None:
    found = chances(table_of([{"born": ("1",)}, {"born": ("1",)}, {"born": ("2",)}, {"family": ("x",)}]))
    assert found == {"born": pytest.approx(2 / 6)}


def test_a_population_with_placeholders_and_switchboards() -> None:
    """Households with shared landlines, mobiles and inboxes: what is found is what was planted, and nothing else."""
    encoder = Encoder()
    for record in population(11, 12_000):
        raw = dict(zip(COLUMNS, record.row, strict=True))
        fields = {name: value for name, value in raw.items() if value and "phone" not in name}
        fields["phone"] = [raw[name] for name in ("mobile_phone", "home_phone", "work_phone") if raw[name]]
        encoder.add(compared(fields))
    found = suspects(encoder.table(np.arange(encoder.rows)))
    values = {one.value for one in found}
    planted = {"000-000-0000", "noemail@example.com", PLACEHOLDER_BORN.replace("-", "")}
    assert planted <= values <= planted | set(SWITCHBOARDS)
    assert SWITCHBOARDS[0] in values


def test_the_plan_lists_them() -> None:
    console = Console(file=io.StringIO(), width=200)
    rows = [*PEOPLE, *(_person(number, phone=("+[red]0",)) for number in range(1000, 1040))]
    show_suspects(console, table_of(rows), 50)
    show_suspects(console, table_of(PEOPLE), 50)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "+[red]0" in text
    assert "strangers: 40 records of" in text
    assert "no value behaves like" in text
