"""Training that people and programs ask a server for: in a process beside it, one at a time for each tenant."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog

from firstring.errors import FirstringError
from firstring.ports import Clock
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.train import ENOUGH, train
from firstring.settings import Settings
from firstring.store.aside import aside
from firstring.store.database import Database, Tenant
from firstring.store.queries import sql
from firstring.store.routing.models import ASIDE, refresh, train_now
from firstring.store.routing.outcomes import REMEMBERED

_log = structlog.get_logger("firstring.fit")
WAIT_S: Final = 8.0
"""So long an answer waits for the training; it goes on after that."""


class Trainings:
    """The trainings that run."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._running: dict[int, asyncio.Task[str]] = {}

    async def train(self, tenant: Tenant, policy: RoutingPolicy, *, by: str, at_most: int) -> str | None:
        """The version in force; None where it takes longer than WAIT_S, and goes on. Whoever asks meanwhile waits for
        the same training. Raises BadInput outcomes_too_few, feature_protected."""
        task = self._running.get(tenant.tenant_id)
        if task is None:
            task = asyncio.create_task(self._train(tenant, policy, by, at_most), name="training")
            self._running[tenant.tenant_id] = task
            task.add_done_callback(lambda done: self._over(tenant, done))
        await asyncio.wait([task], timeout=WAIT_S)
        return task.result() if task.done() else None

    async def stop(self) -> None:
        """Ends what runs."""
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _train(self, tenant: Tenant, policy: RoutingPolicy, by: str, at_most: int) -> str:
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            enough = await connection.fetchval(sql("fit", "enough_since"), tenant.tenant_id, now - REMEMBERED, ENOUGH)
        if enough < ENOUGH:
            train([])  # says so
        training = partial(train_now, policy=policy, now=now, by=by, origin=ASIDE, at_most=at_most)
        model = await aside(self._settings, tenant.name, training)
        await refresh(self._database, tenant)
        return model.version

    def _over(self, tenant: Tenant, task: asyncio.Task[str]) -> None:
        self._running.pop(tenant.tenant_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            code = error.code if isinstance(error, FirstringError) else type(error).__name__
            _log.warning("fit_not_trained", tenant=tenant.tenant_id, code=code)
