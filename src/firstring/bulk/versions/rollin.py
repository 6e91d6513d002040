"""`firstring model roll-in`: a version is brought into force beside a running server.

All records are read and linked under the version while the one in force goes on deciding; what comes, changes or goes
meanwhile is noted by the schema (0006). A report says what would merge and split. Only then, in one transaction
(bulk/versions/switch), the persons are moved and what was noted is linked by the online engine. A crash before that
transaction commits leaves everything as it was, and the same command goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.bulk.linking.link import Progress
from firstring.bulk.versions.listing import Version, find_version
from firstring.bulk.versions.relinking import Persons, relink
from firstring.bulk.versions.report import Partition, Report, report
from firstring.bulk.versions.storelink import Opened, Stored, read_store
from firstring.bulk.versions.switch import cut_early, finish, forget, spread_keys, switch
from firstring.bulk.versions.training import note_report
from firstring.errors import BadInput, Retryable
from firstring.identity.persons.clustering import connected
from firstring.ports import Clock
from firstring.store.database import Connection, Database, Tenant, connect
from firstring.store.identity.linkindex import COPY_KEY_BYTES, LINK_KEY_BYTES, link_state
from firstring.store.identity.models import ActiveModel, model_of, set_state
from firstring.store.queries import sql

TOUCHED_MAX: Final = 5_000
"""Records that are linked one by one when the version takes effect; with more, all are linked in bulk once more."""
_READ_AGAIN: Final = 5
_ROWS: Final = 20_000


class RolledIn(NamedTuple):
    """report: None where the version is in force already. in_force: whether it is now."""

    version: Version
    report: Report | None
    in_force: bool


async def roll_in(
    database: Database,
    tenant: Tenant,
    named: str,
    *,
    yes: bool,
    threshold: float | None,
    memory_mb: int,
    clock: Clock,
    told: Progress,
    again: bool = False,
) -> RolledIn:
    """Brings a version into force, or with yes=False says what that would do, and keeps the work for when it is wanted.

    again: also a version that is in force is linked anew. Raises BadInput unknown_model, threshold_invalid,
    model_rolling (another is being rolled in); Retryable roll_in_running.
    """
    async with _alone(database, tenant):
        await finish(database, tenant, clock, told)  # an earlier run may have been ended before it came to this
        version = await _begin(database, tenant, named, threshold, again, clock)
        if version.state == "active":
            return RolledIn(version, None, True)
        async with database.transaction(tenant.tenant_id) as connection:
            active = await model_of(connection, tenant, version.number)
        found = await _linked(database, tenant, active, version, memory_mb, told)
        if not yes:
            return RolledIn(version, found, False)
        for _ in range(_READ_AGAIN):
            if await _count_touched(database, tenant) <= TOUCHED_MAX:
                break
            found = await _link_all(database, tenant, active, memory_mb, told)
        late = await spread_keys(database, tenant, active, clock, told)
        await switch(database, tenant, active, late, clock.now())
        await finish(database, tenant, clock, told)
        return RolledIn(version, found, True)


async def finish_left(database: Database, tenant: Tenant, clock: Clock, *, within_s: float) -> bool:
    """Does what a program that was ended has left to do after its switch; whether nothing is left, or somebody is at it."""
    try:
        async with _alone(database, tenant):
            return await finish(database, tenant, clock, lambda *_: None, within_s=within_s)
    except Retryable as error:
        if error.code != "roll_in_running":
            raise
        return True


async def retire(database: Database, tenant: Tenant, named: str, *, clock: Clock) -> Version:
    """Retires a version that is not in force; one that is being rolled in is given up. Raises BadInput model_in_force."""
    async with _alone(database, tenant):
        async with database.transaction(tenant.tenant_id) as connection:
            version = await find_version(connection, tenant, named)
            active = await model_of(connection, tenant, version.number)
        if version.state == "active":
            raise BadInput(
                "model_in_force",
                "The version decides who is one person now.",
                where={"version": version.version},
                hint="Roll in another one; this one is retired by it.",
            )
        if version.state == "rolling":
            await cut_early(database, tenant, active)
        async with database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
            if version.state == "rolling":
                await connection.execute(sql("models", "drop_report"), tenant.tenant_id, version.number, "rolling")
            await set_state(connection, tenant, version.number, "retired", now=clock.now())
        if version.state == "rolling":
            async with database.transaction(tenant.tenant_id) as connection:
                await forget(connection, tenant)
    return msgspec.structs.replace(version, state="retired")


# --- beginning -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _alone(database: Database, tenant: Tenant) -> AsyncIterator[None]:
    """Nobody else rolls in a version of this tenant meanwhile; a program that dies is out of the way at once."""
    session = await connect(database.arguments)
    try:
        if not await session.fetchval(sql("models", "try_rolling_lock"), tenant.tenant_id):
            raise Retryable(
                "roll_in_running", "Another program rolls in a version of this tenant.", hint="Wait for it to end."
            )
        yield
    finally:
        await session.close()


async def _begin(
    database: Database, tenant: Tenant, named: str, threshold: float | None, again: bool, clock: Clock
) -> Version:
    """The version, rolling from now on: whatever changes is noted. One that is in force is given back as it is."""
    if threshold is not None and not 0.0 < threshold < 1.0:
        raise BadInput("threshold_invalid", "A threshold lies between 0 and 1.", where={"argument": "threshold"})
    async with database.transaction(tenant.tenant_id) as connection:
        # Under the lock: who changed records before has committed, who comes later finds the version rolling.
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        version = await find_version(connection, tenant, named)
        rolling = await connection.fetchval(sql("models", "rolling"), tenant.tenant_id)
        other = threshold is not None and abs(threshold - version.threshold) > 1e-6
        if version.state == "active" and not other and not again:
            return version
        if rolling is not None and (rolling != version.number or other):
            raise BadInput(
                "model_rolling",
                "Another version, or another threshold, is being rolled in.",
                where={"number": rolling},
                hint=f"Finish it, or give it up: firstring model retire {rolling}.",
            )
        if other or version.state == "active":
            wanted = version.threshold if threshold is None else threshold
            copy = await connection.fetchval(sql("models", "copy_model"), tenant.tenant_id, version.number, wanted)
            version = await find_version(connection, tenant, str(copy))
        if rolling is None:
            await forget(connection, tenant)
            await connection.execute(sql("models", "drop_report"), tenant.tenant_id, version.number, "rolling")
            await set_state(connection, tenant, version.number, "rolling", now=clock.now())
            version = await find_version(connection, tenant, str(version.number))
    return version


async def _count_touched(database: Database, tenant: Tenant) -> int:
    async with database.transaction(tenant.tenant_id) as connection:
        return int(await connection.fetchval(sql("models", "count_touched"), tenant.tenant_id))


# --- linking all records ---------------------------------------------------------------------------------------------


async def _linked(
    database: Database, tenant: Tenant, active: ActiveModel, version: Version, memory_mb: int, told: Progress
) -> Report:
    """The report; what an earlier run has linked is not linked again."""
    rolling = version.report.get("rolling")
    if rolling is not None and await _count_touched(database, tenant) <= TOUCHED_MAX:
        return msgspec.convert(rolling, Report)
    return await _link_all(database, tenant, active, memory_mb, told)


async def _link_all(database: Database, tenant: Tenant, active: ActiveModel, memory_mb: int, told: Progress) -> Report:
    await cut_early(database, tenant, active)
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("models", "drop_report"), tenant.tenant_id, active.model_id, "rolling")
        await forget(connection, tenant)
    async with database.transaction(tenant.tenant_id) as connection:
        # Under the lock: what changed before has been committed, and is read; what changes later is noted.
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        await connection.execute(sql("models", "forget_touched"), tenant.tenant_id)
        last_id = await connection.fetchval(sql("models", "last_record"), tenant.tenant_id)
        decisions = await connection.fetch(sql("models", "decisions"), tenant.tenant_id)
        in_force = sorted(row["decision_id"] for row in decisions)
        await note_report(connection, tenant, active.model_id, {"decisions": in_force})
    named = {row[side] for row in decisions for side in ("left_id", "right_id")} - {None}
    pairs: dict[str, list[tuple[int, int]]] = {"must": [], "cannot": []}
    for row in decisions:
        if row["left_id"] is not None and row["right_id"] is not None:
            pairs[row["kind"]].append((row["left_id"], row["right_id"]))

    async def batch(connection: Connection, opened: Sequence[Opened]) -> Mapping[int, bool]:
        return await _keyed(connection, tenant, active, opened)

    stored = await read_store(
        database,
        tenant,
        statistics=active.statistics,
        last_id=last_id,
        decided=named,
        batch=batch,
        told=lambda done, whole: told("reading", done, whole),
    )
    persons = await asyncio.to_thread(relink, stored, active, pairs["must"], pairs["cannot"], memory_mb=memory_mb, told=told)
    return await _keep(database, tenant, active, stored, persons, told)


async def _keyed(connection: Connection, tenant: Tenant, active: ActiveModel, opened: Sequence[Opened]) -> dict[int, bool]:
    """Keeps the linking keys of records that have others so far.

    The records that nobody touched since they were read, and whether each has a linking key.
    """
    ids = [record.record_id for record in opened]
    touched = {row[0] for row in await connection.fetch(sql("models", "touched_among"), tenant.tenant_id, ids)}
    wanted = [record for record in opened if record.record_id not in touched]
    states = await asyncio.to_thread(
        lambda: [link_state(tenant.keys, active, record.values, record.external_key, record.content) for record in wanted]
    )
    flat: list[tuple[int, bytes]] = []
    for record, state in zip(wanted, states, strict=True):
        keys = [*state.keys, state.copy_key] if state.copy_key else []
        if {key for key in record.link_keys if len(key) in (LINK_KEY_BYTES, COPY_KEY_BYTES)} != set(keys):
            flat += [(record.record_id, key) for key in keys or [b""]]
    if flat:
        records, keys_flat = zip(*flat, strict=True)
        await connection.execute(sql("models", "add_rolled_keys"), tenant.tenant_id, records, keys_flat)
    return {record.record_id: bool(state.copy_key) for record, state in zip(wanted, states, strict=True)}


async def _keep(
    database: Database, tenant: Tenant, active: ActiveModel, stored: Stored, persons: Persons, told: Progress
) -> Report:
    """Keeps what linking came to, and the report."""
    ids = stored.record_ids
    follows = np.ones(len(ids), bool)
    follows[stored.kept] = False
    whole = len(ids)
    region = await asyncio.to_thread(_regions, stored, persons, follows)
    for start in range(0, whole, _ROWS):
        part = slice(start, start + _ROWS)
        rows = (ids[part], ids[persons.person[part]], ids[persons.component[part]], ids[region[part]], follows[part])
        async with database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("models", "add_rolled_records"), tenant.tenant_id, *(one.tolist() for one in rows))
            copies = ids[part][follows[part]].tolist()
            if copies:
                await connection.execute(sql("models", "trim_copies"), tenant.tenant_id, copies)
        told("keeping", min(start + _ROWS, whole), whole)
    async with database.transaction(tenant.tenant_id) as connection:
        if persons.held:
            await connection.execute(sql("models", "add_rolled_held"), tenant.tenant_id, *_held(ids, persons))
        now = await connection.fetch(sql("models", "persons_now"), tenant.tenant_id)
        found = await asyncio.to_thread(_reported, stored, persons, now, active.version)
        await note_report(connection, tenant, active.model_id, {"rolling": msgspec.to_builtins(found)})
    return found


def _regions(stored: Stored, persons: Persons, follows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of every record the first one of its region: components, joined by contents of which copies follow."""
    several = np.isin(stored.first, stored.first[follows])
    ones = persons.component[several]
    others = persons.component[stored.kept[stored.first[several]]]
    root = connected(len(persons.component), ones.tolist(), others.tolist())
    return np.array(root, np.int64)[persons.component]


def _held(ids: Any, persons: Persons) -> tuple[list[int], list[int], list[str], list[float]]:
    best: dict[tuple[int, int], tuple[float, str]] = {}
    for one, other, code, odds in persons.held:
        pair = (int(ids[one]), int(ids[other]))
        best[pair] = max(best.get(pair, (-np.inf, "")), (odds, code))
    left, right = ([pair[side] for pair in best] for side in (0, 1))
    probabilities = [float(1.0 / (1.0 + np.exp(-min(max(odds, -700.0), 700.0)))) for odds, _ in best.values()]
    return left, right, [code for _, code in best.values()], probabilities


def _reported(stored: Stored, persons: Persons, now: Sequence[Any], version: str) -> Report:
    present = np.array([tuple(row) for row in now], np.int64).reshape(-1, 2)
    present = present[np.argsort(present[:, 0])]
    place = np.searchsorted(present[:, 0], stored.record_ids)
    there = place < len(present)
    there[there] = present[place[there], 0] == stored.record_ids[there]
    both = Partition(present[place[there], 1], stored.record_ids[persons.person[there]])
    return report(both, version, len(persons.held))
