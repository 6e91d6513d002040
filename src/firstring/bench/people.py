"""Customers in households, as a contact centre's systems hold them: several records of one person, none of them perfect.

Household number n of a seed is a function of (seed, n) alone, so a file is written in bounded memory, and whoever needs
a caller draws a household by its number without reading the file. What is wrong with the records is what is wrong with
real ones: typing errors, nicknames, dropped accents, maiden names, moves, recycled numbers, missing fields, placeholders,
switchboards, shared landlines, mobiles and inboxes, father and son of one name, twins. `VERSION` goes up with any change
of what a seed gives; docs/benchmarks.md describes the model with its shares.
"""

from __future__ import annotations

import csv
import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from firstring.bench.happenings import events_of
from firstring.bench.names import COUNTRIES, MAIL_HOSTS, NICKNAMES, Country

T = TypeVar("T")
Draw = Callable[[], float]
"""A draw from [0, 1)."""

VERSION: Final = "people-1"
SOURCES: Final = ("crm", "shop", "billing")
COLUMNS: Final = (
    "record_id", "given_name", "family_name", "suffix", "birth_date", "mobile_phone", "home_phone", "work_phone", "email",
    "street", "house_number", "city", "postcode", "country", "account", "language", "tier", "last_seen",
)  # fmt: skip
SWITCHBOARDS: Final = tuple(f"+1212736{number:04d}" for number in range(5001, 5006))
"""Numbers of companies, which many unrelated people give as theirs."""

PLACEHOLDER_PHONE: Final = "000-000-0000"
PLACEHOLDER_EMAIL: Final = "noemail@example.com"
PLACEHOLDER_BORN: Final = "1900-01-01"

_MEMBERS_MAX: Final = 8
_RECORDS_MAX: Final = 8
_ID_FACTOR: Final = 0x9E3779B1B5
"""Odd, so that multiplying modulo a power of two is one to one: ids do not show which records belong together."""
_ID_OFFSET: Final = 0x1F3D5B79A1
_ID_MODULUS: Final = 1 << 44
MIX_FACTOR: Final = 0x5851F42D4C957F2D
"""Keeps the random numbers of neighbouring seeds and households apart."""
_FIRST_YEAR: Final = 2019
_WINDOW: Final = 20_000
"""Rows held back to be written in another order: neighbours in a file are not one household."""


class Person(NamedTuple):
    """Who somebody is today. person: number unique in the population, the household's number among its digits."""

    person: int
    given: str
    family: str
    suffix: str
    birth_date: str
    mobile: str
    email: str
    maiden: str
    account: str


class Household(NamedTuple):
    """People who live together. landline and old_address may be empty."""

    number: int
    country: Country
    members: tuple[Person, ...]
    landline: str
    address: tuple[str, str, str, str]
    """(street, house number, city, postcode)."""
    old_address: tuple[str, str, str, str]


class Record(NamedTuple):
    """One row of a source, with the truth beside it. row: in the order of COLUMNS."""

    source: int
    row: tuple[str, ...]
    person: int
    household: int


class Written(NamedTuple):
    """What `write` made. files: by source, in the order of SOURCES; truth: record_id, person, household, source."""

    files: tuple[Path, ...]
    truth: Path
    events_file: Path
    records: int
    events: int
    households: int


def household(seed: int, number: int) -> Household:
    """Household `number` (from 0) of a seed, as it is today."""
    return _household(random.Random(seed * MIX_FACTOR + number), number)  # noqa: S311 - reproducible, not secret


def records(seed: int, number: int) -> Iterator[Record]:
    """The records of household `number`, in a fixed order."""
    rng = random.Random(seed * MIX_FACTOR + number)  # noqa: S311
    home = _household(rng, number)
    for member in home.members:
        yield from _records_of(rng, seed, home, member)


def further(rng: random.Random, home: Household) -> Record:
    """One more record of one of a household's members, beyond those of `records`: what a source hears of them later."""
    person = home.members[int(rng.random() * len(home.members))]
    source = int(rng.random() * 3)
    row = _row(rng, home, person, _RECORDS_MAX - 1, _RECORDS_MAX, "", "", vip=False)
    return Record(source, row, person.person, home.number)


def population(seed: int, count: int) -> Iterator[Record]:
    """The first `count` records of a seed, household after household."""
    number = made = 0
    while made < count:
        for record in records(seed, number):
            yield record
            made += 1
            if made == count:
                return
        number += 1


def write(folder: Path, seed: int, count: int) -> Written:
    """Writes `count` records as one CSV file a source, the truth, and events of the customers of the first source.

    The same seed and count give the same bytes.
    """
    order = random.Random(seed)  # noqa: S311
    names = [folder / f"{source}.csv" for source in SOURCES]
    truth_name, events_name = folder / "truth.csv", folder / "events.jsonl"
    households = events = 0
    with ExitStack() as stack:
        opened = [stack.enter_context(path.open("w", encoding="utf-8", newline="")) for path in (*names, truth_name)]
        *sources, truth = [csv.writer(file, lineterminator="\n") for file in opened]
        for writer in sources:
            writer.writerow(COLUMNS)
        truth.writerow(("record_id", "person", "household", "source"))
        window: list[Record] = []

        def put(record: Record) -> None:
            sources[record.source].writerow(record.row)
            truth.writerow((record.row[0], record.person, record.household, SOURCES[record.source]))

        told = stack.enter_context(events_name.open("wb"))
        for record in population(seed, count):
            households = record.household + 1
            if record.source == 0:
                lines = events_of(record.row[0], record.person)
                told.writelines(lines)
                events += len(lines)
            if len(window) < _WINDOW:
                window.append(record)
                continue
            place = int(order.random() * _WINDOW)
            put(window[place])
            window[place] = record
        order.shuffle(window)
        for record in window:
            put(record)
    return Written(tuple(names), truth_name, events_name, count, events, households)


# --- a household -------------------------------------------------------------------------------------------------


def _household(rng: random.Random, number: int) -> Household:
    draw = rng.random
    country = _country(draw())
    family = _family(rng, country)
    size = _size(draw())
    members: list[Person] = []
    parents_born = 1935 + int(draw() * 65)
    shared_mobile = size > 1 and draw() < 0.06
    shared_inbox = size > 1 and draw() < 0.15
    twins = size > 3 and draw() < 0.03
    named_after = size > 2 and draw() < 0.04
    inbox = ""
    for place in range(size):
        adult = place < 2
        woman = place % 2 == 1 if adult else draw() < 0.5
        given = _skewed(draw, country.female if woman else country.male)
        suffix, maiden, own_family = "", "", family
        if place == 1:
            other = _family(rng, country)
            if draw() < 0.25:
                own_family = other
            else:
                maiden = other
        if place == 2 and named_after:
            given, suffix = members[0].given, "Jr"
        born = _date(draw, parents_born + (int(draw() * 8) if adult else 24 + int(draw() * 14)))
        if place == 3 and twins:
            born = members[2].birth_date
        mobile = members[0].mobile if shared_mobile and place else _number(draw, country, country.mobile)
        email = inbox if shared_inbox and 0 < place < 2 else _email(draw, given, own_family, born)
        inbox = inbox or email
        serial = number * _MEMBERS_MAX + place
        account = f"K{(serial * 2654435761 + 97) % 10_000_000_019:010d}"
        members.append(Person(serial, given, own_family, suffix, born, mobile, email, maiden, account))
    landline = _number(draw, country, country.landline) if draw() < 0.55 else ""
    address = _address(draw, country)
    old = _address(draw, country) if draw() < 0.2 else address
    return Household(number, country, tuple(members), landline, address, old)


def _country(share: float) -> Country:
    for country in COUNTRIES:
        share -= country.share
        if share < 0:
            return country
    return COUNTRIES[0]


def _size(share: float) -> int:
    return 1 if share < 0.34 else 2 if share < 0.66 else 3 if share < 0.81 else 4 if share < 0.94 else 5


def _skewed(draw: Draw, words: Sequence[T]) -> T:
    """One of them, the first far more often than the last: the product of two draws falls off like a register's names."""
    return words[int(draw() * draw() * len(words))]


def _family(rng: random.Random, country: Country) -> str:
    draw = rng.random
    if draw() < 0.5:
        return _skewed(draw, country.family)
    begins, ends = country.begins, country.ends
    return begins[int(draw() * len(begins))] + ends[int(draw() * len(ends))]


def _date(draw: Draw, year: int) -> str:
    day = int(draw() * 336)
    return f"{min(year, 2012)}-{day // 28 + 1:02d}-{day % 28 + 1:02d}"


def _number(draw: Draw, country: Country, plan: tuple[tuple[str, int], ...]) -> str:
    prefix, digits = plan[int(draw() * len(plan))]
    first = 2 if country.code == "US" else 0
    low, span = first * 10 ** (digits - 1), (10 - first) * 10 ** (digits - 1)
    return f"+{country.calling}{prefix}{low + int(draw() * span):0{digits}d}"


def _email(draw: Draw, given: str, family: str, born: str) -> str:
    name, rest = _mailable(given), _mailable(family)
    style = int(draw() * 5)
    local = (
        f"{name}.{rest}" if style == 0 else f"{name[0]}{rest}{born[2:4]}" if style == 1 else f"{rest}{name}"
        if style == 2 else f"{name}{born[:4]}" if style == 3 else f"{name}_{rest}{int(draw() * 100)}"
    )  # fmt: skip
    return f"{local}@{MAIL_HOSTS[int(draw() * draw() * len(MAIL_HOSTS))]}"


_LETTERS: Final = str.maketrans({"ł": "l", "Ł": "L", "ß": "ss", "ø": "o", "ı": "i", "’": "'"})


@cache
def _plain(text: str) -> str:
    """Without accents, as an older system stores it. Names come from lists, so what is remembered is bounded."""
    apart = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _mailable(text: str) -> str:
    return "".join(letter for letter in _plain(text).lower() if letter.isalnum()) or "post"


def _address(draw: Draw, country: Country) -> tuple[str, str, str, str]:
    city, begins = _skewed(draw, country.cities)
    street = country.streets[int(draw() * len(country.streets))]
    code = int(draw() * 1_000_000_000)
    postcode = begins
    for place in country.postcode:
        if place == "9":
            postcode += str(code % 10)
        elif place == "A":
            postcode += "ABDEFGHJLNPQRSTUWXYZ"[code % 20]
        else:
            postcode += place
        code //= 7
    return street, str(1 + int(draw() * draw() * 240)), city, postcode


# --- its records -------------------------------------------------------------------------------------------------


def _records_of(rng: random.Random, seed: int, home: Household, person: Person) -> Iterator[Record]:
    draw = rng.random
    share = draw()
    count = 1 if share < 0.45 else 2 if share < 0.8 else 3
    source = int(draw() * draw() * 3)
    work = SWITCHBOARDS[int(draw() * draw() * 5)] if draw() < 0.006 else ""
    if not work and draw() < 0.02:
        work = _number(draw, home.country, home.country.landline)
    former = ""
    if home.number and draw() < 0.06:  # the number that somebody else has today was this person's before
        former = household(seed, int(draw() * home.number)).members[0].mobile
    vip = draw() < 0.02
    for place in range(count):
        row = _row(rng, home, person, place, count, work, former, vip)
        yield Record(source, row, person.person, home.number)
        if draw() > 0.08:  # else a second record in the same source
            source = (source + 1) % 3


def _row(
    rng: random.Random, home: Household, person: Person, place: int, count: int, work: str, former: str, vip: bool
) -> tuple[str, ...]:
    draw = rng.random
    country = home.country
    old = place < count - 1 and draw() < 0.5
    given, family, born = person.given, person.family, person.birth_date
    if draw() < 0.12 and given in NICKNAMES:
        shorts = NICKNAMES[given]
        given = shorts[int(draw() * len(shorts))]
    if old and person.maiden:
        family = person.maiden
    if draw() < 0.12:
        given, family = _plain(given), _plain(family)
    mistake = draw()
    if mistake < 0.05:
        if mistake < 0.02:
            given = _mistyped(draw, given)
        elif mistake < 0.04:
            family = _mistyped(draw, family)
        else:
            given, family = family, given
    mistake = draw()
    if mistake < 0.24:
        born = _born(draw, born, mistake)
    mobile = former if former and old else person.mobile
    mistake = draw()
    if mistake < 0.22:
        mobile = "" if mistake < 0.2 else PLACEHOLDER_PHONE if mistake < 0.21 else _mistyped(draw, mobile, digits=True)
    landline = home.landline if draw() < 0.35 else ""
    mistake = draw()
    email = person.email
    if mistake < 0.33:
        email = "" if mistake < 0.3 else PLACEHOLDER_EMAIL if mistake < 0.31 else _mistyped(draw, email)
    street, house, city, postcode = home.old_address if old else home.address
    if draw() < 0.12:
        street = house = postcode = ""
    year = _FIRST_YEAR + int(draw() * (3 if old else 7.8))
    month, day = 1 + int(draw() * 9), 1 + int(draw() * 28)
    return (
        record_id(person.person, place),
        given,
        family,
        person.suffix if draw() < 0.5 else "",
        born,
        _written(draw, mobile, country),
        _written(draw, landline, country),
        work,
        email,
        street,
        house,
        city,
        postcode,
        country.code,
        person.account if draw() < 0.4 else "",
        country.language if draw() < 0.3 else "",
        "vip" if vip else "",
        f"{year}-{month:02d}-{day:02d}T{int(draw() * 24):02d}:00:00Z",
    )


def record_id(person: int, place: int) -> str:
    """The id of a person's record number `place`: one to one, and nothing can be read from it."""
    return f"r{((person * _RECORDS_MAX + place) * _ID_FACTOR + _ID_OFFSET) % _ID_MODULUS:011x}"


def _born(draw: Draw, born: str, mistake: float) -> str:
    if mistake < 0.2:
        return ""
    if mistake < 0.21:
        return PLACEHOLDER_BORN
    if mistake < 0.225:  # the day for the month
        return f"{born[:4]}-{born[8:]}-{born[5:7]}" if born[8:] <= "12" else f"{born[:4]}-01-01"
    return f"{born[:3]}{int(draw() * 10)}{born[4:]}"


def _mistyped(draw: Draw, text: str, *, digits: bool = False) -> str:
    """One letter left out, doubled, replaced, or swapped with the next. Of a number, one of the last six digits."""
    if len(text) < 3:
        return text
    first = max(1, len(text) - 6) if digits else 1
    place = first + int(draw() * (len(text) - first - 1))
    if digits:
        return text[:place] + str(int(draw() * 10)) + text[place + 1 :]
    kind = int(draw() * 4)
    if kind == 0:
        return text[:place] + text[place + 1 :]
    if kind == 1:
        return text[:place] + text[place] + text[place:]
    if kind == 2:
        return text[:place] + "abcdefghijklmnopqrstuvwxyz"[int(draw() * 26)] + text[place + 1 :]
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def _written(draw: Draw, number: str, country: Country) -> str:
    """A number as people write it: international, or in the country's own form."""
    if not number or draw() < 0.6 or not number.startswith("+" + country.calling):
        return number
    own = number[1 + len(country.calling) :]
    if country.code == "US":
        return f"({own[:3]}) {own[3:6]}-{own[6:]}"
    return f"{country.trunk}{own[:3]} {own[3:]}"
