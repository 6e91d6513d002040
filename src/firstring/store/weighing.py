"""What contacts are weighed with, by tenant: the active model version, kept in memory so that no ring waits for it.

A watcher asks which version is active: when the program starts, when a notice says that a model changed or that notices
may be missing, and every POLL_S. What is being decided meanwhile is weighed with the version before.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import asyncpg
import structlog

from firstring.errors import FirstringError
from firstring.identity.fitted import Fitted
from firstring.identity.weights import DEFAULT, JOINED, Weights
from firstring.store.database import Connection, Database, Tenant
from firstring.store.models import ActiveModel, active_model, model_of
from firstring.store.notices import Notice
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.weighing")
POLL_S: Final = 10.0
"""How often it is asked, whatever was or was not told."""
CHANGED: Final = "model"
"""What a notice says when a tenant's active version changes."""
_KEPT: Final = "weights"


def weights_of(tenant: Tenant) -> Weights:
    """What a tenant's contacts are weighed with at this moment: named priors before the first model. No I/O."""
    found = tenant.kept.get(_KEPT, DEFAULT)
    assert isinstance(found, Weights)
    return found


async def refresh(database: Database, tenant: Tenant) -> Weights:
    """Asks which version is active, makes it ready, and keeps it."""
    async with database.transaction(tenant.tenant_id) as connection:
        version = await active_model(connection, tenant)
    weights = DEFAULT if version is None else _weights(version)
    if weights_of(tenant).version != weights.version:
        tenant.kept[_KEPT] = weights
        _log.info("weights_changed", tenant=tenant.tenant_id, version=weights.version)
    return weights_of(tenant)


async def weights_named(connection: Connection, tenant: Tenant, version: str) -> Weights | None:
    """The weights of a decision made before, by Versions.identity; None where its priors or its model are gone.

    Within a transaction of the tenant.
    """
    model, _, priors = version.rpartition(JOINED)
    if priors != DEFAULT.version:
        return None
    if not model:
        return DEFAULT
    model_id = await connection.fetchval(sql("weighing", "model_of_version"), tenant.tenant_id, model)
    return None if model_id is None else _weights(await model_of(connection, tenant, model_id))


def _weights(version: ActiveModel) -> Weights:
    return Weights(fitted=Fitted(version.model, version.statistics))


class WeightsWatcher:
    """Keeps the weights of every tenant current in this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Reads the active versions once, so that the first ring has them, and watches from then on."""
        await self._refresh()
        self._task = asyncio.create_task(self._watch(), name="weights")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def heard(self, notice: Notice) -> None:
        """A notice that a model changed, or that notices may be missing. Never blocks."""
        if notice.what in (CHANGED, "resync"):
            self._wake.set()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_S)
            self._wake.clear()
            await self._refresh()

    async def _refresh(self) -> None:
        """A version that cannot be read leaves the weights as they are: a ring is never failed by it."""
        try:
            for tenant in await self._database.tenants():
                await refresh(self._database, tenant)
        except (FirstringError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            code = error.code if isinstance(error, FirstringError) else type(error).__name__
            _log.warning("weights_not_read", code=code)
