"""Durable timers: what is to be done at some time is done then, or as soon as a server runs again.

A timer is set in the transaction of what it is about. It is handled at least once: whoever takes it has a turn of
TURN_S; if its process dies, another one takes it after that. One that fails is tried again, later and later. A timer set
less than TICK_S ahead is handled within TICK_S, or at once when the process is woken (`Timers.wake`, or a notice "timer").

Other work that comes due by what is stored (absences of patterns, states to be made anew) runs in the same loop (`also`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

import structlog

from firstring import limits
from firstring.errors import BadInput, FirstringError
from firstring.ports import Clock
from firstring.store.database import Connection, Database, Tenant
from firstring.store.notices import Notice
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.timers")

TICK_S: Final = 1.0
"""How often it is looked whether something came due that nobody told of."""
TURN_S: Final = 60.0
"""A handler that takes longer may run a second time beside itself."""
TAKEN_AT_ONCE: Final = 32
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 600.0

Handler: TypeAlias = Callable[[Tenant, str, dict[str, Any]], Awaitable[None]]
"""async (tenant, key, payload). It may be called more than once for one timer."""
Due: TypeAlias = Callable[[Tenant], Awaitable[datetime | None]]
"""async (tenant): does a bounded part of what is due by now; when there is more to do (now or before: at once), or None."""


class TimerShown(NamedTuple):
    """A timer that waits. next_at: due_at, or when it is tried again; None: given up after limits.TIMER_ATTEMPTS."""

    key: str
    due_at: datetime
    next_at: datetime | None
    attempts: int


async def set_timer(
    connection: Connection, tenant: Tenant, kind: str, key: str, due_at: datetime, payload: dict[str, Any]
) -> None:
    """Sets a timer, or sets it anew; it stands once the transaction commits.

    kind, key: names and ids of ours, stored plain; payload is sealed. due_at may be past: it is handled at once.
    Raises BadInput timer_invalid.
    """
    if not kind or not key or len(kind) > limits.TIMER_NAME_CHARS or len(key) > limits.TIMER_NAME_CHARS:
        raise BadInput(
            "timer_invalid",
            f"A timer has a kind and a key of {limits.TIMER_NAME_CHARS} characters at most.",
            where={"field": "key"},
            hint="Use the id of what it is about.",
        )
    if due_at.tzinfo is None:
        raise BadInput("timer_invalid", "The time has no zone.", where={"field": "due_at"}, hint="Give it in UTC.")
    wrapped, sealed = tenant.keys.seal(payload)
    await connection.execute(sql("timers", "set_timer"), tenant.tenant_id, kind, key, due_at, wrapped, sealed)


async def cancel_timer(connection: Connection, tenant: Tenant, kind: str, key: str) -> bool:
    """Whether there was one. A handler that is under way is not stopped."""
    status = await connection.execute(sql("timers", "cancel_timer"), tenant.tenant_id, kind, key)
    return str(status) == "DELETE 1"


async def timers_of(connection: Connection, tenant: Tenant, kind: str, at_most: int = 100) -> list[TimerShown]:
    """The timers of a kind that wait, the earliest first."""
    rows = await connection.fetch(sql("timers", "timers"), tenant.tenant_id, kind, at_most)
    return [TimerShown(*row) for row in rows]


class Timers:
    """Runs what comes due, for all tenants; one for each process. Several processes share the work."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._others: list[Due] = []
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._rounds: dict[int, asyncio.Task[None]] = {}
        self._next: dict[int, datetime | None] = {}
        self._woken = 0

    def handle(self, kind: str, handler: Handler) -> None:
        """Who handles timers of a kind. Timers of kinds that this process does not know are left to others."""
        self._handlers[kind] = handler

    def also(self, due: Due) -> None:
        """Other work that comes due by what is stored."""
        self._others.append(due)

    def wake(self) -> None:
        """Something may have come due, or be due earlier. Never blocks."""
        self._next.clear()
        self._woken += 1
        self._wake.set()

    def heard(self, notice: Notice) -> None:
        """A notice: wakes it where a timer was set, or notices may be missing."""
        if notice.what in ("timer", "resync"):
            self.wake()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="timers")

    async def stop(self) -> None:
        """Finishes what is under way."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None
        await asyncio.gather(*self._rounds.values())

    async def _run(self) -> None:
        tenants: Sequence[Tenant] = ()
        looked_s = -TICK_S
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if self._clock.monotonic_s() - looked_s >= TICK_S:
                    tenants = await self._database.tenants()
                    looked_s = self._clock.monotonic_s()
                    self._next.clear()  # another process may have set a timer
                for tenant in tenants:
                    self._begin(tenant)
            except FirstringError as error:
                _log.warning("timers_failed", code=error.code)
            try:
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _begin(self, tenant: Tenant) -> None:
        """One round at a time for a tenant, beside those of others: a slow handler holds up its own tenant alone."""
        due = self._next.get(tenant.tenant_id, self._clock.now())
        running = self._rounds.get(tenant.tenant_id)
        if due is None or due > self._clock.now() or (running is not None and not running.done()):
            return
        self._rounds[tenant.tenant_id] = asyncio.create_task(self._round_of(tenant), name="timers of a tenant")

    def _pause_s(self) -> float:
        now = self._clock.now()
        waits = [(due - now).total_seconds() for tenant, due in self._next.items() if due is not None and self._idle(tenant)]
        return max(0.001, min([TICK_S, *waits]))

    def _idle(self, tenant_id: int) -> bool:
        running = self._rounds.get(tenant_id)
        return running is None or running.done()

    async def _round_of(self, tenant: Tenant) -> None:
        self._next.pop(tenant.tenant_id, None)
        woken = self._woken
        try:
            due = await self.round(tenant)
        except FirstringError as error:
            _log.warning("timers_failed", code=error.code, tenant=tenant.tenant_id)
            due = None
        except Exception as error:  # noqa: BLE001 - a fault in one round must not end the timers; logged in full
            _log.exception("timers_failed", error=type(error).__name__, tenant=tenant.tenant_id)
            due = None
        if woken == self._woken:  # else something was set meanwhile: the next round looks again
            self._next[tenant.tenant_id] = due
        self._wake.set()

    async def round(self, tenant: Tenant) -> datetime | None:
        """Does a bounded part of what is due by now; when the next is due (now or before: there is more to do)."""
        dues = [await self._timers(tenant)]
        for other in self._others:
            try:
                dues.append(await other(tenant))
            except FirstringError as error:  # one kind of work does not hold up the others
                _log.warning("timers_failed", code=error.code, tenant=tenant.tenant_id)
        return min((due for due in dues if due is not None), default=None)

    async def _timers(self, tenant: Tenant) -> datetime | None:
        if not self._handlers:
            return None
        kinds = list(self._handlers)
        now = self._clock.now()
        until = now + timedelta(seconds=TURN_S)
        async with self._database.transaction(tenant.tenant_id) as connection:
            statement = sql("timers", "take_due")
            rows = await connection.fetch(statement, tenant.tenant_id, kinds, now, TAKEN_AT_ONCE, until)
        await asyncio.gather(*(self._handled(tenant, row) for row in sorted(rows, key=lambda row: row["due_at"])))
        if len(rows) == TAKEN_AT_ONCE:
            return now
        async with self._database.transaction(tenant.tenant_id) as connection:
            due: datetime | None = await connection.fetchval(sql("timers", "next_timer"), tenant.tenant_id, kinds)
        return due

    async def _handled(self, tenant: Tenant, row: Any) -> None:
        kind, key, turn = row["kind"], row["key"], row["turn"]
        try:
            payload = tenant.keys.open(row["wrapped_key"], row["sealed"]) or {}
            await self._handlers[kind](tenant, key, payload)
        except Exception as error:  # noqa: BLE001 - whatever it is, the timer stands and is tried again
            code = error.code if isinstance(error, FirstringError) else type(error).__name__
            _log.warning("timer_failed", why=kind, code=code, count=row["attempts"], tenant=tenant.tenant_id)
            next_at = self._again(row["attempts"])
            async with self._database.transaction(tenant.tenant_id) as connection:
                await connection.execute(sql("timers", "timer_failed"), tenant.tenant_id, kind, key, turn, next_at)
            return
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("timers", "timer_done"), tenant.tenant_id, kind, key, turn)

    def _again(self, attempts: int) -> datetime | None:
        """When one that failed is tried again; never, after limits.TIMER_ATTEMPTS: it stays to be looked at."""
        if attempts >= limits.TIMER_ATTEMPTS:
            return None
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 20))
        return self._clock.now() + timedelta(seconds=pause_s)
