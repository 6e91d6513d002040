"""Events of customers: stored durably, once each, and attached to a source record.

An event belongs to a record, never to a person, so that it goes with its record through merges and splits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from firstring import limits
from firstring.contact import Identifier
from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord
from firstring.journey.events import Event
from firstring.journey.stitch import Mark
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.records import Prepared, apply_in, prepare
from firstring.store.journey import stitching, typed
from firstring.store.journey.aliases import join_names
from firstring.store.journey.firings import Firing, Told
from firstring.store.journey.following import NewEvent, follow
from firstring.store.journey.live import seen_live
from firstring.store.journey.placing import own_name, place
from firstring.store.journey.planned import Planned, contradicts, plan, record_of
from firstring.store.journey.reasoning import reasons_of
from firstring.store.journey.rejected import Letter, Refused, keep
from firstring.store.journey.stitching import Coming, MovedEvent
from firstring.store.journey.turns import Turn, turn_of
from firstring.store.journey.words import store_words
from firstring.store.queries import sql

_THREAD_FROM_EVENTS: Final = 64
"""Hashing and sealing more than so many would keep a serving process from ringing calls for milliseconds."""

_THREAD_FROM_CHARS: Final = 4_000
"""The same of texts."""


class IngestResult(msgspec.Struct, frozen=True):
    """What a batch came to. rejected: (index in the batch, code, message) of events that cannot be attached or stored."""

    stored: int = 0
    duplicates: int = 0
    rejected: tuple[tuple[int, str, str], ...] = ()
    languages: tuple[str, ...] = ()
    """Of the texts that were read."""


class Incoming(NamedTuple):
    """The events of one call. letters: each of them as it came, to be kept where it is refused; None: nothing is kept.
    refused: what was refused before."""

    source: str
    events: Sequence[Event]
    letters: Sequence[Letter] | None = None
    refused: Sequence[Refused] = ()


class Ready(NamedTuple):
    """A call made ready for the store. refused: what cannot be placed."""

    incoming: Incoming
    plans: Sequence[Planned]
    refused: Sequence[tuple[int, BadInput]]

    @property
    def of_visitors(self) -> bool:
        """Whether a visitor's log is read for any of its events."""
        return any(one.visitor is not None for one in self.plans)


class _Call(NamedTuple):
    """A call being stored. taken: the events whose message id is this call's; again: those that were there already."""

    incoming: Incoming
    plans: Sequence[Planned]
    refused: list[tuple[int, BadInput]]
    taken: set[bytes]


async def ingest(
    database: Database,
    tenant: Tenant,
    source: str,
    events: Sequence[Event],
    *,
    now: datetime,
    country: str = "US",
    on_records: Mapping[str, int] | None = None,
    told: Told | None = None,
) -> IngestResult:
    """Stores at most limits.EVENTS_PER_BATCH events of one source in one transaction; durable when it returns.

    Idempotent by message id; the same id with another content is refused. An event goes to the record of its user id
    (made, with what the event says of the user, where the source has none; an existing record is never changed by an
    event), else to the most recent record of the single person behind its strongest identifier that is not hot, else to a
    record of that identifier's own. `country` is how national phone numbers in traits are read. `on_records` names, by
    message id, the record of an event whose person is known otherwise (a contact that was identified). `told` is told of
    the patterns that came true, after the commit; without it they are found by `Firings.catch_up`. Raises BadInput
    too_many_events, and Retryable.
    """
    if len(events) > limits.EVENTS_PER_BATCH:
        raise BadInput(
            "too_many_events",
            f"A batch has at most {limits.EVENTS_PER_BATCH} events.",
            where={"count": len(events)},
            hint="Send several batches.",
        )
    calls = [Incoming(source, events)]
    [result] = await ingest_all(database, tenant, calls, now=now, country=country, on_records=on_records, told=told)
    return result


async def ingest_all(
    database: Database,
    tenant: Tenant,
    incoming: Sequence[Incoming],
    *,
    now: datetime,
    country: str = "US",
    on_records: Mapping[str, int] | None = None,
    told: Told | None = None,
) -> list[IngestResult]:
    """As `ingest` for the events of several calls, in one transaction, with what is refused of them."""
    ready = await made_ready(tenant, incoming, country)
    return await ingest_ready(database, tenant, ready, now=now, country=country, on_records=on_records, told=told)


async def made_ready(tenant: Tenant, incoming: Sequence[Incoming], country: str) -> list[Ready]:
    """Calls made ready for `ingest_ready`: nothing is read or written."""
    reasons = reasons_of(tenant)

    def ready() -> list[Ready]:
        return [Ready(one, *plan(tenant.keys, one.source, one.events, country, reasons)) for one in incoming]

    if sum(len(one.events) for one in incoming) >= _THREAD_FROM_EVENTS or _wordy(incoming):
        return await asyncio.to_thread(ready)
    return ready()


def _wordy(incoming: Sequence[Incoming]) -> bool:
    """Whether so much is written in the events that reading it takes milliseconds."""
    written = (value for one in incoming for event in one.events for value in event.properties.values())
    return sum(len(value) for value in written if isinstance(value, str)) >= _THREAD_FROM_CHARS


async def ingest_ready(
    database: Database,
    tenant: Tenant,
    ready: Sequence[Ready],
    *,
    now: datetime,
    country: str = "US",
    on_records: Mapping[str, int] | None = None,
    told: Told | None = None,
) -> list[IngestResult]:
    """As `ingest_all` for calls that were made ready."""
    calls = [_Call(one.incoming, one.plans, list(one.refused), set()) for one in ready]
    with turn_of(tenant) as turn:
        if any(call.plans or call.refused or call.incoming.refused for call in calls):
            if seen_live(tenant) and any(one.of_visitors for one in ready):
                await turn.come_to_ask()
            is_small = sum(len(one.plans) for one in ready) < _THREAD_FROM_EVENTS
            visitors = {one.visitor for call in calls for one in call.plans if one.visitor is not None}
            turn.asks()
            locking = stitching.locking(tenant, visitors)
            transaction = database.transaction(tenant.tenant_id, plans_kept=is_small, begins_with=locking)
            async with transaction as connection:
                firings = await _ingest(connection, tenant, calls, now, country, on_records or {}, turn)
            if told is not None:
                told(tenant, firings)
    return [_result(call) for call in calls]


def _result(call: _Call) -> IngestResult:
    rejected = tuple((place, cause.code, cause.message) for place, cause in sorted(call.refused, key=lambda one: one[0]))
    stored = len(call.taken)
    languages = tuple(sorted(one.words.language for one in call.plans if one.words and one.message_key in call.taken))
    return IngestResult(stored, len(call.incoming.events) - stored - len(rejected), rejected, languages)


async def _ingest(
    connection: Connection,
    tenant: Tenant,
    calls: list[_Call],
    now: datetime,
    country: str,
    on_records: Mapping[str, int],
    turn: Turn,
) -> list[Firing]:
    new = await _new(connection, tenant, calls)
    news: list[NewEvent] = []
    moved: list[MovedEvent] = []
    by_source: dict[str, list[Planned]] = {}
    for call, one in new.values():
        by_source.setdefault(call.incoming.source, []).append(one)
    for source, plans in by_source.items():
        if any(one.previous is not None for one in plans):
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
            for one, cause in await join_names(connection, tenant, source, plans, now):
                new[one.message_key][0].refused.append((one.place, cause))
                plans = [other for other in plans if other is not one]
        known = {one.message_key: on_records[one.event.message_id] for one in plans if one.event.message_id in on_records}
        stored, elsewhere = await _store(connection, tenant, source, plans, now, country, known)
        moved += elsewhere
        for message_key, event in stored:
            if message_key is not None:
                new[message_key][0].taken.add(message_key)
            news.append(event)
    for call in calls:
        await keep(connection, tenant, call.incoming.source, _letters(call), now)
    return await follow(connection, tenant, news, now, moved=moved, turn=turn)


def _letters(call: _Call) -> list[Refused]:
    letters = call.incoming.letters
    refused = [] if letters is None else [Refused(place, letters[place], cause) for place, cause in call.refused]
    return [*call.incoming.refused, *refused]


async def _new(connection: Connection, tenant: Tenant, calls: list[_Call]) -> dict[bytes, tuple[_Call, Planned]]:
    """The events that are not there yet, the first of equals; those that contradict the one that is there are refused."""
    new: dict[bytes, tuple[_Call, Planned]] = {}
    again: list[tuple[_Call, Planned]] = []
    for call in calls:
        for one in call.plans:
            if new.setdefault(one.message_key, (call, one))[1] is not one:
                again.append((call, one))
    if not new:
        return new
    said = {key: one.payload for key, (_, one) in new.items()}
    for row in await connection.fetch(sql("events", "known_messages"), tenant.tenant_id, list(new)):
        key = row["message_key"]
        again.append(new.pop(key))
        said[key] = tenant.keys.open(row["wrapped_key"], row["sealed"]) or {}
    for call, one in again:
        if contradicts(said[one.message_key], one.payload):
            call.refused.append((one.place, _reused()))
    return new


def _reused() -> BadInput:
    return BadInput(
        "message_id_reused",
        "Another event has this messageId.",
        where={"field": "messageId"},
        hint="Give every event an id of its own, and the same one only when it is sent again.",
    )


async def _store(
    connection: Connection,
    tenant: Tenant,
    source: str,
    plans: list[Planned],
    now: datetime,
    country: str,
    known_records: Mapping[bytes, int],
) -> tuple[list[tuple[bytes | None, NewEvent]], list[MovedEvent]]:
    """What was stored now, with its message keys (what was read in its words has none); what is counted elsewhere now."""
    if not plans:
        return [], []
    placed = await place(connection, tenant, source, plans, known_records)
    made: dict[bytes, int] = {}
    if placed.missing:
        # What is missing is looked for again under the lock: another program may have made it just now.
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        placed = await place(connection, tenant, source, plans, known_records)
        missing = list(placed.missing.values())
        if len(missing) >= _THREAD_FROM_EVENTS:
            prepared = await asyncio.to_thread(_prepared, tenant, source, missing, country)
        else:
            prepared = _prepared(tenant, source, missing, country)
        applied = await apply_in(connection, tenant, source, prepared, now=now)
        made = dict(zip(placed.missing, applied.record_ids, strict=True))
    targets = {key: target if isinstance(target, int) else made[target] for key, target in placed.record_of.items()}
    coming = await _coming(connection, tenant, plans, targets, placed.named, known_records)
    counted, moved = await stitching.place(connection, tenant, list(coming.values()))
    rows = [_row(one, targets[one.message_key], coming.get(one.message_key), counted) for one in plans]
    # What no event has is left out whole: each value costs, also where it is none.
    columns = [list(column) if any(column) else [] for column in zip(*rows, strict=True)]
    stored = await connection.fetch(sql("events", "insert_events"), tenant.tenant_id, *columns)
    # after the insert
    numbers = {row["message_key"]: row["event_id"] for row in stored}
    read = await store_words(connection, tenant, [one.words for one in plans if one.words and one.message_key in numbers])
    await typed.keep(connection, tenant, [one for one in plans if one.typed], now)
    new = [
        (row[0], NewEvent(numbers[row[0]], row[1], one.event))
        for row, one in zip(rows, plans, strict=True)
        if row[0] in numbers
    ]
    return [*new, *((None, NewEvent(one.event_id, one.record_id, one.event)) for one in read)], moved


async def _coming(
    connection: Connection,
    tenant: Tenant,
    plans: Sequence[Planned],
    targets: Mapping[bytes, int],
    named: Collection[bytes],
    known_records: Mapping[bytes, int],
) -> dict[bytes, Coming]:
    """The events of visitors as their logs have them, by message key."""
    clicked = {one.click for one in plans if one.click}
    there = set()
    if clicked:
        rows = await connection.fetch(sql("stitching", "records_there"), tenant.tenant_id, list(clicked))
        there = {row["record_id"] for row in rows}
    found: dict[bytes, Coming] = {}
    for one in plans:
        key = one.message_key
        if one.visitor is None or key in known_records:
            continue
        mark = one.mark
        if key in named:
            mark = Mark.KNOWN_OUT if mark is Mark.OUT else Mark.KNOWN
        elif mark is Mark.SEEN and one.click not in there:
            mark = Mark.NONE
        anonymous = one.user is None and key not in named
        seen = one.click if mark is Mark.SEEN else 0
        found[key] = Coming(one.visitor, one.event.occurred_at, key, mark, targets[key], anonymous, seen)
    return found


def _row(one: Planned, target: int, coming: Coming | None, counted: Mapping[bytes, int]) -> tuple[Any, ...]:
    """An event as the table has it."""
    if coming is None:
        return (one.message_key, target, *one.row, None, None, 0, None)
    record = counted.get(one.message_key, target)
    came_in = target if coming.anonymous else None
    return (one.message_key, record, *one.row, coming.visitor, came_in, int(coming.mark), coming.seen or None)


def _prepared(
    tenant: Tenant, source: str, missing: Sequence[tuple[Planned, Identifier | None]], country: str
) -> list[Prepared]:
    """The records that are made, of users and of identifiers of their own."""
    prepared = []
    for one, identifier in missing:
        record = record_of(one.event, country)
        if identifier is not None:
            record = CanonicalRecord(own_name(identifier), record.fields)
        prepared.append(prepare(tenant.keys, source, record))
    return prepared
