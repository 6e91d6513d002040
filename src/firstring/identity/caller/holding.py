"""Who has an identifier in hand now: its holders by when it was last theirs, how they used it, and what happened since.

An identifier points at its holders as a whole with the odds of its kind, and they share these: an identifier that many
carry points at each of them the less. A number that was given on, a SIM that changed, a landline after a move: the holder
of before keeps little of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from firstring.contact import Identifier, RecordRead
from firstring.identity.caller.claims import Place, claimed
from firstring.identity.caller.weights import Weights
from firstring.identity.canonical.contactpoints import Line, line_of
from firstring.identity.canonical.dates import instant

SECONDS_PER_DAY: Final = 86_400.0
RESTS_DAYS: Final = 45
"""How long a number rests at the least before somebody else gets it (FCC, 47 CFR 52.15: 45 days at the least)."""
LONG_AGO_DAYS: Final = 730
"""An identifier not seen for so long is said to be."""
NAMES: Final = {
    "phone": "telephone number", "email": "e-mail address", "account": "account", "national_id": "national id",
    "device": "device", "cookie": "browser", "social": "social handle", "given": "given name", "family": "family name",
    "middle": "middle name", "birth_date": "birth date", "place": "address",
}  # fmt: skip

Traits: TypeAlias = frozenset[tuple[str, str]]
"""(what, value): the family names and addresses of a person."""


class Held(NamedTuple):
    """What an identifier says for one person: odds (> 0) against somebody new, and why in words. relative: the odds of
    somebody of their home, of whom nothing is known but that they use it as much as who was in touch just now."""

    odds: float
    text: str
    relative: float


class Holding(NamedTuple):
    """An identifier's holders. unread: the odds of the people behind it who were not read, together. line: what sort
    of telephone it is, where that is known."""

    of: dict[int, Held]
    unread: float
    line: Line

    @property
    def total(self) -> float:
        """The odds that it is anybody behind the identifier, of those who are on file."""
        return math.fsum(held.odds for held in self.of.values()) + self.unread


class _Facts(NamedTuple):
    """theirs: whether it still is theirs, in (0, 1]; use: how much they use it (> 0); notes: in words."""

    theirs: float
    use: float
    notes: tuple[str, ...]


def holding(
    identifier: Identifier,
    holders: Mapping[int, Sequence[RecordRead]],
    people: int,
    homes: Mapping[int, Traits],
    weights: Weights,
    now: datetime,
) -> Holding:
    """The odds of each holder. holders: all records of each person who carries it; people: behind it in all (>= theirs);
    homes: their traits, needed where there are several.

    The order of holders and records does not matter.
    """
    line = _line(identifier, holders) if identifier.kind == "phone" else ""
    seen = {person: _last_seen(identifier, records) for person, records in holders.items()}
    stated_else = {person: _stated_else(identifier, records) for person, records in holders.items()}
    facts = {}
    for person, records in holders.items():
        home = [one for one in holders if one == person or not homes[person].isdisjoint(homes[one])]
        # A home shares one number: what is new of it for one of them is new for all.
        last = max((time for one in home if (time := seen[one]) is not None), default=None)
        given_on = len(home) < len(holders) and _given_on(identifier, home, holders, last)
        fact = _facts(identifier, records, last, given_on, line, weights, now)
        if len(home) < len(holders):
            others = weights["stated_else"] ** min(stated_else[one] for one in home)
            fact = fact._replace(theirs=fact.theirs * others)
        facts[person] = fact
    active = {person: fact.theirs * fact.use for person, fact in facts.items()}
    known = math.fsum(active.values())
    unread = known / len(active) * (people - len(active))
    # What many carry says less about all of them together too, by as much as a model knows.
    common = min(1.0, people * math.exp(weights.commonness(identifier.kind, identifier.value)))
    odds = math.expm1(weights[identifier.kind]) * common * max(fact.theirs for fact in facts.values())
    each = odds / (known + unread)
    return Holding(
        {
            person: Held(each * active[person], _text(identifier, people, fact.notes), each * fact.theirs)
            for person, fact in facts.items()
        },
        each * unread,
        line,
    )


def _facts(
    identifier: Identifier,
    records: Sequence[RecordRead],
    seen: datetime | None,
    given_on: bool,
    line: Line,
    weights: Weights,
    now: datetime,
) -> _Facts:
    notes: list[str] = []
    held = [record for record in records if identifier in record.matched]
    days = None if seen is None else _days(seen, now)
    if days is None:
        theirs = weights["age_unknown"]
    else:
        theirs = max(weights["age_floor"], math.pow(0.5, days / weights[f"{identifier.kind}_half_life"]))
        if days > LONG_AGO_DAYS:
            notes.append(f"not seen for {days / 365.25:.0f} years")
    if given_on:
        theirs *= weights["given_on"]
        notes.append("since then somebody else has shown up with it")
    if identifier.kind == "phone":
        if seen is not None and any(_at(record, "sim_changed_at", now) > seen for record in held):
            theirs *= weights["sim_changed"]
            notes.append("its SIM card has changed since")
        if line == "landline" and _moved(records, held):
            theirs *= weights["moved"]
            notes.append("a landline, and they have moved")
    in_touch = max((time for record in records for time in _times(record)), default=None)
    floor = weights["recent_floor"]
    faded = weights["age_unknown"] if in_touch is None else math.pow(0.5, _days(in_touch, now) / weights["recent_half_life"])
    use = floor + (1.0 - floor) * faded
    if any(record.verified_at is not None for record in held):
        use *= weights["verified_use"]
        notes.append("verified")
    return _Facts(theirs, use, tuple(notes))


def _line(identifier: Identifier, holders: Mapping[int, Sequence[RecordRead]]) -> Line:
    """By what records state of their number; where none says, by its country's number plan."""
    held = (record for records in holders.values() for record in records if identifier in record.matched)
    stated = {record.fields["line_type"] for record in held if "line_type" in record.fields}
    if "landline" in stated:
        return "landline"
    return "mobile" if "mobile" in stated else line_of(identifier.value)


def _times(record: RecordRead) -> list[datetime]:
    return [time for time in (record.last_seen, record.verified_at) if time is not None]


def _stated_else(identifier: Identifier, records: Sequence[RecordRead]) -> float:
    """Of the records that state a number (or whatever it is), the share that state others and not this one."""
    held = sum(1 for record in records if identifier in record.matched)
    others = sum(1 for record in records if identifier not in record.matched and record.fields.get(identifier.kind))
    return others / (held + others)


def _last_seen(identifier: Identifier, records: Sequence[RecordRead]) -> datetime | None:
    """When the identifier was last seen with the person, or found to be theirs."""
    held = [record for record in records if identifier in record.matched]
    return max((time for record in held for time in _times(record)), default=None)


def _given_on(
    identifier: Identifier, home: Sequence[int], holders: Mapping[int, Sequence[RecordRead]], seen: datetime | None
) -> bool:
    """Whether somebody of another home first showed up with it long enough after it was last seen with this one."""
    if seen is None:
        return False
    rested = seen + timedelta(days=RESTS_DAYS)
    for other, records in holders.items():
        if other not in home:
            first = [time for record in records if identifier in record.matched for time in _first_seen(record)]
            if first and min(first) > rested:
                return True
    return False


def _first_seen(record: RecordRead) -> list[datetime]:
    stated = record.fields.get("first_seen")
    if isinstance(stated, str):
        return [instant(stated)]
    return _times(record)


def _at(record: RecordRead, field: str, never: datetime) -> datetime:
    """A time that a record states; the earliest there is where it states none, or one that is still to come."""
    stated = record.fields.get(field)
    time = instant(stated) if isinstance(stated, str) else None
    return time if time is not None and time <= never else datetime.min.replace(tzinfo=never.tzinfo)


def _moved(records: Sequence[RecordRead], held: Sequence[RecordRead]) -> bool:
    """Whether a newer record than those with the number states another home."""
    there = {home(record.fields) for record in held} - {""}
    known = [record.last_seen for record in held if record.last_seen is not None and home(record.fields)]
    if not there or not known:
        return False
    since = max(known)
    later = (one for one in records if one.last_seen is not None and one.last_seen > since)
    return any(place and place not in there for place in (home(record.fields) for record in later))


def traits(records: Sequence[RecordRead]) -> Traits:
    """What people of one home share: a family name, an address, among holders of one number the postcode."""
    found = set()
    for record in records:
        stated = claimed(record.fields)
        if stated.name.family:
            found.add(("family", stated.name.family))
        if stated.place.postcode:
            found.add(("postcode", stated.place.postcode))
        if place := _home(record.fields, stated.place):
            found.add(("home", place))
    return frozenset(found)


def home(fields: Mapping[str, Any]) -> str:
    """An address that two people of one home share: street and number, or the whole address, with its place."""
    return _home(fields, claimed(fields).place)


def _home(fields: Mapping[str, Any], place: Place) -> str:
    where = place.postcode or place.city
    numbered = fields.get("address") or fields.get("house_number")
    return f"{place.address} {where}" if place.address and where and numbered else ""


def _days(time: datetime, now: datetime) -> float:
    # A time in the future (a clock that jumped) counts as now.
    return max(0.0, (now - time).total_seconds() / SECONDS_PER_DAY)


def _text(identifier: Identifier, people: int, notes: Sequence[str]) -> str:
    name = NAMES.get(identifier.kind, identifier.kind)
    text = f"the {name} is theirs alone" if people == 1 else f"the {name} is theirs and {people - 1} other's"
    return "; ".join((text, *notes))
