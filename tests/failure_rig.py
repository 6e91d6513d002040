"""Small worlds that linking must survive, through both doors: files (`firstring link`) and the store (arrivals).

One model is trained for the run, on generated people of a few thousand households. Each case adds a few records of its
own; the file door links them among all the others, the store door applies them to a tenant that has the same version with
the frozen statistics of the same records.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from firstring.bench.people import COLUMNS, population
from firstring.bulk.linking.console import run_link, run_train
from firstring.bulk.linking.link import Linked
from firstring.bulk.versions.storelink import FROZEN
from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.identity.comparison.columns import compared, table_of
from firstring.identity.model.model import Model
from firstring.store.database import Database, Tenant
from firstring.store.identity.models import ActiveModel, add_model, model_of, set_state, statistics_key
from firstring.store.identity.records import apply_records

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SOURCE = "crm"
THRESHOLD = 0.95
PEOPLE = 4_000
SEED = 77
_DROPPED = ("account", "language", "tier", "last_seen")
_HEADER = (*(name for name in COLUMNS if name not in _DROPPED), "middle_name", "gender", "national_id", "account")
_PHONES = ("mobile_phone", "home_phone", "work_phone")

Row = dict[str, str]
Persons = set[frozenset[str]]


class World(NamedTuple):
    """The people around every case, and the model trained on them."""

    folder: Path
    rows: tuple[Row, ...]
    records: tuple[CanonicalRecord, ...]
    model: Model


def made_world(folder: Path) -> World:
    rows = tuple(
        {name: value for name, value in zip(COLUMNS, one.row, strict=True) if value and name not in _DROPPED}
        for one in population(SEED, PEOPLE)
    )
    written(folder / "people.csv", rows)
    lines = [f'{name} = "{"phone" if name in _PHONES else name}"' for name in _HEADER]
    (folder / "map.toml").write_text("[fields]\n" + "\n".join(lines) + "\n")
    model = run_train(
        [folder / "people.csv"], folder / "map.toml", folder / "model.json", country="US", memory_mb=200,
        console=Console(quiet=True),
    )  # fmt: skip
    return World(folder, rows, tuple(canonical(rows)), model)


def canonical(rows: Iterable[Mapping[str, str]]) -> list[CanonicalRecord]:
    """As an import makes records of rows; those that hold nothing are left out."""
    found = []
    for row in rows:
        raw: dict[str, Any] = {name: value for name, value in row.items() if name not in _PHONES}
        raw["phone"] = [row[name] for name in _PHONES if row.get(name)]
        try:
            found.append(canonical_record({name: value for name, value in raw.items() if value}, country="US"))
        except BadInput:
            continue
    return found


def linked_files(world: World, rows: Sequence[Row], folder: Path, model: Path | None = None) -> Linked:
    """Links these rows, in a file of their own, with everybody else's, into out.csv."""
    report = run_link(
        [world.folder / "people.csv", written(folder / "case.csv", rows)],
        world.folder / "map.toml",
        country="US",
        threshold=THRESHOLD,
        out=folder / "out.csv",
        pairs_path=None,
        model_path=model or world.folder / "model.json",
        plan_only=False,
        memory_mb=200,
        console=Console(quiet=True),
    )
    assert report is not None
    return report


def in_files(world: World, rows: Sequence[Row], folder: Path, model: Path | None = None) -> Persons:
    """The persons of these rows when they are linked in a file of their own beside everybody else's."""
    linked_files(world, rows, folder, model)
    persons: dict[str, set[str]] = {}
    with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if line["source"] == "case":
                persons.setdefault(line["person_id"], set()).add(line["record_id"])
    return set(map(frozenset, persons.values()))


async def with_model(database: Database, tenant: Tenant, world: World, rows: Sequence[Row]) -> ActiveModel:
    """The world's version becomes the tenant's active one, with the statistics of everybody and of these rows."""
    table = table_of([compared(one.fields) for one in (*world.records, *canonical(rows))])
    statistics = table.frozen(FROZEN, statistics_key(tenant.keys, world.model.version))
    async with database.transaction(tenant.tenant_id) as connection:
        model_id = await add_model(connection, tenant, world.model, statistics, THRESHOLD, trained_at=NOW)
        await set_state(connection, tenant, model_id, "active", now=NOW)
        return await model_of(connection, tenant, model_id)


async def in_store(database: Database, tenant: Tenant, rows: Sequence[Row], *, batch: int = 2_000) -> Persons:
    """The persons of these rows when they arrive at a store, `batch` at a time."""
    records = canonical(rows)
    name: dict[int, str] = {}
    for start in range(0, len(records), batch):
        part = records[start : start + batch]
        applied = await apply_records(database, tenant, SOURCE, part, now=NOW)
        name.update(zip(applied.record_ids, (one.record_id for one in part), strict=True))
    return await persons_in(database, tenant, name)


async def persons_in(database: Database, tenant: Tenant, name: Mapping[int, str]) -> Persons:
    """What the store holds, by the names of records; those without a name are left out."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch("select record_id, person_id from record")
    persons: dict[int, set[str]] = {}
    for row in rows:
        if row["record_id"] in name:
            persons.setdefault(row["person_id"], set()).add(name[row["record_id"]])
    return set(map(frozenset, persons.values()))


def written(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _HEADER, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


# --- who is one person ---------------------------------------------------------------------------------------------

HOME = {"street": "Juniper Street", "house_number": "41", "city": "Albany", "postcode": "12207"}
LANDLINE = {"home_phone": "+12125550174"}
SWITCHBOARD = {"work_phone": "+12127365009"}
_GIVEN = ("Walter", "Priya", "Oscar", "Nadia", "Felix", "Irma", "Tobias", "Greta", "Hugo", "Paula", "Ivan", "Selma")
_FAMILY = (
    "Okafor", "Brandt", "Castell", "Dvorak", "Elgin", "Farrow", "Gentile", "Hoskins", "Ibarra", "Jessop", "Kramer",
    "Lindqvist",
)  # fmt: skip
_BIRTHS = (
    "1950-03-11", "1984-07-26", "1971-12-02", "1963-05-19", "1992-10-08", "1957-01-23", "1979-09-14", "1966-02-28",
    "1988-06-05", "1975-04-17", "1953-08-30", "1996-11-21",
)  # fmt: skip
_CITIES = ("Boston", "Austin", "Denver")


def row(record_id: str, given: str = "", family: str = "", born: str = "", **more: str) -> Row:
    found = {"record_id": record_id, "given_name": given, "family_name": family, "birth_date": born, "country": "US", **more}
    return {name: value for name, value in found.items() if value}


def crowd(every: Mapping[str, str], *, dated: bool = True, count: int = 12) -> list[Row]:
    """Different people who state the same, and every second of them a birth date."""
    return [
        row(
            str(number),
            _GIVEN[number % 12],
            _FAMILY[(number + number // 12) % 12],
            f"19{50 + number % 49}-0{1 + number % 9}-1{number % 9}" if dated and number % 2 else "",
            **every,
        )
        for number in range(count)
    ]


_WALTER = ("Walter", "Okafor", "1951-04-03")
_IRMA = ("Irma", "Okafor", "1953-11-20")
_SON = ("Walter", "Okafor", "1979-08-14")
_GRETA = ("Greta", "Lindqvist", "1990-10-30")
_MARRIED = ("Greta", "Castell", "1990-10-30")
_TWIN, _OTHER_TWIN = ("Tobias", "Okafor", "2001-06-05"), ("Selma", "Okafor", "2001-06-05")
_ELSEWHERE = {"city": "Denver", "postcode": "80202"}
_INBOX = {"email": "okafors@mail.net"}
_RECYCLED = {"mobile_phone": "+12125550171"}

CASES: dict[str, tuple[list[Row], str]] = {
    "switchboard number": (crowd(SWITCHBOARD), "0 1 2 3 4 5 6 7 8 9 10 11"),
    "switchboard number, two records each": (
        [
            {**one, "record_id": f"{place}{end}", "birth_date": _BIRTHS[place], "city": _CITIES[place % 3]}
            for place, one in enumerate(crowd(SWITCHBOARD))
            for end in "ab"
        ],
        " ".join(f"{number}a+{number}b" for number in range(12)),
    ),
    "switchboard number of people of one birthday and three places": (
        [
            {**one, "record_id": f"{place}{end}", "birth_date": f"19{50 + place}-03-11", "city": _CITIES[place % 3]}
            for place, one in enumerate(crowd(SWITCHBOARD))
            for end in "ab"
        ],
        " ".join(f"{number}a+{number}b" for number in range(12)),
    ),
    "switchboard number of people of one name": (
        [row("a", *_WALTER, **SWITCHBOARD, city="Boston", postcode="02108"),
         row("b", "Walter", "Okafor", "1983-09-21", **SWITCHBOARD, city="Denver", postcode="80202"),
         row("c", "Nadia", "Okafor", "1972-02-02", **SWITCHBOARD, city="Austin")],
        "a b c",
    ),
    "000-000-0000": (crowd({"mobile_phone": "000-000-0000"}), "0 1 2 3 4 5 6 7 8 9 10 11"),
    "000-000-0000 of namesakes": (
        [row("a", "Maria", "Smith", mobile_phone="000-000-0000"), row("b", "Maria", "Smith", mobile_phone="000-000-0000"),
         row("c", "Maria", "Smith", mobile_phone="0000000000")],
        "a b c",
    ),
    "noemail@": (
        [*crowd({"email": "noemail@example.com"}), row("x", "Maria", "Smith", email="noemail@gmail.com"),
         row("y", "Maria", "Smith", email="noemail@gmail.com")],
        "0 1 2 3 4 5 6 7 8 9 10 11 x y",
    ),
    "birth date 1900-01-01": (
        [
            *crowd({"birth_date": "1900-01-01", "city": "Boston"}, dated=False),
            row("x", "Maria", "Smith", "1900-01-01", city="Boston"), row("y", "Maria", "Smith", "1900-01-01", city="Denver"),
        ],
        "0 1 2 3 4 5 6 7 8 9 10 11 x y",
    ),
    "recycled mobile": (
        [
            row("a1", *_WALTER, **_RECYCLED, **HOME, email="w.okafor@mail.net"), row("a2", *_WALTER, **_RECYCLED, **HOME),
            row("b1", *_GRETA, **_RECYCLED, **_ELSEWHERE, email="greta.l@mail.net"),
            row("b2", *_GRETA, **_RECYCLED, city="Denver"),
        ],
        "a1+a2 b1+b2",
    ),
    "recycled mobile and no more": (
        [row("a", "Walter", "Okafor", **_RECYCLED), row("b", "Greta", "Lindqvist", **_RECYCLED)],
        "a b",
    ),
    "recycled mobile of namesakes": (
        [row("a", "Maria", "Smith", "1951-04-03", **_RECYCLED, **HOME),
         row("b", "Maria", "Smith", "1990-10-30", **_RECYCLED, **_ELSEWHERE)],
        "a b",
    ),
    "couple with one inbox": (
        [
            row("a1", *_WALTER, **_INBOX, **HOME, mobile_phone="+12125550172"), row("a2", *_WALTER, **_INBOX, **HOME),
            row("b1", *_IRMA, **_INBOX, **HOME), row("b2", *_IRMA, **_INBOX, mobile_phone="+12125556391"),
        ],
        "a1+a2 b1+b2",
    ),
    "couple with one inbox, one mobile and no birth dates": (
        [row(name, given, "Okafor", **_INBOX, **_RECYCLED, **HOME) for name, given in (("a", "Walter"), ("b", "Irma"))],
        "a b",
    ),
    "couple with one inbox and nothing else": (
        [row("a", "Walter", "Okafor", **_INBOX), row("b", "Irma", "Okafor", **_INBOX)],
        "a b",
    ),
    "twins": (
        [
            row("a1", *_TWIN, **LANDLINE, **HOME), row("a2", *_TWIN, **HOME, email="tobias.o@mail.net"),
            row("b1", *_OTHER_TWIN, **LANDLINE, **HOME), row("b2", *_OTHER_TWIN, **HOME, email="selma.o@mail.net"),
        ],
        "a1+a2 b1+b2",
    ),
    "twins, one record each": (
        [row("a", *_TWIN, **HOME, mobile_phone="+12125558231"), row("b", *_OTHER_TWIN, **HOME, mobile_phone="+12125554790")],
        "a b",
    ),
    "twins with a landline, one record each": (
        [row("a", *_TWIN, **HOME, **LANDLINE), row("b", *_OTHER_TWIN, **HOME, **LANDLINE)],
        "a b",
    ),
    "twins with a landline and mobiles, one record each": (
        [row("a", *_TWIN, **HOME, **LANDLINE, mobile_phone="+12125558231"),
         row("b", *_OTHER_TWIN, **HOME, **LANDLINE, mobile_phone="+12125554790")],
        "a b",
    ),
    "twins with one mobile and one inbox": (
        [row("a", *_TWIN, **HOME, **_RECYCLED, **_INBOX), row("b", *_OTHER_TWIN, **HOME, **_RECYCLED, **_INBOX)],
        "a b",
    ),
    "Jr and Sr": (
        [
            row("s1", *_WALTER, **LANDLINE, **HOME, suffix="Sr"),
            row("s2", *_WALTER, **LANDLINE, **HOME, mobile_phone="+12125558231"),
            row("j1", *_SON, **LANDLINE, **HOME, suffix="Jr"),
            row("j2", *_SON, **LANDLINE, **HOME, mobile_phone="+12125554790"),
        ],
        "s1+s2 j1+j2",
    ),
    "Jr and Sr without birth dates": (
        [row("s", "Walter", "Okafor", **LANDLINE, **HOME, suffix="Sr"),
         row("j", "Walter", "Okafor", **LANDLINE, **HOME, suffix="Jr")],
        "s j",
    ),
    "father and son with a landline who do not say which": (
        [row("s", *_WALTER, **HOME, **LANDLINE), row("j", *_SON, **HOME, **LANDLINE)],
        "s j",
    ),
    "father and son with an inbox of their name who do not say which": (
        [row("s", *_WALTER, **HOME, **LANDLINE, email="walter.okafor@mail.net"),
         row("j", *_SON, **HOME, **LANDLINE, email="walter.okafor@mail.net")],
        "s j",
    ),
    "father and son of whom one says which": (
        [row("s", *_WALTER, **HOME, **LANDLINE), row("j", *_SON, **HOME, **LANDLINE, suffix="Jr")],
        "s j",
    ),
    "father and son who do not say which": (
        [row("s", *_WALTER, **HOME, mobile_phone="+12125558231"), row("j", *_SON, **HOME, mobile_phone="+12125554790")],
        "s j",
    ),
    "married name and a new address": (
        [row("m1", *_GRETA, **_ELSEWHERE, mobile_phone="+12125550462", email="greta.l@mail.net"),
         row("m2", *_MARRIED, **HOME, mobile_phone="+12125550462")],
        "m1+m2",
    ),
    "married name at the same address": ([row("m1", *_GRETA, **HOME), row("m2", *_MARRIED, **HOME)], "m1+m2"),
    "married name, and a sister in law of the same given name": (
        [row("m1", *_MARRIED, **HOME, mobile_phone="+12125550462"),
         row("m2", "Greta", "Castell", "1964-02-11", **HOME, **LANDLINE)],
        "m1 m2",
    ),
}  # fmt: skip
"""Name -> rows, and who is one person: names of records, joined by +."""


def partition(text: str) -> Persons:
    return {frozenset(person.split("+")) for person in text.split()}
