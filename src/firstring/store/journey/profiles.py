"""Profiles and timelines of persons, out of the store: everything of one person across channels, now or as of a past moment.

A timeline or profile is of a person; its events belong to records, so that it is right after every merge, split and undo.
As of a past moment it shows what had happened by then, as it is known today, to the records that were the person's then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from firstring import limits
from firstring.contact import OpenIssue, TouchRead
from firstring.errors import BadInput
from firstring.identity.golden.record import Golden
from firstring.identity.golden.rules import Rules
from firstring.journey.consents import SIGNAL, Consents, Stated, consents_of, is_stated
from firstring.journey.experience import Part, experience
from firstring.journey.issues import open_issues
from firstring.journey.summary import summary
from firstring.journey.traits import Traits, traits_of
from firstring.nextbest.hours import is_zone, zone_of
from firstring.nextbest.reach import zones_of
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.persons import Person, Sharing, household_in, people, person_at, unknown
from firstring.store.journey.planned import SIGNAL_FACET, STANDINGS
from firstring.store.queries import sql

PAGE_MAX: Final = 200
"""Events on one page of a timeline."""
COUNTED: Final = 1_000
"""Newest events of a person that are counted, unopened."""
OPENED: Final = 60
"""Newest events of a person that are opened for a profile, beside orders, consents and issues."""
FACETS_READ: Final = 200
"""Orders and refunds, and words of consent, that are read of one person."""
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
        async with database.transaction(tenant.tenant_id) as connection:
            return await profile_in(connection, tenant, person_id, now=now, rules=rules)
    known = await person_at(database, tenant, person_id, at)
    async with database.transaction(tenant.tenant_id) as connection:
        return await _profile(connection, tenant, known, at, rules)


async def profile_in(connection: Connection, tenant: Tenant, person_id: int, *, now: datetime, rules: Rules) -> Profile:
    """As read_profile, as of now, within a transaction."""
    living = await connection.fetchval(sql("persons", "living"), tenant.tenant_id, person_id)
    found = await people(connection, tenant, [living]) if living is not None else {}
    if living not in found:
        raise unknown(person_id)
    return await _profile(connection, tenant, msgspec.structs.replace(found[living], asked=person_id), now, rules)


async def _profile(connection: Connection, tenant: Tenant, known: Person, now: datetime, rules: Rules) -> Profile:
    person_id, of = known.person_id, tenant.tenant_id
    records = [record.record_id for record in known.records]
    until = now if known.at is not None else now + timedelta(seconds=limits.EVENT_AHEAD_S)
    counted = await connection.fetch(sql("profiles", "moments"), of, records, until, COUNTED + 1)
    first = await connection.fetch(sql("profiles", "first_known"), of, records, until, COUNTED) if counted else []
    issues_most = limits.ISSUE_EVENTS_PER_PERSON + 1
    opened = []
    if counted:
        statement = sql("profiles", "opened")
        opened = await connection.fetch(statement, of, records, until, OPENED, FACETS_READ, issues_most)
    visitors = list({row["visitor"] for row in opened if row["visitor"] is not None})
    doubts = []
    if visitors and known.at is None:
        doubts = await connection.fetch(sql("profiles", "doubts"), of, visitors, person_id, limits.HOT_KEY_RECORDS)
    fired = await connection.fetch(sql("profiles", "fired"), of, person_id, until, FIRED_SHOWN)
    household = await household_in(connection, tenant, known)
    made = known.golden(now, rules)
    touches, zone, signals = _opened(tenant, person_id, opened)
    zone = zone or _zone(made.profile())
    unopened = [_unopened(person_id, row) for row in (*counted[:COUNTED], *first)]
    by_id = {touch.event_id: touch for touch in (*unopened, *touches)}
    return Profile(
        asked=known.asked,
        person_id=person_id,
        at=now,
        attributes=made,
        traits=traits_of(by_id.values(), now, zone=None if zone is None else zone_of(zone)),
        counts=_counts(counted),
        issues=open_issues(touches),
        consents=consents_of([*touches, *signals], _stated(known)),
        experience=_scored(touches, now),
        patterns=tuple(Fired(*row) for row in fired),
        household=tuple(household),
        doubts=tuple(_doubt(row) for row in doubts),
        records=len(records),
        records_cut=known.records_cut,
        zone=zone,
    )


def _opened(tenant: Tenant, person_id: int, rows: Iterable[Any]) -> tuple[list[TouchRead], str | None, list[TouchRead]]:
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


def _unopened(person_id: int, row: Any) -> TouchRead:
    return TouchRead(
        event_id=row["event_id"],
        record_id=row["record_id"],
        person_id=person_id,
        channel=row["channel"],
        name="",
        occurred_at=row["occurred_at"],
        claimed=row["standing"] == 0,
    )


def _zone(profile: Mapping[str, Any]) -> str | None:
    """The zone of the profile, where there is only one that comes into question."""
    zones = zones_of(profile)
    return zones[0] if len(zones) == 1 else None


def _counts(rows: Sequence[Any]) -> Counts:
    by_channel: dict[str, int] = {}
    claimed = 0
    for row in rows[:COUNTED]:
        if row["standing"] == 0:
            claimed += 1
        else:
            by_channel[row["channel"]] = by_channel.get(row["channel"], 0) + 1
    return Counts(dict(sorted(by_channel.items())), claimed, len(rows) > COUNTED)


def _stated(known: Person) -> list[Stated]:
    """What the person's records state of consent, each as of when the record was last seen."""
    found = []
    for record in (*known.records, *known.enrichments):
        at = record.last_seen or datetime(1970, 1, 1, tzinfo=UTC)
        found += [Stated(name, value, at, record.source) for name, value in record.fields.items() if is_stated(name)]
    return found


def _scored(touches: Sequence[TouchRead], now: datetime) -> Scored | None:
    if not touches:
        return None
    told = experience(touches, now)
    return Scored(round(told.score, 1), told.parts[:PARTS_SHOWN], max(0, len(told.parts) - PARTS_SHOWN))


def _doubt(row: Any) -> Doubt:
    word = "a phone number" if row["kind"] == "phone" else "an e-mail address"
    verified = "" if row["verified_at"] is None else f", verified on {row['verified_at']:%Y-%m-%d}"
    text = f"A visitor who is counted here typed {word} of person {row['person_id']}{verified}. It joined nobody."
    return Doubt("typed_of_another", row["kind"], row["person_id"], row["typed_at"], row["verified_at"], text)


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
    past = await person_at(database, tenant, person_id, at) if at is not None else None
    async with database.transaction(tenant.tenant_id) as connection:
        if past is not None:
            living, records = past.person_id, [record.record_id for record in past.records]
        else:
            living = await connection.fetchval(sql("persons", "living"), tenant.tenant_id, person_id)
            rows = await connection.fetch(sql("profiles", "records_of_person"), tenant.tenant_id, living, 1_000)
            records = [row["record_id"] for row in rows]
        if not records:
            raise unknown(person_id)
        arguments = (records, when, last, channel, limit + 1)
        rows = await connection.fetch(sql("profiles", "timeline"), tenant.tenant_id, *arguments)
        named = list({row["record_id"] for row in rows})
        sources = await connection.fetch(sql("profiles", "sources_of"), tenant.tenant_id, named)
    source_of = {row["record_id"]: row["name"] for row in sources}
    happened = tuple(_happened(tenant, row, source_of[row["record_id"]]) for row in rows[:limit])
    more = _cursor(happened[-1]) if len(rows) > limit else None
    return Timeline(person_id, living, happened, more)


def _happened(tenant: Tenant, row: Any, source: str) -> Happened:
    payload = tenant.keys.open(row["wrapped_key"], row["sealed"]) or {"name": "Erased"}
    return Happened(
        event_id=row["event_id"],
        record_id=row["record_id"],
        source=source,
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
