"""Promised calls: each is booked with its timer in one transaction, so that a promise outlives the server that made it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from firstring.contact import Identifier
from firstring.errors import BadInput
from firstring.identity.persons.blocking import identifier_keys
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql
from firstring.store.timers import cancel_timer, set_timer

TIMER: Final = "call back"
State = Literal["booked", "offered", "done", "missed", "cancelled"]


class Promise(msgspec.Struct, frozen=True):
    """What was promised. number: E.164. time_zone: the customer's; language: a tag of RFC 5646. reason: what it is about."""

    number: str
    time_zone: str | None = None
    language: str | None = None
    reason: str | None = None
    action: str | None = None


class Booked(NamedTuple):
    """A promised call as it is stored. promise: None where it was cancelled and forgotten."""

    callback_id: uuid.UUID
    delivery_id: uuid.UUID | None
    record_id: int
    state: State
    due_at: datetime
    attempts: int
    contact_id: uuid.UUID | None
    promise: Promise | None


class Over(NamedTuple):
    """A call whose contact is over. answered_at: None where nobody made it."""

    callback_id: uuid.UUID
    delivery_id: uuid.UUID | None
    attempts: int
    answered_at: datetime | None
    end_reason: str | None


class Line(msgspec.Struct, frozen=True):
    """A promised call as lists show it: no number."""

    callback_id: uuid.UUID
    record_id: int
    state: State
    due_at: datetime
    attempts: int
    contact_id: uuid.UUID | None
    booked_at: datetime
    state_at: datetime


async def taken(connection: Connection, tenant: Tenant, since: datetime) -> dict[datetime, int]:
    """How many calls are promised for each moment from `since` on."""
    rows = await connection.fetch(sql("callbacks", "taken"), tenant.tenant_id, since)
    return {row["due_at"]: row["calls"] for row in rows}


async def book(
    connection: Connection,
    tenant: Tenant,
    callback_id: uuid.UUID,
    promise: Promise,
    *,
    record_id: int,
    delivery_id: uuid.UUID | None,
    due_at: datetime,
    now: datetime,
    per_slot: int | None = None,
) -> None:
    """Promises a call. per_slot: how many may be promised for that moment; None: any number.

    Raises BadInput callback_booked (409) where the number has an open promise, slot_full (409).
    """
    await connection.execute(sql("callbacks", "lock_booking"), tenant.tenant_id)
    number_key = tenant.keys.blind("phone", promise.number)
    open_one = await connection.fetchrow(sql("callbacks", "open_for_number"), tenant.tenant_id, number_key)
    if open_one is not None:
        raise BadInput(
            "callback_booked",
            "This number is to be called already.",
            where={"due_at": open_one["due_at"].isoformat()},
            hint="Wait for that call.",
            http_status=409,
        )
    if per_slot is not None and (await taken(connection, tenant, due_at)).get(due_at, 0) >= per_slot:
        raise BadInput("slot_full", "This time has just been taken.", hint="Choose another one.", http_status=409)
    wrapped, sealed = tenant.keys.seal(msgspec.to_builtins(promise))
    await connection.execute(
        sql("callbacks", "book"),
        tenant.tenant_id,
        callback_id,
        delivery_id,
        record_id,
        number_key,
        due_at,
        now,
        wrapped,
        sealed,
    )
    await set_timer(connection, tenant, TIMER, str(callback_id), due_at, {})


async def booked(connection: Connection, tenant: Tenant, callback_id: uuid.UUID) -> Booked | None:
    """A promised call, locked until the transaction ends."""
    row = await connection.fetchrow(sql("callbacks", "locked"), tenant.tenant_id, callback_id)
    if row is None:
        return None
    said = tenant.keys.open(row["wrapped_key"], row["sealed"])
    fields = {name: row[name] for name in Booked._fields if name != "promise"}
    return Booked(**fields, promise=None if said is None else msgspec.convert(said, Promise))


async def offered(
    connection: Connection, tenant: Tenant, callback_id: uuid.UUID, contact_id: uuid.UUID, now: datetime
) -> None:
    """Its time has come: it is offered to agents as this contact."""
    await connection.execute(sql("callbacks", "offered"), tenant.tenant_id, callback_id, contact_id, now)


async def become(connection: Connection, tenant: Tenant, callback_id: uuid.UUID, state: State, now: datetime) -> None:
    await connection.execute(sql("callbacks", "become"), tenant.tenant_id, callback_id, state, now)


async def again(connection: Connection, tenant: Tenant, callback_id: uuid.UUID, due_at: datetime, now: datetime) -> None:
    """Nobody could make it: it is promised anew."""
    await connection.execute(sql("callbacks", "again"), tenant.tenant_id, callback_id, due_at, now)
    await set_timer(connection, tenant, TIMER, str(callback_id), due_at, {})


async def cancel(connection: Connection, tenant: Tenant, callback_id: uuid.UUID, now: datetime) -> None:
    """Takes a promise back. Raises BadInput unknown_callback (404), callback_over (409)."""
    found = await booked(connection, tenant, callback_id)
    if found is None:
        raise BadInput("unknown_callback", "There is no such call-back.", http_status=404)
    if found.state != "booked":
        raise BadInput(
            "callback_over", "This call-back is under way, or over.", where={"state": found.state}, http_status=409
        )
    await become(connection, tenant, callback_id, "cancelled", now)
    await cancel_timer(connection, tenant, TIMER, str(callback_id))


async def over(connection: Connection, tenant: Tenant, before: datetime) -> list[Over]:
    """Calls whose contact is over, or that were to be offered before `before` and never were."""
    return [Over(**dict(row)) for row in await connection.fetch(sql("callbacks", "over"), tenant.tenant_id, before)]


async def forget(connection: Connection, tenant: Tenant, before: datetime) -> None:
    """Of calls that were over before, the numbers."""
    await connection.execute(sql("callbacks", "forget"), tenant.tenant_id, before)


async def listed(database: Database, tenant: Tenant, at_most: int) -> list[Line]:
    """Promised calls, those due last first."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("callbacks", "listed"), tenant.tenant_id, at_most)
    return [msgspec.convert(dict(row), Line) for row in rows]


async def identifiers_of(connection: Connection, tenant: Tenant, record_id: int) -> list[Identifier]:
    """What the record of a promised call is known by."""
    row = await connection.fetchrow(sql("callbacks", "record_fields"), tenant.tenant_id, record_id)
    fields: Mapping[str, Any] | None = None if row is None else tenant.keys.open(row["wrapped_key"], row["sealed"])
    return [] if not fields else list(identifier_keys(fields))
