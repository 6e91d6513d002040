"""Source records: applied in batches, and resolved into persons as they arrive.

A batch is one transaction, and one transaction at a time changes a tenant's records (an advisory lock), so that
arrivals from several programs cannot each glue half a person. The same record again changes nothing and is found out
before anything is written. What is written travels by COPY into a temporary table, because COPY into a table under
row-level security is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import msgspec

from firstring import limits
from firstring.identity.blocking import composite_key, identifier_keys, link_guards, link_keys
from firstring.identity.canonical import CanonicalRecord
from firstring.identity.clusters import Assignment
from firstring.store.database import Connection, Database, Tenant
from firstring.store.partition import Change, Membership, bounds, narrow_index, settle, shared_keys
from firstring.store.queries import sql
from firstring.store.ring import COMPOSITE
from firstring.store.seal import TenantKeys

SourceRecord: TypeAlias = CanonicalRecord
_BATCH_RECORDS_MAX = 20_000
_content = msgspec.json.Encoder(order="deterministic").encode
_COLUMNS = (
    "record_id", "fresh", "external_key", "content_key", "person_id", "keys", "link_keys", "wrapped_key", "sealed",
    "last_seen", "verified_at",
)  # fmt: skip


class Prepared(NamedTuple):
    """A source record as it is stored: keyed hashes and sealed payload, no plain value but two times."""

    external_key: bytes
    content_key: bytes
    keys: list[bytes]
    link_keys: list[bytes]
    wrapped_key: bytes
    sealed: bytes
    last_seen: datetime | None
    verified_at: datetime | None


class Applied(msgspec.Struct, frozen=True):
    """What a batch came to. merged and split count persons; record_ids are in the order of the records given."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    merged: int = 0
    split: int = 0
    record_ids: tuple[int, ...] = ()


def external_key(keys: TenantKeys, source: str, record_id: str) -> bytes:
    """The blind index of the source's own record id."""
    return keys.blind(f"record:{source}", record_id)


def prepare(keys: TenantKeys, source: str, record: SourceRecord) -> Prepared:
    """Hashes and seals one record: pure computation, for a thread of its own beside the database."""
    fields = record.fields
    blind = keys.blind
    found = [blind(identifier.kind, identifier.value) for identifier in identifier_keys(fields)]
    composite = composite_key(fields)
    if composite is not None:
        found.append(blind(COMPOSITE, composite))
    links = {text: blind("link", text) for text in link_keys(fields)}
    for wide, narrow in link_guards(fields).items():
        if narrow in links and wide in links:
            links[narrow] = narrow_index(links[wide], links[narrow])
    wrapped, sealed = keys.seal({**fields, "record_id": record.record_id})
    return Prepared(
        external_key(keys, source, record.record_id),
        blind(f"content:{source}", _content([record.record_id, fields]).decode()),
        found,
        list(links.values()),
        wrapped,
        sealed,
        record.time("last_seen"),
        record.time("verified_at"),
    )


async def apply_records(
    database: Database, tenant: Tenant, source: str, records: Sequence[SourceRecord], *, now: datetime
) -> Applied:
    """Inserts or updates at most limits.IMPORT_BATCH_RECORDS records of one source, in one durable transaction.

    Of several versions of one record the last counts. Safe to repeat. Raises Retryable as the database does.
    """
    prepared = [prepare(tenant.keys, source, record) for record in records]
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
    async with database.transaction(tenant.tenant_id) as connection:
        if write_behind:
            await connection.execute(sql("records", "write_behind"))
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        applied = await apply_in(connection, tenant, source, prepared, now=now)
        if also is not None:
            await also(connection, await source_id(connection, tenant, source, now), applied)
    return applied


async def source_id(connection: Connection, tenant: Tenant, source: str, now: datetime) -> int:
    """The id of a source, made at its first record."""
    found = await connection.fetchval(sql("records", "source"), tenant.tenant_id, source)
    if found is None:
        found = await connection.fetchval(sql("records", "add_source"), tenant.tenant_id, source, now)
    return int(found)


async def apply_in(
    connection: Connection, tenant: Tenant, source: str, prepared: Sequence[Prepared], *, now: datetime
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
        incoming = {**changed, **added}
        before = {row["record_id"]: row["link_keys"] for row in rows if row["record_id"] in changed}
        change = Change({record: prepared.link_keys for record, prepared in incoming.items()}, before)
        persons = await _resolve(connection, tenant, change, now)
        await _write(connection, tenant, in_source, incoming, added.keys(), persons, now)
        merged, split = await _note(connection, tenant, change, persons, f"records of {source}", now)
    return Applied(
        inserted=len(added),
        updated=len(changed),
        unchanged=len(prepared) - len(added) - len(changed),
        merged=merged,
        split=split,
        record_ids=tuple(ids[record.external_key] for record in prepared),
    )


async def delete_records(
    database: Database, tenant: Tenant, source: str, record_ids: Sequence[str], *, now: datetime
) -> Applied:
    """Deletes records, by the source's own ids, with their events. What only they held together comes apart."""
    wanted = [external_key(tenant.keys, source, record_id) for record_id in record_ids]
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        in_source = await source_id(connection, tenant, source, now)
        rows = await connection.fetch(sql("records", "existing"), tenant.tenant_id, in_source, wanted)
        before = {row["record_id"]: row["link_keys"] for row in rows}
        if not before:
            return Applied()
        change = Change({}, before, frozenset(before))
        persons = await _resolve(connection, tenant, change, now)
        for statement in ("delete_keys", "delete_events", "delete_records"):
            await connection.execute(sql("records", statement), tenant.tenant_id, list(before))
        merged, split = await _note(connection, tenant, change, persons, f"records deleted from {source}", now)
    return Applied(deleted=len(before), merged=merged, split=split)


# --- persons -----------------------------------------------------------------------------------------------------


class _Persons(NamedTuple):
    assignment: Assignment
    current: dict[int, int]


async def _resolve(connection: Connection, tenant: Tenant, change: Change, now: datetime) -> _Persons:
    """The persons after a change that is not written yet; new persons are made, nothing else is changed."""
    touched = change.touched()
    membership = Membership(change, await _members(connection, tenant, list(touched), bounds(touched)))
    members: dict[bytes, Any] = dict(membership.after)
    links: dict[int, Sequence[bytes]] = {}
    outside: dict[int, Sequence[bytes]] = {}
    current: dict[int, int] = {}
    if membership.reached:
        statement = sql("records", "records_of_same_persons")
        for row in await connection.fetch(statement, tenant.tenant_id, list(membership.reached)):
            if row["record_id"] not in change.gone:
                links[row["record_id"]] = row["link_keys"]
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


async def _members(connection: Connection, tenant: Tenant, keys: list[bytes], bound: list[int]) -> list[Any]:
    """(key, record) of these keys, for each key at least as many as there are or as `bound` says."""
    few = 4 * len(keys) + 1_000
    rows: list[Any] = await connection.fetch(sql("records", "few_members"), tenant.tenant_id, keys, few)
    if len(rows) == few:  # a hot value is among them
        rows = await connection.fetch(sql("records", "members"), tenant.tenant_id, keys, bound)
    return rows


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
        for key, record in await _members(connection, tenant, unknown, bound):
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
            outside[row["record_id"]] = row["link_keys"]


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
    added: Any,
    persons: _Persons,
    now: datetime,
) -> None:
    person_of = persons.assignment.person_of

    def rows() -> Iterator[tuple[Any, ...]]:
        for record, prepared in incoming.items():
            external, content, *rest = prepared
            yield record, record in added, external, content, person_of[record], *rest

    await connection.execute(sql("records", "incoming_table"))
    await connection.copy_records_to_table("incoming", records=rows(), columns=_COLUMNS, schema_name="pg_temp")
    changed = [record for record in incoming if record not in added]
    if changed:
        await connection.execute(sql("records", "delete_keys"), tenant.tenant_id, changed)
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
    if moved:
        await connection.execute(sql("records", "move_records"), tenant.tenant_id, list(moved), list(moved.values()))
    redirects = assignment.redirects
    if redirects:
        await connection.execute(sql("records", "redirect"), tenant.tenant_id, list(redirects), list(redirects.values()))
    history = [("merged", person, gone) for gone, person in redirects.items()]
    history += [("split", split.kept, split.person) for split in assignment.splits]
    if history:
        kinds, stays, others = zip(*history, strict=True)
        await connection.execute(sql("records", "note_change"), tenant.tenant_id, kinds, stays, others, cause, now)
    return len(redirects), len(assignment.splits)
