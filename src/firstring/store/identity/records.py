"""Source records: applied in batches, and resolved into persons as they arrive.

A batch is one transaction, and one transaction at a time changes a tenant's records (an advisory lock), so that
arrivals from several programs cannot each glue half a person. The same record again changes nothing and is found out
before anything is written. What is written travels by COPY into a temporary table, because COPY into a table under
row-level security is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from firstring import limits
from firstring.errors import BadInput
from firstring.identity.persons.clusters import Assignment
from firstring.store.collector import paused
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.linkindex import Part, carriers
from firstring.store.identity.linking import Change as RecordsChange
from firstring.store.identity.linking import Context, linking_context, relink, settled
from firstring.store.identity.linkwrite import Arrival, note_persons, remember, write_relinked
from firstring.store.identity.models import was_linked
from firstring.store.identity.partition import Change, Membership, bounds, glue_keys, settle, shared_keys
from firstring.store.identity.preparing import Ahead, arriving, fields_of, glued, made_ahead
from firstring.store.identity.preparing import Prepared as Prepared
from firstring.store.identity.preparing import SourceRecord as SourceRecord
from firstring.store.identity.preparing import external_key as external_key
from firstring.store.identity.preparing import prepare as prepare
from firstring.store.queries import sql

Outcome: TypeAlias = Literal["inserted", "updated", "unchanged"]
_BATCH_RECORDS_MAX = 20_000
_FEW_RECORDS = 64
"""New records that are written one by one: a temporary table costs more than they do."""
_NARROW_BYTES = 20
"""Narrow link keys (store/identity/partition.py): they stay in the record."""
_COLUMNS = (
    "record_id", "fresh", "external_key", "content_key", "person_id", "keys", "link_keys", "is_copy", "wrapped_key",
    "sealed", "compared", "last_seen", "verified_at",
)  # fmt: skip


class Applied(msgspec.Struct, frozen=True):
    """What a batch came to. merged and split count persons.

    record_ids and outcomes are in the order of the records given.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    merged: int = 0
    split: int = 0
    record_ids: tuple[int, ...] = ()
    outcomes: tuple[Outcome, ...] = ()


async def apply_records(
    database: Database, tenant: Tenant, source: str, records: Sequence[SourceRecord], *, now: datetime
) -> Applied:
    """Inserts or updates at most limits.IMPORT_BATCH_RECORDS records of one source, in one durable transaction.

    Of several versions of one record the last counts. Safe to repeat. Raises Retryable as the database does.
    """
    with paused():
        prepared = [prepare(tenant.keys, source, record, linked=was_linked(tenant)) for record in records]
        return await apply_prepared(database, tenant, source, prepared, now=now)


async def apply_prepared(
    database: Database,
    tenant: Tenant,
    source: str,
    prepared: Sequence[Prepared],
    *,
    now: datetime,
    also: Callable[[Connection, int, Applied], Awaitable[None]] | None = None,
    write_behind: bool = False,
) -> Applied:
    """As apply_records. `also(connection, source_id, applied)` runs in the same transaction, after the records.

    write_behind: a crash of the server may undo the latest batches, whole and in order; for callers that notice.
    """
    with _applying(tenant) as others:
        ahead = await made_ahead(tenant, prepared) if others else None
        async with database.transaction(tenant.tenant_id) as connection:
            if write_behind:
                await connection.execute(sql("records", "write_behind"))
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
            with paused():
                applied = await apply_in(connection, tenant, source, prepared, now=now, ahead=ahead)
            if also is not None:
                await also(connection, await source_id(connection, tenant, source, now), applied)
    return applied


@contextmanager
def _applying(tenant: Tenant) -> Iterator[bool]:
    """Whether this process applies other records of the tenant at the moment, whose turn comes first."""
    running = tenant.kept.get("applying", 0)
    tenant.kept["applying"] = running + 1
    try:
        yield running > 0
    finally:
        tenant.kept["applying"] -= 1


async def source_id(connection: Connection, tenant: Tenant, source: str, now: datetime) -> int:
    """The id of a source, made at its first record."""
    found = await connection.fetchval(sql("records", "source"), tenant.tenant_id, source)
    if found is None:
        found = await connection.fetchval(sql("records", "add_source"), tenant.tenant_id, source, now)
    return int(found)


async def apply_in(
    connection: Connection,
    tenant: Tenant,
    source: str,
    prepared: Sequence[Prepared],
    *,
    now: datetime,
    ahead: Ahead | None = None,
) -> Applied:
    """As apply_records, within a transaction that holds the applier's lock (records.sql lock_applier)."""
    assert len(prepared) <= _BATCH_RECORDS_MAX, "batches are bounded"
    in_source = await source_id(connection, tenant, source, now)
    latest = {record.external_key: record for record in prepared}
    rows = await connection.fetch(sql("records", "existing"), tenant.tenant_id, in_source, list(latest))
    known = {row["external_key"]: row for row in rows}
    changed = {row["record_id"]: latest[key] for key, row in known.items() if row["content_key"] != latest[key].content_key}
    fresh = [record for key, record in latest.items() if key not in known]
    numbers = await connection.fetch(sql("records", "new_record_ids"), len(fresh)) if fresh else []
    added = {row[0]: record for row, record in zip(numbers, fresh, strict=True)}
    ids = {key: row["record_id"] for key, row in known.items()} | {r.external_key: i for i, r in added.items()}
    merged = split = 0
    if added or changed:
        before = {row["record_id"]: _part(row) for row in rows if row["record_id"] in changed}
        cause = f"records of {source}"
        context = await linking_context(connection, tenant, now)
        incoming = {**changed, **added}
        if context is not None:
            tenant.kept["linked_by"] = context.active
            states = ahead.states if ahead is not None and ahead.model_id == context.active.model_id else {}
            found = await arriving(connection, tenant, context, incoming, states)
            merged, split = await _apply_linked(connection, tenant, context, in_source, incoming, before, found, cause, now)
        else:
            merged, split = await _apply(connection, tenant, in_source, incoming, before, cause, now)
    return Applied(
        inserted=len(added),
        updated=len(changed),
        unchanged=len(prepared) - len(added) - len(changed),
        merged=merged,
        split=split,
        record_ids=tuple(ids[record.external_key] for record in prepared),
        outcomes=_outcomes(prepared, {one.external_key for one in fresh}, {one.external_key for one in changed.values()}),
    )


def _outcomes(prepared: Sequence[Prepared], fresh: set[bytes], changed: set[bytes]) -> tuple[Outcome, ...]:
    """What became of each record; of several versions of one, the last is what counts."""
    found: list[Outcome] = []
    for record in reversed(prepared):
        key = record.external_key
        found.append("inserted" if key in fresh else "updated" if key in changed else "unchanged")
        fresh.discard(key)
        changed.discard(key)
    return tuple(reversed(found))


async def _apply(
    connection: Connection,
    tenant: Tenant,
    in_source: int,
    incoming: dict[int, Prepared],
    before: dict[int, Part],
    cause: str,
    now: datetime,
) -> tuple[int, int]:
    """New and changed records, without a model; (persons merged, persons split)."""
    # Prepared for a model that is none any more.
    incoming = {
        record: one
        if one.values is None
        else one._replace(link_keys=glued(tenant.keys, fields_of(tenant, one)), values=None)
        for record, one in incoming.items()
    }
    links = {record: part.link_keys for record, part in before.items()}
    change = Change({record: prepared.link_keys for record, prepared in incoming.items()}, links)
    persons = await _resolve(connection, tenant, change, now)
    stored = {record: (persons.assignment.person_of[record], one.link_keys, False) for record, one in incoming.items()}
    await _write(connection, tenant, in_source, incoming, incoming.keys() - before.keys(), stored, now)
    return await _note(connection, tenant, change, persons, cause, now)


async def _apply_linked(
    connection: Connection,
    tenant: Tenant,
    context: Context,
    in_source: int,
    incoming: dict[int, Prepared],
    before: dict[int, Part],
    found: tuple[dict[int, Arrival], dict[bytes, Sequence[int] | None]],
    cause: str,
    now: datetime,
) -> tuple[int, int]:
    """As _apply, under a model. found: what linking knows of the records, and who carries their keys."""
    arrivals, known = found
    before = await settled(connection, tenant, context, before, now)
    # What is compared may be as it was: then nothing is linked anew.
    same = {record: part for record, part in before.items() if arrivals[record].state.copy_key == part.copy_key != b""}
    moving = {record: one for record, one in arrivals.items() if record not in same}
    changing = {record: part for record, part in before.items() if record not in same}
    stored = {record: (part.person_id, list(part.link_keys), part.is_copy) for record, part in same.items()}
    relinked = None
    if moving:
        relinked = await relink(connection, tenant, context, RecordsChange(moving, changing, carriers=known), now)
        for record in moving:
            stored[record] = (relinked.person_of[record], *relinked.link_keys[record])
    await _write(connection, tenant, in_source, incoming, incoming.keys() - before.keys(), stored, now)
    remember(tenant, context.active, arrivals)
    return await write_relinked(connection, tenant, relinked, moving.keys(), cause, now) if relinked else (0, 0)


def _part(row: Any) -> Part:
    return Part(*(row[name] for name in Part._fields))


async def delete_records(
    database: Database, tenant: Tenant, source: str, record_ids: Sequence[str], *, now: datetime
) -> Applied:
    """Deletes records, by the source's own ids, with their events. What only they held together comes apart."""
    wanted = [external_key(tenant.keys, source, record_id) for record_id in record_ids]
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        in_source = await source_id(connection, tenant, source, now)
        rows = await connection.fetch(sql("records", "existing"), tenant.tenant_id, in_source, wanted)
        parts = {row["record_id"]: _part(row) for row in rows}
        merged, split = await delete_in(connection, tenant, parts, f"records deleted from {source}", now=now)
    return Applied(deleted=len(parts), merged=merged, split=split)


async def withdraw_source(
    database: Database, tenant: Tenant, source: str, *, clock: Callable[[], datetime], told: Callable[[int], None]
) -> Applied:
    """Deletes all records of a source, with their events, in batches of limits.IMPORT_BATCH_RECORDS.

    What only they held together comes apart. Safe to repeat after an interruption. told: how many are deleted so far.
    Raises BadInput unknown_source (404).
    """
    deleted = merged = split = 0
    while True:
        async with database.transaction(tenant.tenant_id) as connection:
            in_source = await connection.fetchval(sql("records", "source"), tenant.tenant_id, source)
            if in_source is None:
                raise BadInput("unknown_source", "There is no such source.", where={"source": source}, http_status=404)
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
            statement, most = sql("linking", "some_of_source"), limits.IMPORT_BATCH_RECORDS
            rows = await connection.fetch(statement, tenant.tenant_id, in_source, most)
            parts = {row["record_id"]: _part(row) for row in rows}
            done = await delete_in(connection, tenant, parts, f"{source} withdrawn", now=clock())
        deleted, merged, split = deleted + len(parts), merged + done[0], split + done[1]
        told(deleted)
        if len(parts) < limits.IMPORT_BATCH_RECORDS:
            return Applied(deleted=deleted, merged=merged, split=split)


async def delete_in(
    connection: Connection, tenant: Tenant, parts: Mapping[int, Part], cause: str, *, now: datetime
) -> tuple[int, int]:
    """Deletes records within a transaction that holds the applier's lock; (persons merged, persons split)."""
    if not parts:
        return 0, 0
    context = await linking_context(connection, tenant, now)
    relinked = persons = None
    change = Change({}, {record: part.link_keys for record, part in parts.items()}, frozenset(parts))
    if context is not None:
        relinked = await relink(connection, tenant, context, RecordsChange({}, parts, frozenset(parts)), now)
    else:
        persons = await _resolve(connection, tenant, change, now)
    for statement in ("note_stale", "forget_visitors", "delete_came_in"):
        await connection.execute(sql("stitching", statement), tenant.tenant_id, list(parts))
    for statement in ("delete_keys", "delete_events", "delete_records"):
        await connection.execute(sql("records", statement), tenant.tenant_id, list(parts))
    if relinked is not None:
        return await write_relinked(connection, tenant, relinked, (), cause, now)
    assert persons is not None
    return await _note(connection, tenant, change, persons, cause, now)


# --- persons -----------------------------------------------------------------------------------------------------


class _Persons(NamedTuple):
    assignment: Assignment
    current: dict[int, int]


async def _resolve(connection: Connection, tenant: Tenant, change: Change, now: datetime) -> _Persons:
    """The persons after a change that is not written yet; new persons are made, nothing else is changed."""
    touched = change.touched()
    membership = Membership(change, await carriers(connection, tenant, list(touched), bounds(touched)))
    members: dict[bytes, Any] = dict(membership.after)
    links: dict[int, Sequence[bytes]] = {}
    outside: dict[int, Sequence[bytes]] = {}
    current: dict[int, int] = {}
    if membership.reached:
        statement = sql("records", "records_of_same_persons")
        for row in await connection.fetch(statement, tenant.tenant_id, list(membership.reached)):
            if row["record_id"] not in change.gone:
                links[row["record_id"]] = glue_keys(row["link_keys"])
                current[row["record_id"]] = row["person_id"]
    links.update(change.links)
    if membership.reached:
        await _look_around(connection, tenant, links, members, outside)
    placeholders = count(-1, -1)
    made: list[int] = []

    def new_id() -> int:
        made.append(next(placeholders))
        return made[-1]

    assignment = settle(links, members, outside, current, new_id)
    if made:
        rows = await connection.fetch(sql("records", "new_persons"), tenant.tenant_id, len(made), now)
        assignment = _renamed(assignment, dict(zip(made, sorted(row[0] for row in rows), strict=True)))
    return _Persons(assignment, current)


async def _look_around(
    connection: Connection,
    tenant: Tenant,
    links: dict[int, Sequence[bytes]],
    members: dict[bytes, Any],
    outside: dict[int, Sequence[bytes]],
) -> None:
    """Adds who else carries the keys that the reached records share, and their keys: a key may be hot or contested."""
    unknown = [key for key in shared_keys(links) if key not in members]
    if unknown:
        bound = [limits.HOT_LINK_RECORDS + 1] * len(unknown)
        for key, record in await carriers(connection, tenant, unknown, bound):
            members.setdefault(key, set()).add(record)
    missing = {
        record
        for carrying in members.values()
        if len(carrying) <= limits.HOT_LINK_RECORDS
        for record in carrying
        if record not in links
    }
    if missing:
        for row in await connection.fetch(sql("records", "links"), tenant.tenant_id, list(missing)):
            outside[row["record_id"]] = glue_keys(row["link_keys"])


def _renamed(assignment: Assignment, name: dict[int, int]) -> Assignment:
    """The assignment with placeholders replaced by the ids of the persons that were made."""
    return Assignment(
        {record: name.get(person, person) for record, person in assignment.person_of.items()},
        {gone: name.get(person, person) for gone, person in assignment.redirects.items()},
        tuple(msgspec.structs.replace(split, person=name.get(split.person, split.person)) for split in assignment.splits),
    )


# --- writing -----------------------------------------------------------------------------------------------------


async def _write(
    connection: Connection,
    tenant: Tenant,
    in_source: int,
    incoming: dict[int, Prepared],
    added: Collection[int],
    stored: Mapping[int, tuple[int, Sequence[bytes], bool]],
    now: datetime,
) -> None:
    """Writes records. stored: record -> (person, linking keys, whether it follows as a copy)."""

    def rows() -> Iterator[tuple[Any, ...]]:
        for record, one in incoming.items():
            yield (
                record, record in added, one.external_key, one.content_key, stored[record][0], one.keys, *stored[record][1:],
                one.wrapped_key, one.sealed, one.compared, one.last_seen, one.verified_at,
            )  # fmt: skip

    if len(added) == len(incoming) <= _FEW_RECORDS:
        one_each = [(tenant.tenant_id, in_source, now, row[0], *row[2:]) for row in rows()]
        await connection.executemany(sql("records", "insert_one"), one_each)
        keys = [(key, row[0]) for row in rows() for key in (*row[5], *row[6]) if len(key) != _NARROW_BYTES]
        if keys:
            texts, records = zip(*keys, strict=True)
            await connection.execute(sql("linking", "add_keys"), tenant.tenant_id, records, texts)
        return
    await connection.execute(sql("records", "incoming_table"))
    await connection.copy_records_to_table("incoming", records=rows(), columns=_COLUMNS, schema_name="pg_temp")
    if len(added) < len(incoming):
        await connection.execute(sql("records", "delete_changed_keys"), tenant.tenant_id)
        await connection.execute(sql("records", "insert_changed_keys"), tenant.tenant_id)
        await connection.execute(sql("records", "update_incoming"), tenant.tenant_id, now)
    if added:
        await connection.execute(sql("records", "insert_incoming"), tenant.tenant_id, in_source, now)
        await connection.execute(sql("records", "insert_keys"), tenant.tenant_id)


async def _note(
    connection: Connection, tenant: Tenant, change: Change, persons: _Persons, cause: str, now: datetime
) -> tuple[int, int]:
    """Moves the records that were there already, redirects persons, keeps the history; (persons merged, persons split)."""
    assignment, current = persons
    moved = {
        record: person
        for record, person in assignment.person_of.items()
        if record in current and current[record] != person and record not in change.links
    }
    splits = [(split.kept, split.person) for split in assignment.splits]
    await note_persons(connection, tenant, moved, assignment.redirects, splits, cause, now)
    return len(assignment.redirects), len(splits)
