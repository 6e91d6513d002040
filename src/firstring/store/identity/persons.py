"""Persons whole: all their records as they are or as they were at a moment, and the golden record out of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from firstring import limits
from firstring.contact import RecordRead
from firstring.errors import BadInput
from firstring.identity.canonical.dates import timestamp
from firstring.identity.golden.record import Golden, golden
from firstring.identity.golden.rules import Rules
from firstring.identity.persons.blocking import identifier_keys
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql
from firstring.store.ring import chosen_fields
from firstring.store.seal import TenantKeys

RECORDS_MAX: Final = 1_000
"""Records of one person that are read; the most recently seen are."""
SHARED_KEYS_MAX: Final = 64
"""Identifiers of one person by which others of the household are looked for."""
CHANGES_SHOWN: Final = 50
TIME_CHARS: Final = 40


class Change(msgspec.Struct, frozen=True):
    """A merge or a split: `other_id` was merged into, or split off from, `person_id`."""

    kind: str
    person_id: int
    other_id: int
    cause: str
    changed_at: datetime


class Sharing(msgspec.Struct, frozen=True):
    """Another person, and the kinds of identifiers that both carry."""

    person_id: int
    shared: tuple[str, ...]


class Person(msgspec.Struct, frozen=True):
    """A person with everything that is known of them, opened.

    asked: the id that was asked for; person_id: who that is, at `at` or now. records_cut: there are more records than were
    read. gone: records that were there at `at` and have been deleted since, of which nothing else is kept.
    """

    asked: int
    person_id: int
    records: tuple[RecordRead, ...]
    enrichments: tuple[RecordRead, ...]
    records_cut: bool = False
    gone: tuple[int, ...] = ()
    at: datetime | None = None

    def golden(self, now: datetime, rules: Rules) -> Golden:
        """The golden record; of a past person as of then."""
        return golden([*self.records, *self.enrichments], now=self.at or now, rules=rules)


def moment(text: str) -> datetime:
    """A past moment as people write it: RFC 3339, or a date (its midnight, UTC). Raises BadInput time_invalid."""
    is_time = len(text) <= TIME_CHARS and isinstance(timestamp(text.strip()), str)
    if not is_time:
        raise BadInput(
            "time_invalid", "That is no time.", where={"field": "at"}, hint="Write 2026-03-01T12:00:00Z, or a date."
        )
    found = datetime.fromisoformat(text.strip().replace(" UTC", "Z").replace(" +", "+"))  # with its fraction of a second
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


async def person(database: Database, tenant: Tenant, person_id: int) -> Person:
    """A person as it is now; of one that was merged, the living one. Raises BadInput unknown_person (404)."""
    async with database.transaction(tenant.tenant_id) as connection:
        living = await connection.fetchval(sql("persons", "living"), tenant.tenant_id, person_id)
        found = await people(connection, tenant, [living]) if living is not None else {}
    if living not in found:
        raise unknown(person_id)
    return msgspec.structs.replace(found[living], asked=person_id)


def unknown(person_id: int) -> BadInput:
    return BadInput("unknown_person", "There is no such person.", where={"person": person_id}, http_status=404)


async def people(connection: Connection, tenant: Tenant, person_ids: Sequence[int]) -> dict[int, Person]:
    """Living persons by id; those without a record are left out."""
    rows = await connection.fetch(sql("persons", "members"), tenant.tenant_id, list(person_ids), RECORDS_MAX + 1)
    more = await _enrichments(connection, tenant, sql("persons", "enrichments"), rows)
    by_person: dict[int, list[Any]] = {}
    for row in rows:
        by_person.setdefault(row["person_id"], []).append(row)
    return {
        person_id: Person(
            person_id,
            person_id,
            tuple(_record(tenant.keys, row) for row in of_person[:RECORDS_MAX]),
            tuple(one for row in of_person[:RECORDS_MAX] for one in more.get(row["record_id"], ())),
            len(of_person) > RECORDS_MAX,
        )
        for person_id, of_person in by_person.items()
    }


async def person_at(database: Database, tenant: Tenant, person_id: int, at: datetime) -> Person:
    """A person as it was at a moment, by the id it has now or had then.

    What a provider appended counts from the day it last changed. Raises BadInput unknown_person (404) for a person that
    never was, person_not_yet (404) for one that was not there yet.
    """
    async with database.transaction(tenant.tenant_id) as connection:
        if await connection.fetchval(sql("persons", "living"), tenant.tenant_id, person_id) is None:
            raise unknown(person_id)
        then = await connection.fetchval(sql("persons", "person_at"), tenant.tenant_id, person_id, at)
        if then is None:
            raise BadInput(
                "person_not_yet",
                "There was no such person yet.",
                where={"person": person_id, "at": at.isoformat()},
                http_status=404,
            )
        rows = await connection.fetch(sql("persons", "members_at"), tenant.tenant_id, then, at, RECORDS_MAX + 1)
        more = await _enrichments(connection, tenant, sql("persons", "enrichments_at"), rows, at)
    kept = rows[:RECORDS_MAX]
    return Person(
        person_id,
        then,
        tuple(_record(tenant.keys, row) for row in kept if row["sealed"] is not None),
        tuple(one for row in kept for one in more.get(row["record_id"], ())),
        len(rows) > RECORDS_MAX,
        tuple(sorted(row["record_id"] for row in kept if row["sealed"] is None)),
        at,
    )


async def _enrichments(
    connection: Connection, tenant: Tenant, statement: str, rows: Iterable[Any], *more: Any
) -> dict[int, list[RecordRead]]:
    """What providers appended, by record."""
    person_of = {row["record_id"]: row["person_id"] for row in rows}
    found: dict[int, list[RecordRead]] = {}
    for row in await connection.fetch(statement, tenant.tenant_id, list(person_of), *more):
        record_id = row["record_id"]
        found.setdefault(record_id, []).append(
            RecordRead(
                record_id=record_id,
                version=0,
                person_id=person_of[record_id],
                source=row["source"],
                fields=tenant.keys.open(row["wrapped_key"], row["sealed"]) or {},
                last_seen=row["last_seen"],
                enriched=True,
            )
        )
    return found


def _record(keys: TenantKeys, row: Any) -> RecordRead:
    fields = keys.open(row["wrapped_key"], row["sealed"]) or {}
    return RecordRead(
        record_id=row["record_id"],
        version=row["version"],
        person_id=row["person_id"],
        source=row["source"],
        fields=fields,
        last_seen=row["last_seen"],
        verified_at=row["verified_at"],
        chosen=chosen_fields(keys, fields, row["chosen"]),
    )


async def changes(database: Database, tenant: Tenant, person_id: int) -> list[Change]:
    """Merges and splits that a person was part of, the newest first; at most CHANGES_SHOWN."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("persons", "changes"), tenant.tenant_id, person_id, CHANGES_SHOWN)
    return [Change(**dict(row)) for row in rows]


async def household(database: Database, tenant: Tenant, known: Person) -> list[Sharing]:
    """Other persons who carry an identifier of this one; hot identifiers say nothing."""
    async with database.transaction(tenant.tenant_id) as connection:
        return await household_in(connection, tenant, known)


async def household_in(connection: Connection, tenant: Tenant, known: Person) -> list[Sharing]:
    """As `household`, within a transaction."""
    kinds: dict[bytes, str] = {}
    for record in known.records:
        for identifier in identifier_keys(record.fields):
            kinds.setdefault(tenant.keys.blind(identifier.kind, identifier.value), identifier.kind)
    if not kinds:
        return []
    keys = list(kinds)[:SHARED_KEYS_MAX]
    rows = await connection.fetch(sql("persons", "sharing"), tenant.tenant_id, keys, known.person_id, limits.HOT_KEY_RECORDS)
    shared: dict[int, set[str]] = {}
    for row in rows:
        shared.setdefault(row["person_id"], set()).add(kinds[row["key"]])
    return [Sharing(person_id, tuple(sorted(kinds))) for person_id, kinds in sorted(shared.items())]
