"""Events of customers: stored durably, once each, and attached to a source record.

An event belongs to a record, never to a person, so that it goes with its record through merges and splits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from firstring import limits
from firstring.contact import Identifier
from firstring.errors import BadInput
from firstring.identity.blocking import identifier_keys
from firstring.identity.canonical import CanonicalRecord, canonical, canonical_record
from firstring.journey.events import Event
from firstring.journey.issues import issue_of
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql
from firstring.store.records import apply_in, external_key, prepare
from firstring.store.seal import TenantKeys

_STRENGTH: Final = ("national_id", "account", "email", "social", "phone", "device", "cookie")
"""Identifiers by how surely they lead to one person (identity.weights), the strongest first."""
_THREAD_FROM_EVENTS: Final = 64
"""Hashing and sealing more than so many would keep a serving process from ringing calls for milliseconds."""


class IngestResult(msgspec.Struct, frozen=True):
    """What a batch came to. rejected: (index in the batch, code, message) of events that cannot be attached or stored."""

    stored: int = 0
    duplicates: int = 0
    rejected: tuple[tuple[int, str, str], ...] = ()


class _Planned(NamedTuple):
    """An event ready to be placed. user: the key of its user's record; identifiers: (key, identifier), strongest first."""

    message_key: bytes
    user: tuple[bytes, CanonicalRecord] | None
    identifiers: list[tuple[bytes, Identifier]]
    fields: dict[str, Any]
    row: tuple[Any, ...]


class _Placed(NamedTuple):
    """Where events go: the record id, or the external key of a record that has to be made."""

    record_of: dict[bytes, int | bytes]
    missing: dict[bytes, CanonicalRecord]


async def ingest(
    database: Database,
    tenant: Tenant,
    source: str,
    events: Sequence[Event],
    *,
    now: datetime,
    country: str = "US",
    on_records: Mapping[str, int] | None = None,
) -> IngestResult:
    """Stores at most limits.EVENTS_PER_BATCH events of one source in one transaction; durable when it returns.

    Idempotent by message id. An event goes to the record of its user id (made, with what the event says of the user,
    where the source has none; an existing record is never changed by an event), else to the most recent record of the
    single person behind its strongest identifier that is not hot, else to a record of that identifier's own.
    `country` is how national phone numbers in traits are read. `on_records` names, by message id, the record of an
    event whose person is known otherwise (a contact that was identified). Raises BadInput too_many_events, and Retryable.
    """
    if len(events) > limits.EVENTS_PER_BATCH:
        raise BadInput(
            "too_many_events",
            f"A batch has at most {limits.EVENTS_PER_BATCH} events.",
            where={"count": len(events)},
            hint="Send several batches.",
        )
    if len(events) >= _THREAD_FROM_EVENTS:
        planned, rejected = await asyncio.to_thread(_plan, tenant.keys, source, events, country)
    else:
        planned, rejected = _plan(tenant.keys, source, events, country)
    new = {plan.message_key: plan for plan in reversed(planned)}  # the first of equals counts
    stored = 0
    if new:
        async with database.transaction(tenant.tenant_id) as connection:
            known = await connection.fetch(sql("events", "known_messages"), tenant.tenant_id, list(new))
            for row in known:
                del new[row["message_key"]]
            if new:
                known_records = {
                    tenant.keys.blind(f"message:{source}", message_id): record_id
                    for message_id, record_id in (on_records or {}).items()
                }
                stored = await _store(connection, tenant, source, list(new.values())[::-1], now, known_records)
    return IngestResult(stored, len(planned) - stored, tuple(rejected))


async def _store(
    connection: Connection,
    tenant: Tenant,
    source: str,
    plans: list[_Planned],
    now: datetime,
    known_records: Mapping[bytes, int],
) -> int:
    placed = await _place(connection, tenant, source, plans, known_records)
    made: dict[bytes, int] = {}
    if placed.missing:
        # What is missing is looked for again under the lock: another program may have made it just now.
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        placed = await _place(connection, tenant, source, plans, known_records)
        prepared = [prepare(tenant.keys, source, record) for record in placed.missing.values()]
        applied = await apply_in(connection, tenant, source, prepared, now=now)
        made = dict(zip(placed.missing, applied.record_ids, strict=True))
    rows = []
    for plan in plans:
        target = placed.record_of[plan.message_key]
        rows.append((plan.message_key, target if isinstance(target, int) else made[target], *plan.row))
    columns = [list(column) for column in zip(*rows, strict=True)]
    return len(await connection.fetch(sql("events", "insert_events"), tenant.tenant_id, *columns))


async def _place(
    connection: Connection, tenant: Tenant, source: str, plans: list[_Planned], known_records: Mapping[bytes, int]
) -> _Placed:
    unplaced = [plan for plan in plans if plan.message_key not in known_records]
    keys = list({key for plan in unplaced if plan.user is None for key, _ in plan.identifiers})
    behind = {}
    if keys:
        rows = await connection.fetch(sql("events", "behind"), tenant.tenant_id, keys, limits.HOT_KEY_RECORDS)
        behind = {row["key"]: row for row in rows}
    record_of: dict[bytes, int | bytes] = dict(known_records)
    wanted: dict[bytes, CanonicalRecord] = {}
    for plan in unplaced:
        if plan.user is not None:
            external, record = plan.user
        else:
            key, identifier = _strongest(plan, behind)
            held = behind.get(key)
            if held is not None and held["persons"] == 1 and held["records"] <= limits.HOT_KEY_RECORDS:
                record_of[plan.message_key] = held["record_id"]
                continue
            record = CanonicalRecord(f"{identifier.kind}:{identifier.value}", plan.fields)
            external = external_key(tenant.keys, source, record.record_id)
        record_of[plan.message_key] = external
        wanted.setdefault(external, record)
    if wanted:
        rows = await connection.fetch(sql("events", "records_of_users"), tenant.tenant_id, source, list(wanted))
        known = {row["external_key"]: row["record_id"] for row in rows}
        for message, target in record_of.items():
            if isinstance(target, bytes) and target in known:
                record_of[message] = known[target]
        for external in known:
            del wanted[external]
    return _Placed(record_of, wanted)


def _strongest(plan: _Planned, behind: dict[bytes, Any]) -> tuple[bytes, Identifier]:
    """The strongest identifier that is not hot; the strongest of all when every one is."""
    for key, identifier in plan.identifiers:
        if key not in behind or behind[key]["records"] <= limits.HOT_KEY_RECORDS:
            return key, identifier
    return plan.identifiers[0]


# --- hashing and sealing -----------------------------------------------------------------------------------------


def _plan(
    keys: TenantKeys, source: str, events: Sequence[Event], country: str
) -> tuple[list[_Planned], list[tuple[int, str, str]]]:
    planned: list[_Planned] = []
    rejected: list[tuple[int, str, str]] = []
    for index, event in enumerate(events):
        try:
            planned.append(_planned(keys, source, event, country))
        except BadInput as error:
            rejected.append((index, error.code, error.message))
    return planned, rejected


def _planned(keys: TenantKeys, source: str, event: Event, country: str) -> _Planned:
    record = _record(event, country)
    user = None
    identifiers: list[tuple[bytes, Identifier]] = []
    if event.record_id is not None:
        user = external_key(keys, source, record.record_id), record
    else:
        found = sorted(identifier_keys(record.fields), key=lambda one: _STRENGTH.index(one.kind))
        identifiers = [(keys.blind(one.kind, one.value), one) for one in found]
        if not identifiers:
            raise BadInput("missing_identity", "nothing in the event identifies anybody", where={"field": "anonymousId"})
    issue = issue_of(event)
    payload: dict[str, Any] = {"name": event.name, "properties": event.properties, "type": event.type}
    if issue is not None:
        payload["issue_ref"] = issue.ref
    if event.fields:
        payload["fields"] = event.fields
    try:
        wrapped, sealed = keys.seal(payload)
    except (OverflowError, ValueError, TypeError) as error:
        raise BadInput("malformed_event", "the event holds a number that is too large") from error
    row = (
        event.channel, event.occurred_at, event.received_at, issue.kind if issue else None, issue.effect if issue else 0,
        wrapped, sealed,
    )  # fmt: skip
    return _Planned(keys.blind(f"message:{source}", event.message_id), user, identifiers, record.fields, row)


def _record(event: Event, country: str) -> CanonicalRecord:
    """What the event says of the customer, canonical: the record that is made where there is none yet."""
    raw = {**event.fields, "record_id": event.record_id or "anonymous"}
    try:
        record = canonical_record(raw, country=country)
    except BadInput as error:
        if error.code != "nothing_usable":
            raise
        # Neither a name nor an identifier: a user id may be all that is known.
        record = CanonicalRecord(canonical("record_id", raw["record_id"], country=country), {})
    last_seen = event.occurred_at.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
    return msgspec.structs.replace(record, fields={"last_seen": last_seen, **record.fields})
