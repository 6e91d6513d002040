"""Simulated calls with the truth beside them: who of a household rings, from which number, after what.

Households and their records are those of bench/people; here they live: people differ in how often they call, call from
what they have at hand, mostly about what has just happened to them, and some of them after a look at the site. Numbers
change hands, relatives are on no file. `HABITS` holds what is assumed; nothing of it is known to the resolver, whose
priors were named before (docs/concepts.md).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from firstring.bench.people import COLUMNS, MIX_FACTOR, Household, Person, household, records
from firstring.contact import Evidence, FanOut, Identifier, Read, RecordRead, TouchRead
from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical_record
from firstring.journey.issues import classify

FIELD_OF: Final = {
    **{name: name for name in COLUMNS if not name.endswith("_phone") and name not in ("record_id", "tier", "language")},
    "mobile_phone": "phone", "home_phone": "phone", "work_phone": "phone",
}  # fmt: skip
TODAY: Final = datetime(2026, 10, 1, tzinfo=UTC)
DAY_S: Final = 86_400.0
_TOUCHES: Final = 5


class Happening(NamedTuple):
    """An event: how many a person has in a year, how much oftener they call just after it, and the days until half of
    that is gone (exponential)."""

    a_year: float
    calls: float
    fades_days: float
    channel: str


class Habits(NamedTuple):
    """What is assumed of people and numbers. Shares are probabilities."""

    unlisted: float = 0.13
    """People who are on no file."""
    spread: float = 0.9
    """Standard deviation of the log of how often people call: the most frequent tenth calls ten times as often as the
    least frequent."""
    calls_a_year: float = 1.1
    remembered: float = 0.6
    """Past calls that became a touch of their caller."""
    own_mobile: float = 0.73
    landline: float = 0.22
    """Of calls, where there is one; the rest comes from a relative's mobile."""
    borrowed: float = 0.012
    """Calls of somebody who has nothing to do with the number's holders."""
    changes_hands_a_year: float = 0.07
    """Numbers whose holder gives them up in a year; the next holder calls us like a stranger."""
    strangers_call: float = 0.35
    """How often such a stranger calls, beside an average customer."""
    looked_first: float = 0.24
    """Callers who were on the site shortly before."""
    looked_minutes: float = 6.0
    """Median of how long before; log-normal with a standard deviation of 1.1."""
    visits_a_year: float = 20.0
    seen_days: float = 300.0
    """Mean days since the newest record of an average caller was last seen; who calls more is seen more."""


HABITS: Final = Habits()
HAPPENINGS: Final[Mapping[str, Happening]] = {
    "Order Completed": Happening(3.0, 2.0, 5.0, "web"),
    "Order Shipped": Happening(3.0, 3.0, 3.0, "backend"),
    "Delivery Delayed": Happening(0.6, 14.0, 2.5, "backend"),
    "Payment Failed": Happening(0.5, 10.0, 1.5, "backend"),
    "Refund Requested": Happening(0.4, 9.0, 12.0, "web"),
    "Complaint Opened": Happening(0.15, 20.0, 9.0, "web"),
    "Invoice Issued": Happening(2.0, 1.0, 6.0, "backend"),
    "Page Viewed": Happening(0.0, 0.0, 1.0, "web"),
}
"""What happens to people. Visits are drawn apart."""


class Ring(NamedTuple):
    """A call: what identity is given, and who it was. truth: person id of a candidate, "another" or "new"."""

    evidence: Evidence
    read: Read
    at: datetime
    truth: int | str


class _Known(NamedTuple):
    """A person's records on file, empty where they are unlisted; how often they call beside the average."""

    person: Person
    records: tuple[RecordRead, ...]
    pace: float
    past: tuple[datetime, ...]


class Town:
    """`households` of a seed with their records, and the calls they make."""

    def __init__(self, seed: int, households: int, habits: Habits = HABITS) -> None:
        self._rng = random.Random(seed * MIX_FACTOR + 77)  # noqa: S311 - reproducible, not secret
        self._habits = habits
        self.homes: list[tuple[Household, tuple[_Known, ...]]] = []
        self._by_number: dict[str, list[RecordRead]] = {}
        self._record_ids = 0
        self._known: dict[int, _Known] = {}
        for number in range(households):
            home = household(seed, number)
            known = tuple(self._person(seed, number, home, member) for member in home.members)
            self.homes.append((home, known))
            for one in known:
                self._known[one.person.person] = one
                for record in one.records:
                    for phone in record.fields.get("phone", ()):
                        self._by_number.setdefault(phone, []).append(record)

    def _person(self, seed: int, number: int, home: Household, member: Person) -> _Known:
        draw, habits = self._rng.random, self._habits
        pace = math.exp(self._rng.gauss(-(habits.spread**2) / 2, habits.spread))
        years = 3.0
        past = sorted(
            TODAY - timedelta(days=20 + draw() * 365 * years)
            for _ in range(self._poisson(habits.calls_a_year * pace * years))
        )
        if draw() < habits.unlisted:
            return _Known(member, (), pace, ())
        found = []
        for row in (one.row for one in records(seed, number) if one.person == member.person):
            try:
                record = canonical_record(self._fields(row), country=home.country.code)
            except BadInput:
                continue
            self._record_ids += 1
            found.append(
                RecordRead(self._record_ids, 1, member.person, "crm", record.fields, (), False, record.time("last_seen"))
            )
        if found:
            newest = max(found, key=lambda one: one.last_seen or TODAY)
            found.remove(newest)
            seen = TODAY - timedelta(days=1 + self._rng.expovariate(math.sqrt(pace) / habits.seen_days))
            stated = newest.last_seen
            found.append(_replaced(newest, last_seen=max(seen, stated) if stated else seen))
        return _Known(member, tuple(found), pace, tuple(at for at in past if draw() < habits.remembered))

    @staticmethod
    def _fields(row: Sequence[str]) -> dict[str, Any]:
        fields: dict[str, Any] = {"record_id": row[0]}
        phones = []
        for name, value in zip(COLUMNS, row, strict=True):
            field = FIELD_OF.get(name)
            if field == "phone" and value:
                phones.append(value)
            elif field is not None and value:
                fields[field] = value
        if phones:
            fields["phone"] = phones
        return fields

    def _poisson(self, mean: float) -> int:
        limit, product, count = math.exp(-mean), self._rng.random(), 0
        while product > limit:
            product *= self._rng.random()
            count += 1
        return count

    def rings(self, count: int) -> Iterator[Ring]:
        """`count` calls from numbers that are on file."""
        made = 0
        while made < count:
            ring = self._ring()
            if ring is not None:
                made += 1
                yield ring

    def _ring(self) -> Ring | None:
        rng, habits = self._rng, self._habits
        at = TODAY + timedelta(seconds=rng.random() * 14 * DAY_S)
        home, people = self.homes[int(rng.random() * len(self.homes))]
        told = {one.person.person: self._happened(one, at) for one in people}
        keen = [one.pace * (1.0 + sum(self._drive(touch, at) for touch in told[one.person.person])) for one in people]
        if rng.random() * 40.0 > sum(keen):
            return self._stranger(home, people, told, at)
        caller = rng.choices(people, keen)[0]
        number = self._number(home, people, caller)
        if self._changed_hands(number, at):
            return None  # the number is no longer theirs: they call from another one, which is on no file
        if rng.random() < habits.looked_first:
            before = habits.looked_minutes * 60.0 * math.exp(rng.gauss(0.0, 1.1))
            told[caller.person.person].append(self._touch("Page Viewed", "web", caller, at - timedelta(seconds=before)))
        if rng.random() < habits.borrowed:
            return self._made(number, told, at, None)
        return self._made(number, told, at, caller)

    def _stranger(
        self, home: Household, people: Sequence[_Known], told: Mapping[int, list[TouchRead]], at: datetime
    ) -> Ring | None:
        """The next holder of a number that one of them had, where it changed hands and they call."""
        rng = self._rng
        one = people[int(rng.random() * len(people))]
        if rng.random() * 40.0 > self._habits.strangers_call or not self._changed_hands(one.person.mobile, at):
            return None
        return self._made(one.person.mobile, told, at, None)

    def _changed_hands(self, number: str, at: datetime) -> bool:
        """Whether a mobile number has another holder since anybody on file was last seen with it: always the same answer."""
        seen = [record.last_seen for record in self._by_number.get(number, ()) if record.last_seen]
        if not seen:
            return False
        years = (at - max(seen)).total_seconds() / DAY_S / 365.0
        chance = random.Random(number).random()  # noqa: S311
        return chance < 1.0 - math.exp(-self._habits.changes_hands_a_year * max(0.0, years))

    def _number(self, home: Household, people: Sequence[_Known], caller: _Known) -> str:
        share = self._rng.random()
        if home.landline and share < self._habits.landline:
            return home.landline
        if share < self._habits.landline + self._habits.own_mobile or len(people) == 1:
            return caller.person.mobile
        others = [one for one in people if one is not caller]
        return others[int(self._rng.random() * len(others))].person.mobile

    def _happened(self, one: _Known, at: datetime) -> list[TouchRead]:
        found = []
        for name, happening in HAPPENINGS.items():
            for _ in range(self._poisson(happening.a_year * 45.0 / 365.0)):
                when = at - timedelta(days=self._rng.random() * 45.0)
                found.append(self._touch(name, happening.channel, one, when))
        for _ in range(self._poisson(self._habits.visits_a_year * math.sqrt(one.pace) * 45.0 / 365.0)):
            found.append(self._touch("Page Viewed", "web", one, at - timedelta(days=self._rng.random() * 45.0)))
        found += [self._touch("Call Ended", "voice", one, when) for when in one.past]
        return found

    def _touch(self, name: str, channel: str, one: _Known, when: datetime) -> TouchRead:
        issue = classify(name, {})
        record = one.records[0].record_id if one.records else 0
        return TouchRead(
            int(self._rng.random() * 2**50), record, one.person.person, channel, name, when, {},
            issue.kind if issue else None, issue.ref if issue else None, issue.effect if issue else 0,
        )  # fmt: skip

    @staticmethod
    def _drive(touch: TouchRead, at: datetime) -> float:
        happening = HAPPENINGS.get(touch.name)
        if happening is None:
            return 0.0
        return happening.calls * math.exp(-(at - touch.occurred_at).total_seconds() / DAY_S / happening.fades_days)

    def _made(self, number: str, told: Mapping[int, list[TouchRead]], at: datetime, caller: _Known | None) -> Ring | None:
        """The call as identity sees it; None where the number is on no file."""
        identifier = Identifier("phone", number)
        holders = {record.person_id for record in self._by_number.get(number, ())}
        if not holders:
            return None
        read = [
            _replaced(record, matched=(identifier,)) if number in record.fields.get("phone", ()) else record
            for person in sorted(holders)
            for record in self._known[person].records
        ]
        touches: list[TouchRead] = []
        for person in sorted(holders):
            own = told[person] if person in told else self._happened(self._known[person], at)
            newest = sorted(own, key=lambda touch: touch.occurred_at, reverse=True)
            kept = newest[:_TOUCHES] + [touch for touch in newest[_TOUCHES:] if touch.issue_effect]
            touches += kept
        fan = FanOut(identifier, sum(1 for one in read if one.matched), len(holders))
        if fan.records > 100:
            return None
        truth: int | str = "new"
        if caller is not None and caller.person.person in holders:
            truth = caller.person.person
        elif caller is not None and any(one // 8 == caller.person.person // 8 for one in holders):
            truth = "another"
        evidence = Evidence((identifier,), {}, caller_number="shown")
        return Ring(evidence, Read(records=tuple(read), touches=tuple(touches), fan_out=(fan,)), at, truth)


def _replaced(record: RecordRead, **changes: Any) -> RecordRead:
    return msgspec.structs.replace(record, **changes)
