"""A loop that does a round of work for each tenant, when it is woken and every now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from firstring.errors import FirstringError
from firstring.store.database import Database, Tenant

_log = structlog.get_logger("firstring.rounds")


class Rounds:
    """round_of: does some work for a tenant, and says whether there is more to do at once."""

    def __init__(
        self, name: str, database: Database, round_of: Callable[[Tenant], Awaitable[bool]], *, every_s: float
    ) -> None:
        self._name = name
        self._database = database
        self._round_of = round_of
        self._every_s = every_s
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Never blocks."""
        self._wake.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Finishes what is under way."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                for tenant in await self._database.tenants():
                    await self._all_of(tenant)
            except FirstringError as error:
                _log.warning("round_failed", why=self._name, code=error.code)
            try:
                async with asyncio.timeout(self._every_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _all_of(self, tenant: Tenant) -> None:
        try:
            while not self._stopping.is_set() and await self._round_of(tenant):
                pass
        except FirstringError as error:  # one tenant does not hold up the others
            _log.warning("round_failed", why=self._name, code=error.code, tenant=tenant.tenant_id)
        except Exception as error:  # noqa: BLE001 - a fault in one round must not end the loop; logged in full
            _log.exception("round_failed", why=self._name, error=type(error).__name__, tenant=tenant.tenant_id)
