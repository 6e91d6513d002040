"""The elected process finishes what a roll-in has left that was ended after its switch (bulk/versions/switch)."""

from __future__ import annotations

from typing import Final

import structlog

from firstring.ports import Clock
from firstring.store.database import Database, Tenant
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.settling")

_LOOK_S: Final = 60.0
"""How often it is looked whether anything is left."""
_WITHIN_S: Final = 5.0
"""How long it is worked on at a time: other chores wait, and so does a server that stops."""


class SettleWatch:
    """A chore of the queue task (dispatch)."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._look_s: dict[str, float] = {}

    async def look(self, tenant: Tenant) -> None:
        """Goes on, where nobody else is at it."""
        now_s = self._clock.monotonic_s()
        if now_s < self._look_s.get(tenant.name, 0.0):
            return
        async with self._database.transaction(tenant.tenant_id) as connection:
            left = await connection.fetchval(sql("models", "settling"), tenant.tenant_id) is not None
        done = True
        if left:
            from firstring.bulk.versions.rollin import finish_left  # a server without a model does not pay

            done = await finish_left(self._database, tenant, self._clock, within_s=_WITHIN_S)
            _log.info("settling", tenant=tenant.tenant_id, done=done)
        self._look_s[tenant.name] = self._clock.monotonic_s() + (_LOOK_S if done else 0.0)
