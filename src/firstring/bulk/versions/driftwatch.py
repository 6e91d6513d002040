"""The elected process looks for drift once a day; its gauge says what was found last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeAlias

import structlog

from firstring.bulk.versions.listing import Found, find_version, last_found
from firstring.identity.model.drift import STATES
from firstring.ports import Clock
from firstring.settings import Settings
from firstring.store.aside import aside
from firstring.store.database import Database, Tenant
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.drift")

EVERY: Final = timedelta(days=1)
_LOOK_S: Final = 1_800.0
"""How often it is looked whether a day is over."""

Tell: TypeAlias = Callable[[str, int, int], None]
"""Told of a tenant's name, the state (0 steady, 1 watch, 2 alarm), and how many measures are over their bound."""
Look: TypeAlias = Callable[[Tenant, datetime], Awaitable[Found]]


async def look_aside(settings: Settings, tenant: Tenant, now: datetime) -> Found:
    """drifting.look_for_drift in a process of its own."""
    return await aside(settings, tenant.name, partial(_look, now=now))


async def _look(database: Database, tenant: Tenant, *, now: datetime) -> Found:
    from firstring.bulk.versions.drifting import look_for_drift  # a server does not pay for what training takes

    return await look_for_drift(database, tenant, now=now)


class DriftWatch:
    """A chore of the queue task (dispatch)."""

    def __init__(self, database: Database, clock: Clock, tell: Tell, look: Look) -> None:
        self._database = database
        self._clock = clock
        self._tell = tell
        self._look_for_drift = look
        self._look_s: dict[str, float] = {}

    async def look(self, tenant: Tenant) -> None:
        """Looks, where a day is over since somebody did. Nothing without a version that was trained on this store."""
        now_s = self._clock.monotonic_s()
        if now_s < self._look_s.get(tenant.name, 0.0):
            return
        self._look_s[tenant.name] = now_s + _LOOK_S
        async with self._database.transaction(tenant.tenant_id) as connection:
            number = await connection.fetchval(sql("linking", "active_model"), tenant.tenant_id)
            if number is None:
                return
            version = await find_version(connection, tenant, str(number))
        if "profile" not in version.report:
            return
        found = last_found(version)
        if found is None or self._clock.now() - found.at >= EVERY:
            found = await self._look_for_drift(tenant, self._clock.now())
            self._say(tenant, found)
        self._tell(tenant.name, STATES.index(found.state), _over(found))

    def _say(self, tenant: Tenant, found: Found) -> None:
        if found.state != "steady":
            _log.warning("model_drift", tenant=tenant.tenant_id, why=found.state, count=_over(found), version=found.version)


def _over(found: Found) -> int:
    return sum(one.state != "steady" for one in found.measures)
