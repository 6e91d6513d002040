"""Who is there, as this server knew within the last second: beside those who are free a ringing contact is decided with it.

Reading it with every contact took as long as all else that is read. Who is free is still read at that moment; of the others
it is asked who they are, how many contacts they have, and how many wait. It is stored with the decision.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import asyncpg
import numpy as np
import structlog

from firstring import limits
from firstring.contact import AgentFree
from firstring.errors import FirstringError
from firstring.routing.may.packed import VERSION_BITS, columns, packed
from firstring.store.database import Database, Tenant
from firstring.store.queries import sql
from firstring.store.routing.models import fit_in_force

_log = structlog.get_logger("firstring.presence")
_KEPT: Final = "there"
EVERY_S: Final = 1.0
_UNREADABLE: Final = (FirstringError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


class Present(NamedTuple):
    """Of one channel: all who are ready, packed, with how many contacts each has; how many wait (200: so many or more)."""

    agents: bytes
    waiting: int

    def busy(self, free: Sequence[AgentFree] | bytes) -> bytes:
        """Those who are not free, packed."""
        if not isinstance(free, bytes):
            return b""
        keys, taken = columns(self.agents)
        out = ~np.isin(keys >> VERSION_BITS, columns(free).agent_ids)
        keys = keys[out]
        return packed(keys >> VERSION_BITS, keys & ((1 << VERSION_BITS) - 1), np.maximum(taken[out], 1)) or b""


def present(tenant: Tenant, channel: str) -> Present | None:
    """What is known just now; None: nothing, and it is read. No I/O."""
    found: dict[str, Present] | None = tenant.kept.get(_KEPT)
    return None if found is None else found.get(channel, _NOBODY)


_NOBODY: Final = Present(b"", 0)


class PresenceWatch:
    """Looks every second, for tenants where it is asked who fits. What cannot be read is not kept: then it is read with the
    contact."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="presence")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _watch(self) -> None:
        while True:
            await self.look_at_all()
            await asyncio.sleep(EVERY_S)

    async def look_at_all(self) -> None:
        """Once for every tenant: one whose agents cannot be read holds up no other, and is not shown as it was."""
        try:
            tenants = await self._database.tenants()
        except _UNREADABLE as error:
            self._say(error)
            return
        for tenant in tenants:
            try:
                await self.look(tenant)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at again
                tenant.kept.pop(_KEPT, None)
                self._say(error, tenant.tenant_id)

    def _say(self, error: Exception, tenant_id: int | None = None) -> None:
        code = error.code if isinstance(error, FirstringError) else type(error).__name__
        _log.warning("not_read", of="presence", tenant=tenant_id, code=code)

    async def look(self, tenant: Tenant) -> None:
        """Once."""
        if fit_in_force(tenant).basis != "fitted":
            tenant.kept.pop(_KEPT, None)
            return
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("guard", "there"), tenant.tenant_id)
            waiting = await connection.fetch(sql("guard", "waiting"), tenant.tenant_id)
        lengths = {row["channel"]: row["contacts"] for row in waiting}
        by_channel: dict[str, list[Any]] = {}
        for row in rows:
            of = by_channel.setdefault(row["channel"], [])
            if len(of) < limits.BUSY_CONSIDERED:
                of.append((row["agent_id"], row["version"], row["taken"]))
        tenant.kept[_KEPT] = {
            channel: Present(packed(*np.array(of, np.int64).T) or b"", lengths.get(channel, 0))
            for channel, of in by_channel.items()
        }
