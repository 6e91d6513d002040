"""Records that come after the import: new households, and further records of people who are there already."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from firstring.bench import people
from firstring.identity.canonical.record import CanonicalRecord, canonical_record

SWITCHBOARD: Final = "+12127369999"
"""A company's number that nobody gave before."""
COUNTRY: Final = "US"
_PHONES: Final = ("mobile_phone", "home_phone", "work_phone")
_OWN: Final = tuple(column for column in people.COLUMNS if column not in _PHONES)
_EXCHANGE: Final = {"crowd": "555", "visitor": "556"}
_PEOPLE: Final = {"crowd": ("Theodora", "Quillfeather", "1961-04-23"), "visitor": ("Ignatius", "Broadmere", "1987-11-02")}


def fields_of(row: tuple[str, ...]) -> dict[str, Any]:
    """A row of the generator by fields of the vocabulary, as POST /v1/records takes it."""
    cells = dict(zip(people.COLUMNS, row, strict=True))
    found: dict[str, Any] = {column: cells[column] for column in _OWN if cells[column]}
    phones = [cells[column] for column in _PHONES if cells[column]]
    return {**found, "phone": phones} if phones else found


def fresh(seed: int, households: int) -> Iterator[people.Record]:
    """Without end, about half and half: records of the households after the first `households`, each once, and one more
    record of somebody in one of those, drawn at random."""
    rng = random.Random(seed * people.MIX_FACTOR + 2_000_003)  # noqa: S311 - reproducible, not secret
    seen: set[int] = set()
    number = households
    while True:
        for record in people.records(seed, number):
            yield record
            if len(seen) < households:
                home = int(rng.random() * households)
                while home in seen:  # once each, so that no record comes twice
                    home = int(rng.random() * households)
                seen.add(home)
                yield people.further(rng, people.household(seed, home))
        number += 1


def on_the_switchboard(seed: int, households: int, count: int) -> Iterator[CanonicalRecord]:
    """`count` people of one record each, from households that nobody has met, all with SWITCHBOARD among their numbers."""
    for number in range(count):
        record = next(people.records(seed, households + number))
        raw = fields_of(record.row)
        raw["phone"] = [*raw.get("phone", ()), SWITCHBOARD]
        yield canonical_record(raw, country=COUNTRY)


def one_person(who: str, source: str, count: int, contents: int) -> list[CanonicalRecord]:
    """`count` records of one made-up person ("crowd" or "visitor") of a source, in `contents` different contents.

    Names and birth date are the same. Four keys (three numbers, an inbox) are shared by 40 contents each, other ones by each
    key: so none is hot, and enough pairs are known for them to be one person.
    """
    given, family, born = _PEOPLE[who]
    found = []
    for number in range(count):
        content = number % contents
        row, column = divmod(content, 40)
        raw = {
            "record_id": f"{who}-{number}",
            "given_name": given,
            "family_name": family + source,
            "birth_date": born,
            "phone": [
                f"+1{area}{_EXCHANGE[who]}{1000 * (1 + contents % 9) + group:04d}"
                for area, group in ((212, row), (312, column), (415, (row + column) % 25))
            ],
            "email": f"{given}.{source}.{(column + 7 * row) % 25}@mail.example.org".lower(),
            "street": "Long Road",
            "house_number": str(1 + content),
            "city": "Springfield",
        }
        found.append(canonical_record(raw, country=COUNTRY))
    return found
