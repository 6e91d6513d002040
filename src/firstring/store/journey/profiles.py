"""Profiles and timelines of persons, out of the store: everything of one person across channels, now or as of a past moment.

A timeline or profile is of a person; its events belong to records, so that it is right after every merge, split and undo.
As of a past moment it shows what had happened by then, as it is known today, to the records that were the person's then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from firstring import limits
from firstring.contact import OpenIssue, TouchRead
from firstring.errors import BadInput
from firstring.identity.golden.record import Golden
from firstring.identity.golden.rules import Rules
from firstring.identity.persons.blocking import identifier_keys
from firstring.journey.consents import SIGNAL, Consents, consents_of
from firstring.journey.experience import Part, experience
from firstring.journey.issues import open_issues
from firstring.journey.summary import summary
from firstring.journey.traits import Traits, traits_of
from firstring.nextbest.agreed import stated_in
from firstring.nextbest.hours import is_zone, zone_of
from firstring.nextbest.reach import zones_of
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.persons import (
    RECORDS_MAX,
    SHARED_KEYS_MAX,
    Person,
    Sharing,
    household_in,
    person_at,
    unknown,
)
from firstring.store.journey.planned import SIGNAL_FACET, STANDINGS
from firstring.store.queries import sql
from firstring.store.ring import record_read

PAGE_MAX: Final = 200
"""Events on one page of a timeline."""
COUNTED: Final = 1_000
"""Newest events of a person that are counted, unopened."""
FIRED_SHOWN: Final = 20
PARTS_SHOWN: Final = 20
_LAST_ID: Final = 2**63 - 1
_END: Final = datetime(9999, 1, 1, tzinfo=UTC)


class Happened(msgspec.Struct, frozen=True):
    """A touch in a timeline. standing: claimed (anybody may have sent it), reported or signed. stitched: it came in with an
    anonymous visitor, and is counted here."""

    event_id: int
    record_id: int
    source: str
    channel: str
    name: str
    at: datetime
    summary: str
    standing: str
    stitched: bool = False
    issue_kind: str | None = None
    issue_effect: int = 0


class Timeline(msgspec.Struct, frozen=True):
    """A page of a timeline, newest first. asked: the id that was asked for; person_id: who that is. before: what to ask with
    for the next page; None on the last one."""

    asked: int
    person_id: int
    happened: tuple[Happened, ...]
    before: str | None = None


class Fired(msgspec.Struct, frozen=True):
    """A pattern that came true."""

    pattern: str
    valence: str
    at: datetime
    begun_at: datetime


class Doubt(msgspec.Struct, frozen=True):
    """Something that speaks of another person, and joined nobody. kind: phone or email; verified_at: when that was last
    verified to be the other person's."""

    code: str
    kind: str
    person_id: int
    at: datetime
    verified_at: datetime | None
    text: str


class Scored(msgspec.Struct, frozen=True):
    """The experience score, 0-100, and the heaviest of what it is made of. more: parts that are not listed."""

    score: float
    parts: tuple[Part, ...]
    more: int = 0


class Counts(msgspec.Struct, frozen=True):
    """Events by channel, those that are no claims; claims. more: there are more events than were counted."""

    by_channel: dict[str, int]
    claimed: int = 0
    more: bool = False


class Profile(msgspec.Struct, frozen=True):
    """asked: the id that was asked for; person_id: who that is, at `at`. attributes: the golden record. household: persons
    with whom an identifier is shared. zone: the person's time zone where it is known."""

    asked: int
    person_id: int
    at: datetime
    attributes: Golden
    traits: Traits
    counts: Counts
    issues: tuple[OpenIssue, ...]
    consents: Consents
    experience: Scored | None
    patterns: tuple[Fired, ...]
    household: tuple[Sharing, ...]
    doubts: tuple[Doubt, ...]
    records: int
    records_cut: bool = False
    zone: str | None = None


async def read_profile(
    database: Database, tenant: Tenant, person_id: int, *, now: datetime, rules: Rules, at: datetime | None = None
) -> Profile:
    """The profile of a person, or of whom it was merged into. Raises BadInput unknown_person (404), and person_not_yet (404)
    for one that was not there at `at`."""
    if at is None:
        row = await database.call("profile_read", *_arguments(tenant, person_id, now))
        return _profile(tenant, _read(tenant, person_id, row), now, rules)
    known = await person_at(database, tenant, person_id, at)
    async with database.transaction(tenant.tenant_id) as connection:
        return _profile(tenant, await _read_at(connection, tenant, known, at), at, rules)


async def profile_in(connection: Connection, tenant: Tenant, person_id: int, *, now: datetime, rules: Rules) -> Profile:
    """As read_profile, as of now, within a transaction."""
    row = await connection.fetchrow(sql("profiles", "profile_read"), *_arguments(tenant, person_id, now))
    return _profile(tenant, _read(tenant, person_id, row), now, rules)


class _Read(NamedTuple):
    """What a profile is made of. counted and first: (event id, channel, time, standing), unopened."""

    known: Person
    counted: Sequence[tuple[int, str, datetime, int]]
    first: Sequence[tuple[int, str, datetime, int]]
    opened: Sequence[Any]
    fired: Sequence[Any]
    household: Sequence[Sharing]
    doubts: Sequence[Any]


def _arguments(tenant: Tenant, person_id: int, now: datetime) -> tuple[Any, ...]:
    until = now + timedelta(seconds=limits.EVENT_AHEAD_S)
    bounds = (
        RECORDS_MAX,
        COUNTED,
        limits.PROFILE_EVENTS,
        limits.PROFILE_FACETS,
        limits.ISSUE_EVENTS_PER_PERSON + 1,
        limits.HOT_KEY_RECORDS,
    )
    return (tenant.tenant_id, person_id, until, *bounds, SHARED_KEYS_MAX, FIRED_SHOWN)


def _read(tenant: Tenant, asked: int, row: Any) -> _Read:
    """What `profile_read` answered. Raises BadInput unknown_person (404)."""
    if row is None or row["records"] is None:
        raise unknown(asked)
    read = [record_read(tenant.keys, one, {}) for one in row["records"]]
    own = [one for one in read if not one.enriched]
    known = Person(
        asked, row["person_id"], tuple(own[:RECORDS_MAX]), tuple(one for one in read if one.enriched), len(own) > RECORDS_MAX
    )
    first = [(row["first_event"], "backend", row["first_at"], 1)] if row["first_event"] is not None else []
    return _Read(
        known,
        _rows(row, "events", "channels", "moments", "standings"),
        first,
        row["opened"] or (),
        _rows(row, "patterns", "valences", "fired_at", "begun_at"),
        _sharing(tenant, known, _rows(row, "sharing_keys", "sharing_persons")),
        _rows(row, "typed_kinds", "typed_at", "typed_persons", "typed_verified"),
    )


def _rows(row: Any, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(row[name] or () for name in names), strict=True))


def _sharing(tenant: Tenant, known: Person, rows: Sequence[tuple[Any, ...]]) -> list[Sharing]:
    """Whom an identifier is shared with, and of which kinds. Keys that are no identifiers are left out."""
    if not rows:
        return []
    found = (one for record in known.records for one in identifier_keys(record.fields))
    kind_of = {tenant.keys.blind(one.kind, one.value): one.kind for one in found}
    shared: dict[int, set[str]] = {}
    for key, person_id in rows:
        if key in kind_of:
            shared.setdefault(person_id, set()).add(kind_of[key])
    return [Sharing(person_id, tuple(sorted(kinds))) for person_id, kinds in sorted(shared.items())]


async def _read_at(connection: Connection, tenant: Tenant, known: Person, at: datetime) -> _Read:
    """The same as of a past moment; the household is as of now."""
    of, records = tenant.tenant_id, [record.record_id for record in known.records]
    counted = await connection.fetch(sql("profiles", "moments"), of, records, at, COUNTED + 1)
    first = await connection.fetch(sql("profiles", "first_known"), of, records, at, COUNTED)
    bounds = (limits.PROFILE_EVENTS, limits.PROFILE_FACETS, limits.ISSUE_EVENTS_PER_PERSON + 1)
    opened = await connection.fetch(sql("profiles", "opened"), of, records, at, *bounds)
    fired = await connection.fetch(sql("profiles", "fired"), of, known.person_id, at, FIRED_SHOWN)
    household = await household_in(connection, tenant, known)
    return _Read(known, [_moment(row) for row in counted], [_moment(row) for row in first], opened, fired, household, ())


def _moment(row: Any) -> tuple[int, str, datetime, int]:
    return row["event_id"], row["channel"], row["occurred_at"], row["standing"]


def _profile(tenant: Tenant, read: _Read, now: datetime, rules: Rules) -> Profile:
    known = read.known
    made = known.golden(now, rules)
    touches, zone, signals = opened_touches(tenant, known.person_id, read.opened)
    zone = zone or _zone(made.profile())
    unopened = [_unopened(known.person_id, one) for one in (*read.first, *read.counted[:COUNTED])]
    by_id = {touch.event_id: touch for touch in (*unopened, *touches)}
    return Profile(
        asked=known.asked,
        person_id=known.person_id,
        at=now,
        attributes=made,
        traits=traits_of(by_id.values(), now, zone=None if zone is None else zone_of(zone)),
        counts=_counts(read.counted),
        issues=open_issues(touches),
        consents=consents_of([*touches, *signals], stated_in(known.records)),
        experience=_scored(touches, now),
        patterns=tuple(Fired(*row) for row in read.fired),
        household=tuple(read.household),
        doubts=tuple(_doubt(*row) for row in read.doubts),
        records=len(known.records),
        records_cut=known.records_cut,
        zone=zone,
    )


def opened_touches(
    tenant: Tenant, person_id: int, rows: Iterable[Any]
) -> tuple[list[TouchRead], str | None, list[TouchRead]]:
    """(touches, the time zone that the newest of them states, privacy signals of browsers as touches)."""
    touches: list[TouchRead] = []
    signals: list[TouchRead] = []
    zones: list[tuple[datetime, str]] = []
    for row in rows:
        payload = tenant.keys.open(row["wrapped_key"], row["sealed"])
        if payload is None:
            continue
        touch = TouchRead(
            event_id=row["event_id"],
            record_id=row["record_id"],
            person_id=person_id,
            channel=row["channel"],
            name=payload["name"],
            occurred_at=row["occurred_at"],
            properties=payload.get("properties") or {},
            issue_kind=row["issue_kind"],
            issue_ref=payload.get("issue_ref"),
            issue_effect=row["issue_effect"],
            claimed=row["standing"] == 0,
        )
        context = payload.get("context") or {}
        if row["facet"] == SIGNAL_FACET:
            signals.append(msgspec.structs.replace(touch, name=SIGNAL))
        if not touch.claimed and is_zone(context.get("timezone")):
            zones.append((touch.occurred_at, context["timezone"]))
        touches.append(touch)
    return touches, max(zones)[1] if zones else None, signals


def _unopened(person_id: int, moment: tuple[int, str, datetime, int]) -> TouchRead:
    event_id, channel, at, standing = moment
    return TouchRead(event_id, 0, person_id, channel, "", at, claimed=standing == 0)


def _zone(profile: Mapping[str, Any]) -> str | None:
    """The zone of the profile, where there is only one that comes into question."""
    zones = zones_of(profile)
    return zones[0] if len(zones) == 1 else None


def _counts(moments: Sequence[tuple[int, str, datetime, int]]) -> Counts:
    known = Counter(channel for _, channel, _, standing in moments[:COUNTED] if standing)
    return Counts(dict(sorted(known.items())), min(len(moments), COUNTED) - known.total(), len(moments) > COUNTED)


def _scored(touches: Sequence[TouchRead], now: datetime) -> Scored | None:
    if not touches:
        return None
    told = experience(touches, now)
    return Scored(round(told.score, 1), told.parts[:PARTS_SHOWN], max(0, len(told.parts) - PARTS_SHOWN))


def _doubt(kind: str, at: datetime, person_id: int, verified_at: datetime | None) -> Doubt:
    word = "a phone number" if kind == "phone" else "an e-mail address"
    verified = "" if verified_at is None else f", verified on {verified_at:%Y-%m-%d}"
    text = f"A visitor who is counted here typed {word} of person {person_id}{verified}. It joined nobody."
    return Doubt("typed_of_another", kind, person_id, at, verified_at, text)


# --- timelines ---------------------------------------------------------------------------------------------------


async def read_timeline(
    database: Database,
    tenant: Tenant,
    person_id: int,
    *,
    at: datetime | None = None,
    before: str | None = None,
    limit: int = 50,
    channel: str | None = None,
) -> Timeline:
    """A page of what somebody has been through, newest first; of whom it was merged into, where it was.

    before: `Timeline.before` of the page before. limit: at most PAGE_MAX. channel: of this one only. Raises BadInput
    unknown_person (404), person_not_yet (404), cursor_invalid.
    """
    assert 0 < limit <= PAGE_MAX, "pages are bounded"
    when, last = _place(before) if before is not None else (_END if at is None else at, _LAST_ID)
    if at is not None:
        when, last = min((when, last), (at, _LAST_ID))
    if at is None:
        bounds = (limit + 1, RECORDS_MAX)
        row = await database.call("timeline_read", tenant.tenant_id, person_id, when, last, channel, *bounds)
        if row is None or not row["known"]:
            raise unknown(person_id)
        living, rows = row["person_id"], row["page"] or ()
    else:
        past = await person_at(database, tenant, person_id, at)
        records = [record.record_id for record in past.records]
        async with database.transaction(tenant.tenant_id) as connection:
            arguments = (records, when, last, channel, limit + 1)
            rows = await connection.fetch(sql("profiles", "timeline"), tenant.tenant_id, *arguments)
        living = past.person_id
    happened = tuple(_happened(tenant, row) for row in rows[:limit])
    more = _cursor(happened[-1]) if len(rows) > limit else None
    return Timeline(person_id, living, happened, more)


def _happened(tenant: Tenant, row: Any) -> Happened:
    payload = tenant.keys.open(row["wrapped_key"], row["sealed"]) or {"name": "Erased"}
    return Happened(
        event_id=row["event_id"],
        record_id=row["record_id"],
        source=row["source"],
        channel=row["channel"],
        name=payload["name"],
        at=row["occurred_at"],
        summary=summary(payload["name"], payload.get("properties") or {}),
        standing=STANDINGS[row["standing"]],
        stitched=row["stitched"],
        issue_kind=row["issue_kind"],
        issue_effect=row["issue_effect"],
    )


def _cursor(one: Happened) -> str:
    return f"{(one.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)}.{one.event_id}"


def _place(cursor: str) -> tuple[datetime, int]:
    us, _, event_id = cursor.partition(".")
    try:
        if len(cursor) <= 40 and int(event_id) > 0:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(us)), min(int(event_id), _LAST_ID)
    except (ValueError, OverflowError):
        pass
    raise BadInput(
        "cursor_invalid",
        "That is no place in a timeline.",
        where={"field": "before"},
        hint="Give `before` of the page before.",
    )
