"""What stewards decide about records: these two are one person, or are not. It holds through every version of a model.

A decision names records by their source and its own id, so that it holds for records that are deleted and come again.
What rests on it is linked anew in the same transaction. Two decisions that contradict one another are never both alive.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from firstring.errors import BadInput
from firstring.identity.persons.linking import likely_between
from firstring.identity.persons.linkkeys import bounds
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.linkindex import Part, entries_of
from firstring.store.identity.linking import Change, linking_context, relink
from firstring.store.identity.linkwrite import write_relinked
from firstring.store.identity.settling import settle
from firstring.store.queries import sql

Kind = Literal["must", "cannot"]
RecordName = tuple[str, str]
"""(source, the source's own record id)."""
LISTED: Final = 1_000


class Decision(msgspec.Struct, frozen=True):
    """A decision. left_record, right_record: ids of the records, where they are there now."""

    decision_id: int
    kind: Kind
    left_source: str
    left_record: int | None
    right_source: str
    right_record: int | None
    made_by: str
    reason: str
    made_at: datetime
    revoked_by: str | None = None
    revoked_reason: str | None = None
    revoked_at: datetime | None = None


class Decided(msgspec.Struct, frozen=True):
    """What a decision came to: its id (ids, of an un-merge), persons merged and split by it."""

    decision_ids: tuple[int, ...]
    merged: int = 0
    split: int = 0


class _Named(NamedTuple):
    """A record in the store, and its source."""

    part: Part
    source_id: int


async def decide_link(
    database: Database,
    tenant: Tenant,
    kind: Kind,
    left: RecordName,
    right: RecordName,
    *,
    by: str,
    reason: str,
    now: datetime,
) -> Decided:
    """Decides that two records are one person (must) or are not (cannot).

    The same decision again is the one that lives. Raises BadInput unknown_record (404), decision_same_record,
    reason_missing, decisions_contradict (409).
    """
    _say_who_and_why(by, reason)
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        one, other = [await _named(connection, tenant, name) for name in (left, right)]
        return await decide_in(
            connection, tenant, kind, (one.part.record_id, other.part.record_id), by=by, reason=reason, now=now
        )


async def decide_in(
    connection: Connection,
    tenant: Tenant,
    kind: Kind,
    records: tuple[int, int],
    *,
    by: str,
    reason: str,
    now: datetime,
) -> Decided:
    """As decide_link, for records by their ids, in a transaction that holds the applier's lock."""
    return await decide_all(connection, tenant, kind, [records], by=by, reason=reason, now=now)


async def decide_all(
    connection: Connection,
    tenant: Tenant,
    kind: Kind,
    pairs: Sequence[tuple[int, int]],
    *,
    by: str,
    reason: str,
    now: datetime,
) -> Decided:
    """As decide_in, for several pairs at once: what rests on them is linked anew once."""
    _say_who_and_why(by, reason)
    ids: list[int] = []
    parts: dict[int, Part] = {}
    for records in pairs:
        one, other = [await _by_id(connection, tenant, record) for record in records]
        if one.part.record_id == other.part.record_id:
            raise BadInput("decision_same_record", "A record is always one person with itself.", hint="Name two records.")
        pair = {one.part.external_key, other.part.external_key}
        living = await _living(connection, tenant, pair)
        same = [row for row in living if row["kind"] == kind and {row["left_key"], row["right_key"]} == pair]
        if same:
            ids.append(same[0]["decision_id"])
            continue
        await _refuse_contradiction(connection, tenant, kind, one.part.external_key, other.part.external_key)
        ids += await _add(connection, tenant, kind, [(one, other)], by, reason, now)
        parts |= {named.part.record_id: named.part for named in (one, other)}
    if not parts:
        return Decided(tuple(ids))
    return Decided(tuple(ids), *await _relink(connection, tenant, list(parts.values()), f"decision {ids[0]}: {kind}", now))


async def revoke_decision(
    database: Database, tenant: Tenant, decision_id: int, *, by: str, reason: str, now: datetime
) -> Decided:
    """Takes a decision back: what rested on it comes undone. Raises BadInput unknown_decision (404), decision_revoked."""
    _say_who_and_why(by, reason)
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        row = await connection.fetchrow(sql("linking", "decision"), tenant.tenant_id, decision_id)
        where = {"decision": decision_id}
        if row is None:
            raise BadInput("unknown_decision", "There is no such decision.", where=where, http_status=404)
        if row["revoked_at"] is not None:
            raise BadInput("decision_revoked", "The decision was taken back before.", where=where, http_status=409)
        await connection.execute(sql("linking", "revoke_decision"), tenant.tenant_id, decision_id, by, reason, now)
        parts = []
        for side in ("left", "right"):
            key = (row[f"{side}_source"], row[f"{side}_key"])
            there = await connection.fetchrow(sql("linking", "record_by_key"), tenant.tenant_id, *key)
            if there is not None:
                parts.append(_as_named(there).part)
        cause = f"decision {decision_id} revoked"
        return Decided((decision_id,), *await _relink(connection, tenant, parts, cause, now))


async def decisions_of(
    database: Database, tenant: Tenant, person: int | None = None, *, revoked: bool = False, last: int = LISTED
) -> list[Decision]:
    """Decisions about records of a person, or all, the newest first."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("linking", "decisions"), tenant.tenant_id, person, revoked, last)
    return [Decision(**dict(row)) for row in rows]


async def unmerge(
    database: Database, tenant: Tenant, person: int, records: Collection[int], *, by: str, reason: str, now: datetime
) -> Decided:
    """Parts records (by id) from the rest of their person: as if the two had never been merged.

    Every likely pair across becomes a cannot-link. Raises BadInput unknown_record (404) where a record is not of the
    person, unmerge_nothing, no_model, decisions_contradict (409), unmerge_copies (409).
    """
    _say_who_and_why(by, reason)
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        await settle_first(connection, tenant, records, now)
        rows = await connection.fetch(sql("linking", "records_of_person"), tenant.tenant_id, person)
        there = {row["record_id"]: _as_named(row) for row in rows}
        apart = set(records)
        if not apart <= there.keys():
            missing = min(apart - there.keys())
            raise _unknown_record({"record": missing, "person": person}, "A record is not of this person.")
        if not apart or apart == there.keys():
            raise BadInput("unmerge_nothing", "There is nothing to part.", hint="Name some, but not all, of its records.")
        pairs = await _likely_across(connection, tenant, there, apart, now)
        await _refuse_joined(connection, tenant, there, apart)
        ids = await _add(connection, tenant, "cannot", [(there[one], there[other]) for one, other in pairs], by, reason, now)
        parts = [there[record].part for record in sorted({record for pair in pairs for record in pair})]
        done = await _relink(connection, tenant, parts, f"un-merged from {person}", now)
        await _refuse_mixed(connection, tenant, there, apart)
    return Decided(ids, *done)


# --- what is refused -----------------------------------------------------------------------------------------------


def _say_who_and_why(by: str, reason: str) -> None:
    if not by.strip() or not reason.strip():
        raise BadInput("reason_missing", "A decision says who made it and why.", hint="Give both.")


def _unknown_record(where: dict[str, Any], message: str = "There is no such record.") -> BadInput:
    return BadInput("unknown_record", message, where=where, http_status=404)


async def _refuse_contradiction(connection: Connection, tenant: Tenant, kind: Kind, left: bytes, right: bytes) -> None:
    """A cannot-link between records that must-links join, over any number of records; or the other way round."""
    joined, path = await _joined(connection, tenant, left)
    if kind == "cannot":
        if right in joined:
            raise _contradiction(path[right], "are one person by")
        return
    others, _ = await _joined(connection, tenant, right)
    for row in await _living(connection, tenant, joined | others):
        if row["kind"] == "cannot":
            sides = {row["left_key"], row["right_key"]}
            if sides & joined and sides & others:
                raise _contradiction(row["decision_id"], "are two persons by")


async def _refuse_joined(connection: Connection, tenant: Tenant, there: dict[int, _Named], apart: set[int]) -> None:
    inside = {there[record].part.external_key for record in apart}
    outside = {named.part.external_key for record, named in there.items() if record not in apart}
    seen: set[bytes] = set()
    for row in await _living(connection, tenant, inside):
        for key in {row["left_key"], row["right_key"]} & inside - seen:
            joined, path = await _joined(connection, tenant, key)
            seen |= joined
            if joined & outside:
                raise _contradiction(path[min(joined & outside)], "are one person by")


def _contradiction(decision_id: int, what: str) -> BadInput:
    return BadInput(
        "decisions_contradict",
        f"Records {what} decision {decision_id}.",
        where={"decision": decision_id},
        hint="Revoke that decision first, if it was wrong.",
        http_status=409,
    )


async def _refuse_mixed(connection: Connection, tenant: Tenant, there: dict[int, _Named], apart: set[int]) -> None:
    rows = await connection.fetch(sql("linking", "persons_of"), tenant.tenant_id, list(there))
    persons = {row["record_id"]: row["person_id"] for row in rows}
    if {persons[record] for record in apart} & {persons[record] for record in there.keys() - apart}:
        raise BadInput(
            "unmerge_copies",
            "Records of the same content cannot be parted: nothing would tell where the next one belongs.",
            hint="Part all records of one content together.",
            http_status=409,
        )


# --- reading and writing -------------------------------------------------------------------------------------------


async def _named(connection: Connection, tenant: Tenant, name: RecordName) -> _Named:
    source, record_id = name
    source_id = await connection.fetchval(sql("records", "source"), tenant.tenant_id, source)
    row = None
    if source_id is not None:
        key = tenant.keys.blind(f"record:{source}", record_id)
        row = await connection.fetchrow(sql("linking", "record_by_key"), tenant.tenant_id, source_id, key)
    if row is None:
        raise _unknown_record({"source": source, "record": record_id})
    return _as_named(row)


async def _by_id(connection: Connection, tenant: Tenant, record: int) -> _Named:
    row = await connection.fetchrow(sql("linking", "record_by_id"), tenant.tenant_id, record)
    if row is None:
        raise _unknown_record({"record": record})
    return _as_named(row)


def _as_named(row: Any) -> _Named:
    return _Named(Part(*(row[name] for name in Part._fields)), row["source_id"])


async def _living(connection: Connection, tenant: Tenant, external_keys: Collection[bytes]) -> list[Any]:
    rows: list[Any] = await connection.fetch(sql("linking", "decisions_of_keys"), tenant.tenant_id, list(external_keys))
    return rows


async def _joined(connection: Connection, tenant: Tenant, start: bytes) -> tuple[set[bytes], dict[bytes, int]]:
    """The records that must-links join with one, whether they are there or not; by which decision each was reached."""
    found, path = {start}, {start: 0}
    frontier = {start}
    while frontier:
        reached: set[bytes] = set()
        for row in await _living(connection, tenant, frontier):
            if row["kind"] == "must":
                for key in {row["left_key"], row["right_key"]} - found:
                    path[key] = row["decision_id"]
                    reached.add(key)
        found |= reached
        frontier = reached
    return found, path


async def settle_first(connection: Connection, tenant: Tenant, records: Collection[int], now: datetime) -> bool:
    """Under a version that came into force a moment ago, records come to its persons first; whether that was needed."""
    context = await linking_context(connection, tenant, now)
    if context is None or not context.settling:
        return False
    await settle(connection, tenant, context.active.version, records, now)
    return True


async def _likely_across(
    connection: Connection, tenant: Tenant, there: dict[int, _Named], apart: set[int], now: datetime
) -> list[tuple[int, int]]:
    """The likely pairs of records that take part, one of `apart` and one not."""
    context = await linking_context(connection, tenant, now)
    if context is None:
        raise BadInput("no_model", "Records are not linked by a model yet.", hint="Train one: firstring train --store.")
    entries = await entries_of(
        connection, tenant, context.active, [one.part for one in there.values() if not one.part.is_copy]
    )
    most = bounds(context.active.model.spec)
    keys = {key for record, entry in entries.items() if record in apart for key in entry.keys}
    rows = await connection.fetch(sql("linking", "holders"), tenant.tenant_id, list(keys), max(most) + 1)
    hot = {row["key"] for row in rows if row["holders"] > most[row["key"][0]]}
    return likely_between(entries, apart & entries.keys(), hot, context.active)


async def _add(
    connection: Connection,
    tenant: Tenant,
    kind: Kind,
    pairs: Sequence[tuple[_Named, _Named]],
    by: str,
    reason: str,
    now: datetime,
) -> tuple[int, ...]:
    rows = await connection.fetch(
        sql("linking", "add_decision"), tenant.tenant_id, [kind] * len(pairs),
        [one.source_id for one, _ in pairs], [one.part.external_key for one, _ in pairs],
        [other.source_id for _, other in pairs], [other.part.external_key for _, other in pairs], by, reason, now,
    )  # fmt: skip
    return tuple(row[0] for row in rows)


async def _relink(
    connection: Connection, tenant: Tenant, parts: Sequence[Part], cause: str, now: datetime
) -> tuple[int, int]:
    """Links anew what rests on records about which something was decided; without a model nothing does yet."""
    context = await linking_context(connection, tenant, now)
    if context is None or not parts:
        return 0, 0
    change = Change({}, {}, also={part.record_id: part for part in parts})
    relinked = await relink(connection, tenant, context, change, now)
    return await write_relinked(connection, tenant, relinked, (), cause, now)
