"""A model version comes into force: a short transaction under the applier's lock, and the work before and after it.

Before, record by record, keys under the version are added, which nobody looks up yet. The switch itself puts back what
changed since all records were linked to what the version saw of it, and makes the version the one that decides. After it
those changes are linked as arrivals are, and records come to their persons region by region (store/identity/settling).
Whoever changes records waits for one batch at most; who reads, and whoever rings, waits for nothing. Everything can be
broken off and goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from firstring.bulk.linking.link import Progress
from firstring.identity.comparison.columns import compared
from firstring.ports import Clock
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.linkindex import COPY_KEY_BYTES, LINK_KEY_BYTES, Part, link_state, parts_of
from firstring.store.identity.linking import Change, Context, relink, settled
from firstring.store.identity.linkwrite import Arrival, remember, write_relinked
from firstring.store.identity.models import ActiveModel, active_model, model_of, set_state
from firstring.store.identity.settling import set_keys, settle
from firstring.store.queries import sql

BATCH_RECORDS: Final = 1_000
"""Records whose keys are written in one transaction, at most."""
LINKED_RECORDS: Final = 200
"""Records that changed meanwhile and are linked in one transaction, at most."""
SETTLED_RECORDS: Final = 500
"""Records whose regions are settled in one transaction, at most."""
_HELD_S: Final = 0.15
"""How long a transaction should keep those waiting who change records; on a busy machine, batches become smaller."""
_FEWEST: Final = 50
_MOVED: Final = 5_000
"""Records or persons that one statement changes."""
_STATEMENT_S: Final = 300.0


_T = TypeVar("_T")


def batched(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    """The items in order, so many at a time."""
    rest = iter(items)
    while part := tuple(islice(rest, size)):
        yield part


class _Pace:
    """How many records the next transaction takes, by how long those before it did."""

    def __init__(self, clock: Clock, most: int) -> None:
        self.records = most
        self._clock = clock
        self._most = most

    @contextmanager
    def measured(self) -> Iterator[None]:
        """To be entered once the lock is held."""
        began = self._clock.monotonic_s()
        yield
        faster = _HELD_S / max(self._clock.monotonic_s() - began, 1e-6)
        self.records = max(min(self._most, _FEWEST), min(self._most, int(self.records * min(max(faster, 0.25), 2.0))))


# --- keys, before and after ----------------------------------------------------------------------------------------


async def spread_keys(database: Database, tenant: Tenant, active: ActiveModel, clock: Clock, told: Progress) -> list[int]:
    """Adds the keys under the version before it is in force, batch by batch; no record shows them yet.

    Kinds of keys that the version in force has too are left for the switch: the records that get others of those.
    """
    async with database.transaction(tenant.tenant_id) as connection:
        kinds = await _shared_kinds(connection, tenant, active)
        whole = int(await connection.fetchval(sql("models", "count_keys"), tenant.tenant_id))
    late: list[int] = []
    pace = _Pace(clock, BATCH_RECORDS)
    done = after = 0
    while True:
        async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id, timeout=_STATEMENT_S)
            with pace.measured():
                rows = await connection.fetch(sql("models", "rolled_key_ids"), tenant.tenant_id, after, pace.records)
                ids = [row[0] for row in rows]
                if not ids:
                    return late
                await connection.execute(sql("models", "add_early_keys"), tenant.tenant_id, ids, kinds)
                late += [row[0] for row in await connection.fetch(sql("models", "late_keys"), tenant.tenant_id, ids, kinds)]
        after, done = ids[-1], done + len(ids)
        told("keys", done, whole)


async def cut_early(database: Database, tenant: Tenant, active: ActiveModel) -> None:
    """Takes away what spread_keys added, for a version that does not come into force."""
    after = 0
    while True:
        async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
            kinds = await _shared_kinds(connection, tenant, active)
            rows = await connection.fetch(sql("models", "rolled_ids"), tenant.tenant_id, after, BATCH_RECORDS)
            ids = [row[0] for row in rows]
            if not ids:
                return
            await connection.execute(sql("models", "cut_early_keys"), tenant.tenant_id, ids, kinds)
        after = ids[-1]


async def _shared_kinds(connection: Connection, tenant: Tenant, active: ActiveModel) -> list[int]:
    """The first bytes of the kinds of keys that the version in force has too."""
    now = await active_model(connection, tenant)
    return [] if now is None else [tag[0] for tag, _ in {*now.heads} & {*active.heads}]


async def cut_glue(database: Database, tenant: Tenant, clock: Clock, told: Progress, until_s: float) -> bool:
    """Takes away the keys by which records were glued before there was a version: nothing rests on them any more."""
    pace = _Pace(clock, BATCH_RECORDS)
    done = after = 0
    while True:
        async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            # Without the lock: this looks through all records. Those that it finds are looked at again under it.
            rows = await connection.fetch(sql("models", "glued"), tenant.tenant_id, after, pace.records)
            if not rows:
                return True
            ids = [row[0] for row in rows]
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id, timeout=_STATEMENT_S)
            with pace.measured():
                for name in ("drop_glue_keys", "set_no_glue"):
                    await connection.execute(sql("models", name), tenant.tenant_id, ids)
        after, done = ids[-1], done + len(ids)
        told("old keys", done, done)
        if clock.monotonic_s() > until_s:
            return False


# --- the switch ----------------------------------------------------------------------------------------------------


async def switch(database: Database, tenant: Tenant, active: ActiveModel, late: Sequence[int], now: datetime) -> None:
    """Brings the version into force. Before, records have been linked under it and kept (bulk/versions/rollin).

    late: records that get their keys now. Afterwards the version decides, and `finish` is to be called.
    """
    async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
        tenant_id = tenant.tenant_id
        await connection.execute(sql("records", "lock_applier"), tenant_id, timeout=_STATEMENT_S)
        for part in batched(late, BATCH_RECORDS):
            rows = await connection.fetch(sql("models", "rolled_keys_among"), tenant_id, part)
            await set_keys(connection, tenant, [row[0] for row in rows])
        after = 0
        while touched := await _touched(connection, tenant, after, _MOVED):
            await _as_seen(connection, tenant, [one for one in touched if one.row["is_there"] or one.row["was_seen"]])
            unseen = [one.record_id for one in touched if not one.row["was_seen"]]
            await connection.execute(sql("models", "detach_unseen"), tenant_id, unseen)
            after = touched[-1].record_id
        await set_state(connection, tenant, active.model_id, "active", now=now)
        await connection.execute(sql("models", "set_settling"), tenant_id, active.model_id, True)
        await connection.execute(sql("models", "tell_model"), tenant_id, "roll-in")


async def finish(database: Database, tenant: Tenant, clock: Clock, told: Progress, *, within_s: float = math.inf) -> bool:
    """What is left to do after a switch, also of a program that was ended before it came to this.

    False where it was not done within this time: what was done stays, the rest is left for the next time.
    """
    until_s = clock.monotonic_s() + within_s
    async with database.transaction(tenant.tenant_id) as connection:
        number = await connection.fetchval(sql("models", "settling"), tenant.tenant_id)
        if number is not None:
            active = await model_of(connection, tenant, number)
    if number is not None:
        for step in (_link_touched, _settle_all):
            if not await step(database, tenant, active, clock, told, until_s):
                return False
        async with database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
            await connection.execute(sql("models", "set_settling"), tenant.tenant_id, number, False)
        async with database.transaction(tenant.tenant_id) as connection:
            await forget(connection, tenant)
    async with database.transaction(tenant.tenant_id) as connection:
        linked = await connection.fetchval(sql("linking", "active_model"), tenant.tenant_id) is not None
    return not linked or await cut_glue(database, tenant, clock, told, until_s)


async def forget(connection: Connection, tenant: Tenant) -> None:
    """Takes away what was kept of a version that is rolled in."""
    for name in ("forget_records", "forget_keys", "forget_held", "forget_touched"):
        await connection.execute(sql("models", name), tenant.tenant_id, timeout=600)


async def _settle_all(
    database: Database, tenant: Tenant, active: ActiveModel, clock: Clock, told: Progress, until_s: float
) -> bool:
    async with database.transaction(tenant.tenant_id) as connection:
        whole = await connection.fetchval(sql("models", "count_unsettled"), tenant.tenant_id)
    pace = _Pace(clock, SETTLED_RECORDS)
    done = after = 0
    while True:
        async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id, timeout=_STATEMENT_S)
            with pace.measured():
                now = clock.now()
                await connection.fetchrow(sql("linking", "context"), tenant.tenant_id, now)  # tells the history the time
                rows = await connection.fetch(sql("models", "next_regions"), tenant.tenant_id, after, pace.records)
                ids = [row["record_id"] for row in rows]
                if not ids:
                    return True
                done += await settle(connection, tenant, active.version, ids, now)
                await connection.execute(sql("models", "forget_regions"), tenant.tenant_id, ids)
        after = rows[-1]["region_id"]
        told("settling", min(done, whole), whole)
        if clock.monotonic_s() > until_s:
            return False


# --- what changed meanwhile ------------------------------------------------------------------------------------------


class _Touched(NamedTuple):
    """A record that came, changed or went. keys: under the version, of what it was when that saw it."""

    row: Mapping[str, Any]
    keys: tuple[bytes, ...]

    @property
    def record_id(self) -> int:
        return int(self.row["record_id"])


async def _touched(connection: Connection, tenant: Tenant, after: int, most: int) -> list[_Touched]:
    rows = await connection.fetch(sql("models", "touched"), tenant.tenant_id, after, most)
    return [_Touched(row, _keys_seen(row)) for row in rows]


async def _link_touched(
    database: Database, tenant: Tenant, active: ActiveModel, clock: Clock, told: Progress, until_s: float
) -> bool:
    """Links by the online engine what changed since it was read: from the state that the version saw to the present one."""
    async with database.transaction(tenant.tenant_id) as connection:
        whole = int(await connection.fetchval(sql("models", "count_touched"), tenant.tenant_id))
        around = await _decided_since(connection, tenant, active.model_id)
    pace = _Pace(clock, LINKED_RECORDS)
    done = 0
    while True:
        async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id, timeout=_STATEMENT_S)
            with pace.measured():
                touched = await _touched(connection, tenant, 0, pace.records)
                if not touched and not around:
                    return True
                await _link_some(connection, tenant, active, touched, around, clock.now())
                ids = [one.record_id for one in touched]
                await connection.execute(sql("models", "forget_these"), tenant.tenant_id, ids)
        around = set()  # once is enough
        done += len(touched)
        told("linking changes", min(done, whole), whole)
        if clock.monotonic_s() > until_s:
            return False


async def _link_some(
    connection: Connection,
    tenant: Tenant,
    active: ActiveModel,
    touched: Sequence[_Touched],
    around: set[int],
    now: datetime,
) -> None:
    await connection.fetchrow(sql("linking", "context"), tenant.tenant_id, now)  # tells the history the time
    context = Context(active, True, True)
    part = [one for one in touched if one.row["is_there"] or one.row["was_seen"]]
    if not part and not around:
        return
    arrivals = {one.record_id: _arrival(tenant, active, one.row) for one in part if one.row["is_there"]}
    there = await settled(connection, tenant, context, await parts_of(connection, tenant, arrivals), now)
    gone = {
        one.record_id: Part(one.record_id, 0, one.row["external_key"], b"", one.keys, bool(one.row["was_copy"]))
        for one in part
        if not one.row["is_there"]
    }
    components = [one.row["component_id"] for one in part if not one.row["is_there"]]
    if components:
        rows = await connection.fetch(sql("models", "records_of_components"), tenant.tenant_id, components)
        around = around | {row[0] for row in rows}
    also = await parts_of(connection, tenant, around - arrivals.keys())
    change = Change(arrivals, {**there, **gone}, frozenset(gone), also)
    relinked = await relink(connection, tenant, context, change, now)
    before = [(record, key) for record, one in {**there, **gone}.items() for key in one.link_keys]
    stored = {record: (relinked.person_of[record], *relinked.link_keys[record]) for record in arrivals}
    await _each(connection, tenant, "cut_keys", before)
    await _each(connection, tenant, "put_keys", [(record, key) for record, (_, keys, _) in stored.items() for key in keys])
    await _set_linked(connection, tenant, stored)
    remember(tenant, active, arrivals)
    await write_relinked(connection, tenant, relinked, arrivals.keys(), f"model {active.version}", now)


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


async def _decided_since(connection: Connection, tenant: Tenant, model_id: int) -> set[int]:
    """Records about which people have decided, or no longer do, since all were linked."""
    now = {row["decision_id"] for row in await connection.fetch(sql("models", "decisions"), tenant.tenant_id)}
    kept = await connection.fetchval(sql("models", "decisions_then"), tenant.tenant_id, model_id)
    then = msgspec.json.decode(kept or b"[]")
    rows = await connection.fetch(sql("models", "records_decided"), tenant.tenant_id, [*now.symmetric_difference(then)])
    return {row[0] for row in rows}


def _arrival(tenant: Tenant, active: ActiveModel, row: Mapping[str, Any]) -> Arrival:
    values = compared(tenant.keys.open(row["wrapped_key"], row["sealed"]) or {})
    state = link_state(tenant.keys, active, values, row["external_key"])
    return Arrival(row["external_key"], row["content_key"], values, state)


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
