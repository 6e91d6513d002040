"""Values that contradict each other: queued for a steward, whose choice is kept with the record that holds the value.

The queue holds no value: who lists it opens the records. So a deleted record leaves nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from firstring.errors import BadInput
from firstring.identity.golden.record import Golden, GoldenField, GoldenValue
from firstring.identity.golden.rules import Rules
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.persons import Person, people
from firstring.store.queries import sql
from firstring.store.ring import choice


class Conflict(msgspec.Struct, frozen=True):
    """Two or more values of one field of a person, the one that wins for now first."""

    conflict_id: int
    person_id: int
    field: str
    found_at: datetime
    values: tuple[GoldenValue, ...]


class Open(msgspec.Struct, frozen=True):
    """An open conflict of a person that is at hand."""

    conflict_id: int
    field: str
    found_at: datetime


class Choice(msgspec.Struct, frozen=True):
    """A steward's choice about a field of a record: who made it, when and why; revoked by a later one."""

    decision_id: int
    field: str
    record_id: int
    made_by: str
    reason: str
    made_at: datetime
    revoked_by: str | None = None
    revoked_at: datetime | None = None


class Decided(msgspec.Struct, frozen=True):
    """A steward's choice: it stands with one record of a source, through merges and splits."""

    decision_id: int
    person_id: int
    field: str
    source: str
    record_id: int


async def note(
    connection: Connection, tenant: Tenant, goldens: Mapping[int, Golden], looked_at: Sequence[int], now: datetime
) -> tuple[int, int]:
    """Queues the conflicts of these golden records, and closes those that are no more; (found, closed).

    looked_at: every person that was looked at; one without a golden record is gone.
    """
    pairs = [(person_id, field) for person_id, made in sorted(goldens.items()) for field in made.conflicts]
    persons = [person_id for person_id, _ in pairs]
    fields = [field for _, field in pairs]
    closed = await connection.fetch(
        sql("persons", "close_conflicts"), tenant.tenant_id, list(looked_at), persons, fields, now
    )
    if not pairs:
        return 0, len(closed)
    found = await connection.fetch(sql("persons", "add_conflicts"), tenant.tenant_id, persons, fields, now)
    return len(found), len(closed)


async def open_conflicts(
    database: Database, tenant: Tenant, rules: Rules, now: datetime, *, after: int = 0, at_most: int = 50
) -> list[Conflict]:
    """The queue, the oldest first, from the conflict after `after` on. Those that are no conflict any more are left out."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("persons", "open_conflicts"), tenant.tenant_id, after, at_most)
        persons = await people(connection, tenant, sorted({row["person_id"] for row in rows}))
    found = []
    for row in rows:
        of = persons.get(row["person_id"])
        field = None if of is None else _in_conflict(of, row["field"], rules, now)
        if field is not None:
            found.append(Conflict(row["conflict_id"], row["person_id"], row["field"], row["found_at"], _values(field)))
    return found


async def conflicts_of(database: Database, tenant: Tenant, person_id: int) -> list[Open]:
    """Conflicts of one person that are queued."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("persons", "conflicts_of"), tenant.tenant_id, person_id)
    return [Open(**dict(row)) for row in rows]


async def choices_of(database: Database, tenant: Tenant, of: Person) -> list[Choice]:
    """What stewards chose about a person's records, the newest first; revoked choices too."""
    records = [record.record_id for record in of.records]
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("persons", "decisions_of"), tenant.tenant_id, records)
    return [Choice(**dict(row)) for row in rows]


def _in_conflict(of: Person, field: str, rules: Rules, now: datetime) -> GoldenField | None:
    found = of.golden(now, rules).fields.get(field)
    return found if found is not None and found.conflict else None


def _values(field: GoldenField) -> tuple[GoldenValue, ...]:
    return (*field.values, *field.losers)


async def resolve(
    database: Database,
    tenant: Tenant,
    conflict_id: int,
    value: str,
    *,
    made_by: str,
    reason: str,
    rules: Rules,
    now: datetime,
) -> Decided:
    """Takes one of the values in conflict for the right one, and closes the conflict. An earlier choice is revoked.

    Raises BadInput unknown_conflict (404), conflict_closed (409), conflict_value_unknown.
    """
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)  # the records stay as they are read
        row = await connection.fetchrow(sql("persons", "conflict"), tenant.tenant_id, conflict_id)
        if row is None:
            raise BadInput(
                "unknown_conflict", "There is no such conflict.", where={"conflict": conflict_id}, http_status=404
            )
        persons = await people(connection, tenant, [row["person_id"]])
        field = row["field"]
        of = persons.get(row["person_id"])
        contested = None if of is None or row["state"] != "open" else _in_conflict(of, field, rules, now)
        if of is None or contested is None:
            raise BadInput("conflict_closed", "This conflict is no more.", where={"conflict": conflict_id}, http_status=409)
        anchor = _anchor(contested, value, conflict_id)
        own = next(record for record in of.records if record.record_id == anchor)
        decision = await _choose(connection, tenant, of, field, own.fields[field], anchor, made_by, reason, now)
        await connection.execute(sql("persons", "resolve_conflict"), tenant.tenant_id, conflict_id, now)
    return Decided(decision, of.person_id, field, own.source, anchor)


def _anchor(field: GoldenField, value: str, conflict_id: int) -> int:
    """The best record of one's own that says so."""
    for one in _values(field):
        if str(one.value) == value:
            for said in one.said_by:
                if not said.enriched:
                    return said.record_id
    raise BadInput(
        "conflict_value_unknown",
        "That is none of the values in conflict that a source of one's own holds.",
        where={"conflict": conflict_id},
        hint="Give one of the listed values exactly.",
    )


async def _choose(
    connection: Connection,
    tenant: Tenant,
    of: Person,
    field: str,
    value: Any,
    anchor: int,
    by: str,
    reason: str,
    now: datetime,
) -> int:
    records = [record.record_id for record in of.records]
    mark = choice(tenant.keys, field, value)
    await connection.execute(sql("persons", "revoke_decisions"), tenant.tenant_id, records, field, by, now)
    await connection.execute(sql("persons", "choose"), tenant.tenant_id, records, field, anchor, mark)
    place = await connection.fetchrow(sql("persons", "place_of"), tenant.tenant_id, anchor)
    assert place is not None
    wrapped, sealed = tenant.keys.seal({"field": field, "value": value})
    return int(
        await connection.fetchval(
            sql("persons", "add_decision"),
            tenant.tenant_id,
            place["source_id"],
            place["external_key"],
            field,
            mark,
            wrapped,
            sealed,
            by,
            reason,
            now,
        )
    )


async def renew_choices(connection: Connection, tenant: Tenant, record_ids: Sequence[int]) -> int:
    """Puts choices in force back on records that were deleted and came again; how many."""
    rows = await connection.fetch(sql("persons", "missing_choices"), tenant.tenant_id, list(record_ids))
    for row in rows:
        one = [row["record_id"]]
        await connection.execute(
            sql("persons", "choose"), tenant.tenant_id, one, row["field"], row["record_id"], row["choice"]
        )
    return len(rows)
