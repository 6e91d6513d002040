"""The moment in which a model version comes into force: one transaction under the applier's lock, and the keys around it.

Whoever changes records waits for it; who reads, and whoever rings, does not. Persons keep their ids where most of their
records stay together, the others redirect to who has them; the history says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count, islice
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.bulk.link import Progress
from firstring.bulk.rollin_report import Partition, overlap
from firstring.identity.clusters import assign
from firstring.identity.columns import compared
from firstring.store.database import Connection, Database, Tenant
from firstring.store.linkindex import COPY_KEY_BYTES, LINK_KEY_BYTES, Part, link_state
from firstring.store.linking import Arrival, Change, Context, parts_of, relink
from firstring.store.linkwrite import note_persons, remember, write_relinked
from firstring.store.models import ActiveModel, set_state
from firstring.store.queries import sql

BATCH_RECORDS: Final = 1_000
_MOVED: Final = 5_000
"""Records or persons that one statement changes."""
_STATEMENT_S: Final = 300.0


_T = TypeVar("_T")


def batched(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    """The items in order, so many at a time."""
    rest = iter(items)
    while part := tuple(islice(rest, size)):
        yield part


class Moves(NamedTuple):
    """What becomes of persons. person_of: of the records that change theirs; splits: (kept, split off)."""

    person_of: dict[int, int]
    redirects: dict[int, int]
    splits: list[tuple[int, int]]


# --- keys, before and after ----------------------------------------------------------------------------------------


async def spread_keys(database: Database, tenant: Tenant, told: Progress) -> None:
    """Gives records their keys under the version before it is in force, batch by batch; where none is in force yet.

    Under a version in force its keys decide, so that those of another wait for the switch.
    """
    async with database.transaction(tenant.tenant_id) as connection:
        if await connection.fetchval(sql("linking", "active_model"), tenant.tenant_id) is not None:
            return
        whole = int(await connection.fetchval(sql("models", "count_keys"), tenant.tenant_id))
    done = after = 0
    while True:
        async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
            ids = await _next_keys(connection, tenant, after)
            if not ids:
                return
            await _set_keys(connection, tenant, ids)
        after, done = ids[-1], done + len(ids)
        told("keys", done, whole)


async def cut_glue(database: Database, tenant: Tenant, told: Progress) -> None:
    """Takes away the keys by which records were glued before there was a version: nothing rests on them any more."""
    done = after = 0
    while True:
        async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
            rows = await connection.fetch(sql("models", "glued"), tenant.tenant_id, after, BATCH_RECORDS)
            if not rows:
                return
            ids = [row[0] for row in rows]
            for name in ("drop_glue_keys", "set_no_glue"):
                await connection.execute(sql("models", name), tenant.tenant_id, ids)
        after, done = ids[-1], done + len(ids)
        told("old keys", done, done)


async def _next_keys(connection: Connection, tenant: Tenant, after: int) -> list[int]:
    return [
        row[0] for row in await connection.fetch(sql("models", "rolled_key_ids"), tenant.tenant_id, after, BATCH_RECORDS)
    ]


async def _set_keys(connection: Connection, tenant: Tenant, ids: Sequence[int]) -> None:
    for name in ("drop_other_keys", "add_new_keys", "set_new_keys", "drop_rolled_keys"):
        await connection.execute(sql("models", name), tenant.tenant_id, ids, timeout=_STATEMENT_S)


# --- the switch ----------------------------------------------------------------------------------------------------


async def switch(database: Database, tenant: Tenant, active: ActiveModel, now: datetime, told: Progress) -> None:
    """Brings the version into force. Before, records have been linked under it and kept (bulk/rollin)."""
    cause = f"model {active.version}"
    told("switching", 0, 1)
    async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
        tenant_id = tenant.tenant_id
        await connection.execute(sql("records", "lock_applier"), tenant_id, timeout=_STATEMENT_S)
        after = 0
        while ids := await _next_keys(connection, tenant, after):
            await _set_keys(connection, tenant, ids)
            after = ids[-1]
        rolled = _array(await connection.fetch(sql("models", "rolled_records"), tenant_id, timeout=_STATEMENT_S), 4)
        present = _array(await connection.fetch(sql("models", "persons_now"), tenant_id, timeout=_STATEMENT_S), 2)
        seen, person = await _regroup(connection, tenant, rolled, present, cause, now)
        await _set_components(connection, tenant, seen[:, 2], person)
        await connection.execute(sql("models", "drop_all_held"), tenant_id)
        await connection.execute(sql("models", "keep_held"), tenant_id, now)
        await _link_touched(connection, tenant, active, cause, now)
        await set_state(connection, tenant, active.model_id, "active", now=now)
        for name in ("forget_records", "forget_keys", "forget_held", "forget_touched"):
            await connection.execute(sql("models", name), tenant_id, timeout=_STATEMENT_S)
        await connection.execute(sql("models", "tell_model"), tenant_id, "roll-in")
    told("switching", 1, 1)


def _array(rows: Iterable[Any], columns: int) -> NDArray[np.int64]:
    return np.array([tuple(row) for row in rows], np.int64).reshape(-1, columns)


async def _regroup(
    connection: Connection,
    tenant: Tenant,
    rolled: NDArray[np.int64],
    present: NDArray[np.int64],
    cause: str,
    now: datetime,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Moves records to their persons: (rows of `rolled` that are there, the person of each afterwards)."""
    present = present[np.argsort(present[:, 0])]
    rolled = rolled[np.isin(rolled[:, 0], present[:, 0])]
    current = present[np.searchsorted(present[:, 0], rolled[:, 0]), 1]
    placeholders = count(-1, -1)
    moves, made = await asyncio.to_thread(moves_of, rolled[:, 0], current, rolled[:, 1], lambda: next(placeholders))
    name: dict[int, int] = {}
    if made:
        rows = await connection.fetch(sql("records", "new_persons"), tenant.tenant_id, made, now)
        name = dict(zip(range(-1, -made - 1, -1), sorted(row[0] for row in rows), strict=True))
    person_of = {record: name.get(person, person) for record, person in moves.person_of.items()}
    redirects = {gone: name.get(person, person) for gone, person in moves.redirects.items()}
    splits = [(kept, name.get(person, person)) for kept, person in moves.splits]
    moved = np.array([person_of.get(record, -1) for record in rolled[:, 0].tolist()], np.int64)
    moved = np.where(moved >= 0, moved, current)
    unseen = present[~np.isin(present[:, 0], rolled[:, 0])]
    for record, before, kept in await _unseen(connection, tenant, unseen, redirects, moved, rolled[:, 3] > 0, now):
        person_of[record] = kept
        if before not in redirects:
            splits.append((before, kept))
    for part in batched(person_of.items(), _MOVED):
        await note_persons(connection, tenant, dict(part), {}, [], cause, now)
    for some in batched(redirects.items(), _MOVED):
        await note_persons(connection, tenant, {}, dict(some), [], cause, now)
    for several in batched(splits, _MOVED):
        await note_persons(connection, tenant, {}, {}, several, cause, now)
    return rolled, moved


async def _unseen(
    connection: Connection,
    tenant: Tenant,
    unseen: NDArray[np.int64],
    redirects: Mapping[int, int],
    person: NDArray[np.int64],
    is_copy: NDArray[np.bool_],
    now: datetime,
) -> list[tuple[int, int, int]]:
    """Records that the version has not seen and that change their person: (record, person before, person).

    They stay with what most of their person becomes, until they are linked; but not with a record that follows as a copy
    and is a person of its own, which nothing but its first copies can move.
    """
    alone = np.setdiff1d(person[is_copy], person[~is_copy])
    moves = [(int(record), int(before), redirects.get(int(before), int(before))) for record, before in unseen]
    followers = set(alone.tolist())
    homeless = [place for place, (_, _, kept) in enumerate(moves) if kept in followers]
    if homeless:
        rows = await connection.fetch(sql("records", "new_persons"), tenant.tenant_id, len(homeless), now)
        for place, made in zip(homeless, sorted(row[0] for row in rows), strict=True):
            moves[place] = (*moves[place][:2], made)
    return [one for one in moves if one[1] != one[2]]


def moves_of(
    records: NDArray[np.int64], current: NDArray[np.int64], group: NDArray[np.int64], new_id: Callable[[], int]
) -> tuple[Moves, int]:
    """What becomes of the persons when records are grouped anew; and how many ids were made.

    Only persons that merge or come apart are looked at one by one: they are few.
    """
    found = overlap(Partition(current, group))
    changed = found.several_then | found.several_now
    # A person that comes apart drags the groups it falls into along, and these their other persons.
    chosen = np.isin(group, found.then[changed])
    parts: dict[int, list[int]] = {}
    for record, one in zip(records[chosen].tolist(), group[chosen].tolist(), strict=True):
        parts.setdefault(one, []).append(record)
    before = dict(zip(records[chosen].tolist(), current[chosen].tolist(), strict=True))
    made = 0

    def counted() -> int:
        nonlocal made
        made += 1
        return new_id()

    assignment = assign([frozenset(part) for part in parts.values()], before, counted)
    person_of = {record: person for record, person in assignment.person_of.items() if before[record] != person}
    splits = [(split.kept, split.person) for split in assignment.splits]
    return Moves(person_of, assignment.redirects, splits), made


async def _set_components(
    connection: Connection, tenant: Tenant, component: NDArray[np.int64], person: NDArray[np.int64]
) -> None:
    """Gives persons their components: the smallest of several persons, none of one alone."""
    both = np.unique(np.stack((component, person), axis=1), axis=0)
    first, size = np.unique(both[:, 0], return_index=True, return_counts=True)[1:] if len(both) else (both, both)
    smallest = np.repeat(both[first, 1], size) if len(both) else np.zeros(0, np.int64)
    several = np.repeat(size, size) > 1 if len(both) else np.zeros(0, bool)
    wanted = dict(zip(both[several, 1].tolist(), smallest[several].tolist(), strict=True)) if len(both) else {}
    known = {row["person_id"]: row["component_id"] for row in
             await connection.fetch(sql("models", "components_now"), tenant.tenant_id)}  # fmt: skip
    change: dict[int, int | None] = {one: which for one, which in wanted.items() if known.get(one) != which}
    change |= {one: None for one in known if one not in wanted}
    for part in batched(change.items(), _MOVED):
        persons, components = zip(*part, strict=True)
        await connection.execute(sql("linking", "set_components"), tenant.tenant_id, persons, components)


# --- what changed meanwhile ------------------------------------------------------------------------------------------


class _Touched(NamedTuple):
    """A record that came, changed or went. keys: under the version, of what it was when that saw it."""

    row: Mapping[str, Any]
    keys: tuple[bytes, ...]

    @property
    def record_id(self) -> int:
        return int(self.row["record_id"])


async def _link_touched(connection: Connection, tenant: Tenant, active: ActiveModel, cause: str, now: datetime) -> None:
    """Links by the online engine what changed since it was read: from the state that the version saw to the present one."""
    rows = await connection.fetch(sql("models", "touched"), tenant.tenant_id)
    touched = [_Touched(row, _keys_seen(row)) for row in rows if row["is_there"] or row["was_seen"]]
    context = Context(active, True)
    await _as_seen(connection, tenant, touched)
    around = await _around(connection, tenant, active.model_id, touched)
    for part in [*batched(touched, BATCH_RECORDS)] or ([()] if around else []):
        arrivals = {one.record_id: _arrival(tenant, active, one.row) for one in part if one.row["is_there"]}
        there = await parts_of(connection, tenant, arrivals)
        gone = {
            one.record_id: Part(one.record_id, 0, one.row["external_key"], b"", one.keys, bool(one.row["was_copy"]))
            for one in part
            if not one.row["is_there"]
        }
        also = await parts_of(connection, tenant, around - arrivals.keys())
        around = set()  # once is enough
        relinked = await relink(connection, tenant, context, Change(arrivals, {**there, **gone}, frozenset(gone), also), now)
        await _write(connection, tenant, part, {r: (relinked.person_of[r], *relinked.link_keys[r]) for r in arrivals})
        remember(tenant, arrivals)
        await write_relinked(connection, tenant, relinked, arrivals.keys(), cause, now)


def _keys_seen(row: Mapping[str, Any]) -> tuple[bytes, ...]:
    if not row["was_seen"]:
        return ()
    keys = row["touched_keys"] if row["rolled_keys"] is None else row["rolled_keys"]
    return tuple(key for key in keys if len(key) in (LINK_KEY_BYTES, COPY_KEY_BYTES))


async def _as_seen(connection: Connection, tenant: Tenant, touched: Sequence[_Touched]) -> None:
    """Puts the keys of what changed back to what the version saw, also of what is gone."""
    cut = [(one.record_id, key) for one in touched for key in one.row["link_keys"] or ()]
    put = [(one.record_id, key) for one in touched for key in one.keys]
    await _each(connection, tenant, "cut_keys", cut)
    await _each(connection, tenant, "put_keys", put)
    there = [one for one in touched if one.row["is_there"]]
    parts = await parts_of(connection, tenant, [one.record_id for one in there])
    stored = {one.record_id: (parts[one.record_id].person_id, one.keys, bool(one.row["was_copy"])) for one in there}
    await _set_linked(connection, tenant, stored)


async def _around(connection: Connection, tenant: Tenant, model_id: int, touched: Sequence[_Touched]) -> set[int]:
    """Records of the components that a record has left for good, and those that people have decided about since."""
    gone = [one.row["component_id"] for one in touched if not one.row["is_there"]]
    rows = await connection.fetch(sql("models", "records_of_components"), tenant.tenant_id, gone) if gone else []
    return {row[0] for row in rows} | await _decided_since(connection, tenant, model_id)


async def _decided_since(connection: Connection, tenant: Tenant, model_id: int) -> set[int]:
    """Records about which people have decided, or no longer do, since all were linked."""
    now = {row["decision_id"] for row in await connection.fetch(sql("models", "decisions"), tenant.tenant_id)}
    then = msgspec.json.decode(await connection.fetchval(sql("models", "decisions_then"), tenant.tenant_id, model_id))
    rows = await connection.fetch(sql("models", "records_decided"), tenant.tenant_id, [*now.symmetric_difference(then)])
    return {row[0] for row in rows}


def _arrival(tenant: Tenant, active: ActiveModel, row: Mapping[str, Any]) -> Arrival:
    values = compared(tenant.keys.open(row["wrapped_key"], row["sealed"]) or {})
    state = link_state(tenant.keys, active, values, row["external_key"])
    return Arrival(row["external_key"], row["content_key"], values, state)


async def _write(
    connection: Connection,
    tenant: Tenant,
    part: Sequence[_Touched],
    stored: Mapping[int, tuple[int, Sequence[bytes], bool]],
) -> None:
    """The records as they are linked now."""
    await _each(connection, tenant, "cut_keys", [(one.record_id, key) for one in part for key in one.keys])
    await _each(connection, tenant, "put_keys", [(record, key) for record, (_, keys, _) in stored.items() for key in keys])
    await _set_linked(connection, tenant, stored)


async def _each(connection: Connection, tenant: Tenant, statement: str, pairs: Sequence[tuple[int, bytes]]) -> None:
    for some in batched(pairs, _MOVED):
        records, keys = zip(*some, strict=True)
        await connection.execute(sql("models", statement), tenant.tenant_id, records, keys)


async def _set_linked(
    connection: Connection, tenant: Tenant, stored: Mapping[int, tuple[int, Sequence[bytes], bool]]
) -> None:
    for some in batched(stored.items(), BATCH_RECORDS):
        flat = [(record, key) for record, (_, keys, _) in some for key in keys]
        await connection.execute(
            sql("models", "set_linked"),
            tenant.tenant_id,
            [record for record, _ in some],
            [is_copy for _, (_, _, is_copy) in some],
            [person for _, (person, _, _) in some],
            [record for record, _ in flat],
            [key for _, key in flat],
        )
