"""What is kept in memory for every tenant, kept current: read when a program starts, when a notice says that it changed or
that notices may be missing, and every POLL_S."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import asyncpg
import structlog

from firstring.errors import FirstringError
from firstring.store.database import Database, Tenant
from firstring.store.notices import Notice

_log = structlog.get_logger("firstring.watching")
POLL_S: Final = 10.0
"""How often it is asked, whatever was or was not told."""

_UNREADABLE: Final = (FirstringError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
Refresh = Callable[[Database, Tenant], Awaitable[Any]]


class Watcher:
    """Calls each of `refresh` for every tenant. changed: what a notice says when there is something new."""

    def __init__(self, database: Database, changed: str, refresh: Sequence[Refresh]) -> None:
        self._database = database
        self._changed = changed
        self._refresh = tuple(refresh)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Reads once, so that the first contact has it, and watches from then on."""
        await self.refresh()
        self._task = asyncio.create_task(self._watch(), name=f"watch-{self._changed}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def heard(self, notice: Notice) -> None:
        """A notice. Never blocks."""
        if notice.what in (self._changed, "resync"):
            self._wake.set()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_S)
            self._wake.clear()
            await self.refresh()

    async def refresh(self) -> None:
        """What cannot be read leaves everything as it is: a decision is never failed by it, nor one tenant by another."""
        try:
            tenants = await self._database.tenants()
        except _UNREADABLE as error:
            self._say(error, None)
            return
        for tenant in tenants:
            for one in self._refresh:
                try:
                    await one(self._database, tenant)
                except Exception as error:  # noqa: BLE001 - also what a newer program has written, and this one cannot read
                    self._say(error, tenant.tenant_id)

    def _say(self, error: Exception, tenant_id: int | None) -> None:
        code = error.code if isinstance(error, FirstringError) else type(error).__name__
        _log.warning("not_read", of=self._changed, tenant=tenant_id, code=code)
