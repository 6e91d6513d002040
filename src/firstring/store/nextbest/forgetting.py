"""What is old is forgotten: decisions about actions, with what they were derived from, what patterns came true, and whom
calls were promised to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog

from firstring import limits
from firstring.ports import Clock
from firstring.store import callbacks
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.actions")
EVERY_S: Final = 3_600.0
AT_ONCE: Final = 2_000
"""Rows in one transaction."""
_WITHIN_S: Final = 5.0


class Forgetting:
    """A chore of the queue task: hourly, for a few seconds at most; what is left is for the next time."""

    def __init__(self, database: Database, clock: Clock, kept_days: int) -> None:
        self._database = database
        self._clock = clock
        self._kept = timedelta(days=kept_days)
        self._look_s: dict[int, float] = {}

    async def look(self, tenant: Tenant) -> None:
        """Forgets where it is time."""
        now_s = self._clock.monotonic_s()
        if now_s < self._look_s.get(tenant.tenant_id, 0.0):
            return
        forgotten, is_done = 0, False
        while not is_done and self._clock.monotonic_s() - now_s <= _WITHIN_S:
            async with self._database.transaction(tenant.tenant_id) as connection:
                count = await forget(connection, tenant, self._clock.now(), self._kept, AT_ONCE)
            forgotten += count
            is_done = count < AT_ONCE
        self._look_s[tenant.tenant_id] = self._clock.monotonic_s() + (EVERY_S if is_done else 0.0)
        if forgotten:
            _log.info("journey_forgotten", tenant=tenant.tenant_id, count=forgotten)


async def forget(connection: Connection, tenant: Tenant, now: datetime, kept: timedelta, at_most: int) -> int:
    """Forgets some of what was decided or came true longer ago; returns how many rows, fewer than `at_most` when done.

    A decision of which nobody has looked yet what came of it stays, and a firing about which something is still to be done.
    """
    before = now - kept
    decisions: int = await connection.fetchval(sql("actions", "forget_decisions"), tenant.tenant_id, before, at_most)
    left = at_most - decisions
    if left <= 0:
        return decisions
    await connection.execute(sql("actions", "forget_learned"), tenant.tenant_id, before)
    await connection.execute(sql("actions", "forget_brakes"), tenant.tenant_id, now)
    await callbacks.forget(connection, tenant, now - timedelta(days=limits.DELIVERY_DAYS))
    await connection.execute(sql("patterns", "forgotten_to"), tenant.tenant_id, before)
    firings: int = await connection.fetchval(sql("patterns", "forget_fired"), tenant.tenant_id, before, left)
    return decisions + firings
