"""The elected process looks for drift once a day; its gauge says what was found last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from firstring.bulk.versions.listing import find_version
from firstring.identity.model.drift import STATES
from firstring.ports import Clock
from firstring.store.database import Database, Tenant
from firstring.store.queries import sql

if TYPE_CHECKING:
    from firstring.bulk.versions.drifting import Found

_log = structlog.get_logger("firstring.drift")

EVERY: Final = timedelta(days=1)
_DRIFTING: Final = "firstring.bulk.versions.drifting"
"""Imported when it is needed: a server without a model does not pay for what training takes."""
_LOOK_S: Final = 1_800.0
"""How often it is looked whether a day is over."""

Tell: TypeAlias = Callable[[str, int, int], None]
"""Told of a tenant's name, the state (0 steady, 1 watch, 2 alarm), and how many measures are over their bound."""


class DriftWatch:
    """A chore of the queue task (dispatch)."""

    def __init__(self, database: Database, clock: Clock, tell: Tell) -> None:
        self._database = database
        self._clock = clock
        self._tell = tell
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
            drifting = await asyncio.to_thread(import_module, _DRIFTING)  # calls are answered meanwhile
            version = await find_version(connection, tenant, str(number))
        if "profile" not in version.report:
            return
        found = drifting.last_found(version)
        if found is None or self._clock.now() - found.at >= EVERY:
            found = await drifting.look_for_drift(self._database, tenant, now=self._clock.now())
            self._say(tenant, found)
        self._tell(tenant.name, STATES.index(found.state), _over(found))

    def _say(self, tenant: Tenant, found: Found) -> None:
        if found.state != "steady":
            _log.warning("model_drift", tenant=tenant.tenant_id, why=found.state, count=_over(found), version=found.version)


def _over(found: Found) -> int:
    return sum(one.state != "steady" for one in found.measures)
