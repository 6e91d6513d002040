"""Patterns that came true: kept for ever, retracted when the log says otherwise, told to whoever acts on them.

What is told is told at least once: by the process that saw it, right after its commit, else by a process that finds that
nothing was decided (`Firings.catch_up`). `claim` is how whoever acts makes it exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

import structlog

from firstring import limits
from firstring.errors import FirstringError
from firstring.journey.patterns import Pattern
from firstring.journey.patterns.reading import milliseconds, moment_of
from firstring.ports import Clock
from firstring.store.database import Connection, Database, Tenant
from firstring.store.journey.states import Found
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.patterns")

_TOLD_WITHIN: Final = timedelta(seconds=15)
"""By then the process that saw a firing has told of it; others look after that."""
_TURN: Final = timedelta(seconds=60)
_NOTED_AFTER_S: Final = 0.05
"""What is to be shown goes first. Whoever acted has claimed the firing; nothing waits for this note."""
_AT_ONCE: Final = 100
_ATTEMPTS: Final = 10


class Firing(NamedTuple):
    """A pattern came true for a person. at: when; begun_at: when its match began. record_id: of the event by which it did.

    household_id: the lowest of the household's persons, where the pattern is by household. is_past: seen too late to do
    anything about it. acted_at: when it was decided what to do, perhaps while the events were another person's.
    """

    firing_id: int
    person_id: int
    record_id: int
    pattern: str
    valence: str
    at: datetime
    begun_at: datetime
    event_id: int
    number: int
    household_id: int | None
    is_past: bool
    acted_at: datetime | None


Hook: TypeAlias = Callable[[Tenant, Sequence[Firing]], Awaitable[None]]
Told: TypeAlias = Callable[[Tenant, Sequence[Firing]], None]
_Key: TypeAlias = tuple[int, int, datetime, datetime, int, int]
"""Subject, number, at, begun_at, same_key, event_id."""


class _Row(NamedTuple):
    found: Found
    number: int
    pattern: Pattern

    @property
    def key(self) -> _Key:
        fired = self.found.fired
        at, begun_at = moment_of(fired.at_ms), moment_of(fired.begun_ms)
        return self.found.subject_id, self.number, at, begun_at, fired.key, self.found.event_id


async def add_firings(
    connection: Connection,
    tenant: Tenant,
    kind: int,
    found: Sequence[Found],
    patterns: dict[str, tuple[int, Pattern]],
    now: datetime,
    acted: dict[_Key, datetime] | None = None,
    since: datetime | None = None,
) -> list[Firing]:
    """Notes what came true; those about which something may be done. What came true before `since` counts as past."""
    if not found:
        return []
    rows = [_Row(one, *patterns[one.fired.pattern]) for one in found]
    columns: list[list[Any]] = [[] for _ in range(13)]
    for row in rows:
        key = row.key
        values = (
            kind, key[0], row.found.person_id, row.found.record_id, row.found.event_id, row.number, row.pattern.id,
            row.pattern.valence, *key[2:5], is_past(row.found, now, since), acted.get(key) if acted else None,
        )  # fmt: skip
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    statement = sql("patterns", "add_fired")
    written = await connection.fetch(statement, tenant.tenant_id, now, now + _TOLD_WITHIN, *columns)
    return [one for one in map(_firing, written) if not one.is_past and one.acted_at is None]


async def settle_firings(
    connection: Connection,
    tenant: Tenant,
    kind: int,
    subjects: Collection[int],
    found: Sequence[Found],
    patterns: dict[str, tuple[int, Pattern]],
    now: datetime,
    since: datetime | None = None,
    *,
    is_all: bool = True,
) -> list[Firing]:
    """Makes what is noted of subjects what came true by their logs: adds, retracts, takes back retractions.

    is_all: `found` is all that ever came true; else nothing else is retracted.
    """
    numbers = [number for number, _ in patterns.values()]
    rows = await connection.fetch(sql("patterns", "fired_of"), tenant.tenant_id, kind, list(subjects), numbers)
    noted = {
        (row["subject_id"], row["number"], row["at"], row["begun_at"], row["same_key"], row["event_id"]): row for row in rows
    }
    true = {(one := _Row(each, *patterns[each.fired.pattern])).key: one.found for each in found}
    gone = [row["firing_id"] for key, row in noted.items() if key not in true and row["retracted_at"] is None and is_all]
    back = [row["firing_id"] for key, row in noted.items() if key in true and row["retracted_at"] is not None]
    if gone:
        await connection.execute(sql("patterns", "retract"), tenant.tenant_id, gone, now)
    if back:
        await connection.execute(sql("patterns", "restore"), tenant.tenant_id, back, now)
    new = {key: each for key, each in true.items() if key not in noted}
    acted = await _acted_elsewhere(connection, tenant, {key: one for key, one in new.items() if not is_past(one, now)})
    return await add_firings(connection, tenant, kind, list(new.values()), patterns, now, acted, since)


async def _acted_elsewhere(connection: Connection, tenant: Tenant, new: dict[_Key, Found]) -> dict[_Key, datetime]:
    """Of firings that were another person's before, by the same events: when it was decided what to do."""
    if not new:
        return {}
    statement = sql("patterns", "elsewhere")
    numbers, moments = [key[1] for key in new], [key[2] for key in new]
    rows = await connection.fetch(statement, tenant.tenant_id, numbers, moments)
    done = {(*(row[:5]), row[5] if not row[4] else 0): row[6] for row in (tuple(row) for row in rows)}
    found = {key: done.get((*key[1:6], one.record_id if not one.event_id else 0)) for key, one in new.items()}
    return {key: moment for key, moment in found.items() if moment is not None}


def is_past(found: Found, now: datetime, since: datetime | None = None) -> bool:
    """Whether it came true too long ago for anything to be done."""
    bound_ms = limits.PATTERN_ACTS_MS if found.event_id else limits.PATTERN_DUE_ACTS_MS
    earliest_ms = milliseconds(now) - bound_ms
    return found.fired.at_ms < (earliest_ms if since is None else max(earliest_ms, milliseconds(since)))


def _firing(row: Any) -> Firing:
    return Firing(
        row["firing_id"], row["person_id"], row["record_id"], row["pattern"], row["valence"], row["at"], row["begun_at"],
        row["event_id"], row["number"], row["subject_id"] if row["kind"] else None, row["is_past"], row["acted_at"],
    )  # fmt: skip


async def claim_firings(connection: Connection, tenant: Tenant, firing_ids: Collection[int], now: datetime) -> set[int]:
    """Those of the firings about which nobody decided yet, and which still are so; they count as decided from the commit on.

    Whoever acts calls it in the transaction of its decision, and lets the others be.
    """
    rows = await connection.fetch(sql("patterns", "claim_fired"), tenant.tenant_id, list(firing_ids), now)
    return {row[0] for row in rows}


class Firings:
    """Tells of firings; one for each process. hooks: async (tenant, firings), each called at least once for a firing."""

    def __init__(
        self, database: Database, clock: Clock, counted: Callable[[str, str], None] = lambda _pattern, _valence: None
    ) -> None:
        """counted: is told of the pattern and the valence of each firing that this process saw."""
        self._database = database
        self._clock = clock
        self._counted = counted
        self.hooks: list[Hook] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, tenant: Tenant, firings: Sequence[Firing]) -> None:
        """What came true just now, after the commit. Never blocks."""
        for one in firings:
            self._counted(one.pattern, one.valence)
        if firings and self.hooks:
            task = asyncio.create_task(self._told(tenant, list(firings), 0), name="firings")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Finishes what is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def catch_up(self, tenant: Tenant) -> datetime | None:
        """Tells of firings about which nothing was decided in time: their process died, or a hook failed."""
        if not self.hooks:
            return None
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("patterns", "take_fired"), tenant.tenant_id, now, _AT_ONCE, now + _TURN)
            late = [row["firing_id"] for row in rows if _too_late(row, now)]
            if late:
                await connection.execute(sql("patterns", "too_late"), tenant.tenant_id, late)
        open_ones = sorted((row for row in rows if not _too_late(row, now)), key=lambda row: row["at"])
        if open_ones:
            await self._told(tenant, [_firing(row) for row in open_ones], max(row["attempts"] for row in open_ones))
        if len(rows) == _AT_ONCE:
            return now
        async with self._database.transaction(tenant.tenant_id) as connection:
            due: datetime | None = await connection.fetchval(sql("patterns", "next_fired"), tenant.tenant_id)
        return due

    async def _told(self, tenant: Tenant, firings: list[Firing], attempts: int) -> None:
        ids = [one.firing_id for one in firings]
        try:
            for hook in self.hooks:
                await hook(tenant, firings)
        except Exception as error:  # noqa: BLE001 - whatever it is, the firings stand and are told again
            code = error.code if isinstance(error, FirstringError) else type(error).__name__
            _log.warning("firings_not_acted_on", code=code, count=len(ids), tenant=tenant.tenant_id)
            again = self._clock.now() + timedelta(seconds=min(600.0, 2.0**attempts))
            await self._write(tenant, "put_off", ids, again)
            return
        await asyncio.sleep(_NOTED_AFTER_S)
        await self._write(tenant, "acted", ids, self._clock.now())

    async def _write(self, tenant: Tenant, statement: str, ids: list[int], at: datetime) -> None:
        try:
            # What a crash undoes of it is told again.
            async with self._database.transaction(tenant.tenant_id, waits_for_disk=False) as connection:
                await connection.execute(sql("patterns", statement), tenant.tenant_id, ids, at)
        except FirstringError as error:  # they are told again
            _log.warning("firings_not_noted", code=error.code, count=len(ids), tenant=tenant.tenant_id)


def _too_late(row: Any, now: datetime) -> bool:
    bound_ms = limits.PATTERN_DUE_ACTS_MS
    return row["attempts"] > _ATTEMPTS or milliseconds(row["at"]) < milliseconds(now) - bound_ms
