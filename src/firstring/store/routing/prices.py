"""The price list in force for a tenant: found by the elected task, kept in memory by every process, found again by its
version for decisions made with it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from firstring.contact import AgentProfile, Decision, RoutingNeed
from firstring.errors import FirstringError
from firstring.ports import Clock
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.model import FitModel
from firstring.routing.pick import step
from firstring.routing.pick.live import NO_PRICES, Live, PriceList, matching_in
from firstring.routing.pick.pricing import Load, Recent, loads_after, price_list, recent_of
from firstring.store.database import Connection, Database, Tenant
from firstring.store.freeagents import agent_profile_of
from firstring.store.notices import Notices
from firstring.store.queries import sql
from firstring.store.ring import opened_decision
from firstring.store.routing.models import fit_in_force
from firstring.store.routing.outcomes import hard_contacts
from firstring.store.routing.relying import slopes_of
from firstring.store.watching import Watcher

_log = structlog.get_logger("firstring.prices")
CHANGED: Final = "prices"
_KEPT: Final = "prices"
EVERY_S: Final = 60.0
"""How often it is looked who was busy; prices follow every `step.REPRICE_S`."""
PERIOD: Final = timedelta(minutes=30)
"""How far a task that takes over looks back at who was busy."""
AGENTS: Final = 5_000
PATIENCE_OVER: Final = timedelta(hours=24)
KEPT: Final = timedelta(days=90)
"""Decisions made with a list that was in force longer ago cannot be derived again."""
FORGET_S: Final = 3_600.0
LOAD: Final = "load"


def live_in_force(tenant: Tenant) -> Live:
    """What is in force at this moment. No I/O."""
    found = tenant.kept.get(_KEPT, NO_PRICES)
    assert isinstance(found, Live)
    return found


async def refresh(database: Database, tenant: Tenant) -> Live:
    """Asks which list is in force, and keeps it."""
    before = live_in_force(tenant)
    async with database.transaction(tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("prices", "active"), tenant.tenant_id)
    if row is not None and row["version"] != before.version:
        tenant.kept[_KEPT] = Live(msgspec.json.decode(row["content"], type=PriceList))
    return live_in_force(tenant)


async def live_named(connection: Connection, tenant: Tenant, version: str) -> Live | None:
    """The list of a version; None where it is gone."""
    if version == NO_PRICES.version:
        return NO_PRICES
    content = await connection.fetchval(sql("prices", "named"), tenant.tenant_id, version)
    return None if content is None else Live(msgspec.json.decode(content, type=PriceList))


def prices_watcher(database: Database) -> Watcher:
    """Keeps what is in force for every tenant current in this process."""
    return Watcher(database, CHANGED, (refresh,))


class LoadState(msgspec.Struct, frozen=True):
    """How busy agents were since they signed in, as far as `at` (`datetime.timestamp`), for the next task to go on with."""

    at: float
    loads: dict[int, Load]


class _Read(msgspec.Struct, frozen=True):
    """What one round read."""

    agents: list[AgentProfile]
    loads: dict[int, Load]
    recent: list[Recent]
    slopes: tuple[float, float]
    patience_s: dict[str, float]
    hard: dict[int, int]


class PricesWork:
    """A chore of the queue task: keeps the price list where a fitted model is in force."""

    def __init__(
        self, database: Database, notices: Notices, clock: Clock, policy_of: Callable[[Tenant], RoutingPolicy]
    ) -> None:
        self._database = database
        self._notices = notices
        self._clock = clock
        self._policy_of = policy_of
        self._next_s: dict[str, float] = {}
        self._reprice_s: dict[str, float] = {}
        self._forget_s: dict[str, float] = {}
        self._recent: dict[str, dict[uuid.UUID, Recent]] = {}

    async def look(self, tenant: Tenant) -> None:
        """Goes on where it is time."""
        model = fit_in_force(tenant)
        now_s = self._clock.monotonic_s()
        if (
            model.basis == "fitted"
            and self._policy_of(tenant).pick == "best"
            and now_s >= self._next_s.get(tenant.name, 0.0)
        ):
            self._next_s[tenant.name] = now_s + EVERY_S
            await self.find(tenant, model)

    async def find(self, tenant: Tenant, model: FitModel) -> Live | None:
        """One round. None: nobody is signed in, or the lease is over."""
        now, now_s = self._clock.now(), self._clock.monotonic_s()
        reprices = now_s >= self._reprice_s.get(tenant.name, float("-inf"))
        async with self._database.transaction(tenant.tenant_id) as connection:
            epoch = await connection.fetchval(sql("prices", "epoch"), tenant.tenant_id, self._notices.origin)
            if epoch is None:
                return None
            found = await self._read(connection, tenant, model, now, reprices)
        if not found.agents:
            return None
        before = live_in_force(tenant)
        made = await asyncio.to_thread(
            price_list, model, found.agents, found.loads, found.recent, before=before, slopes=found.slopes,
            patience_s=found.patience_s, hard=found.hard, now=now,
        )  # fmt: skip
        live = Live(made)
        if not await self._put(tenant, live, LoadState(now.timestamp(), found.loads), epoch, now):
            return None
        if reprices:
            self._reprice_s[tenant.name] = now_s + step.REPRICE_S
        return live

    async def _read(self, connection: Connection, tenant: Tenant, model: FitModel, now: datetime, reprices: bool) -> _Read:
        state = await connection.fetchval(sql("prices", "state"), tenant.tenant_id, LOAD)
        known = LoadState(0.0, {}) if state is None else msgspec.json.decode(state, type=LoadState)
        since = max(now - PERIOD, min(datetime.fromtimestamp(known.at, UTC), now))
        rows = await connection.fetch(sql("prices", "there"), tenant.tenant_id, since, now, AGENTS)
        busy_s = {row["agent_id"]: row["busy_s"] for row in rows if row["busy_s"]}
        there_s = {row["agent_id"]: (now - max(row["presence_at"], since)).total_seconds() for row in rows if row["ready"]}
        patience = await connection.fetch(sql("prices", "patience"), tenant.tenant_id, now - PATIENCE_OVER)
        before = live_in_force(tenant).prices
        return _Read(
            [
                agent_profile_of(row["agent_id"], row["version"], row["profile"])
                for row in rows
                if row["ready"] or row["taken"]
            ],
            loads_after(known.loads, busy_s, {agent: max(0.0, there) for agent, there in there_s.items()}, now),
            await self._contacts(connection, tenant, model, now) if reprices else [],
            # In between the prices stand, and so does what they were found with.
            await slopes_of(connection, tenant) if reprices else before.slopes,
            {row["channel"]: (step.PATIENCE_PRIOR_S + row["waited_s"]) / (1.0 + row["gave_up"]) for row in patience},
            await hard_contacts(connection, tenant, model, now),
        )

    async def _contacts(self, connection: Connection, tenant: Tenant, model: FitModel, now: datetime) -> list[Recent]:
        """The contacts that came lately, by arrival. Each decision is opened once."""
        since = now - timedelta(seconds=step.RECENT_S)
        rows = await connection.fetch(sql("prices", "recent"), tenant.tenant_id, since, step.SAMPLE)
        kept = self._recent.get(tenant.name, {})
        new = [row["contact_id"] for row in rows if row["contact_id"] not in kept]
        sealed = await connection.fetch(sql("contacts", "newest_decisions_whole"), tenant.tenant_id, new)
        opened = await asyncio.to_thread(self._opened, tenant, sealed, model)
        found = {row["contact_id"]: kept.get(row["contact_id"]) or opened.get(row["contact_id"]) for row in rows}
        self._recent[tenant.name] = {one: recent for one, recent in found.items() if recent is not None}
        return sorted(self._recent[tenant.name].values(), key=lambda one: one.offered_at)

    def _opened(self, tenant: Tenant, rows: Sequence[Any], model: FitModel) -> dict[uuid.UUID, Recent]:
        found: dict[uuid.UUID, Recent] = {}
        policy = self._policy_of(tenant)
        for row in rows:
            try:
                decision: Decision = opened_decision(tenant, row)
            except (FirstringError, msgspec.MsgspecError):  # damaged: it says nothing of what is wanted
                continue
            need: RoutingNeed = decision.derived.routing.need
            matching = matching_in(decision, policy=policy, fit=model, live=NO_PRICES)
            if matching is not None and need.steps:
                found[row["contact_id"]] = recent_of(need, matching, decision.contact.offered_at)
        return found

    async def _put(self, tenant: Tenant, live: Live, state: LoadState, epoch: int, now: datetime) -> bool:
        """All of it under the lease's epoch, or nothing."""
        is_new = live.version != live_in_force(tenant).version
        async with self._database.transaction(tenant.tenant_id) as connection:
            if not await connection.fetchval(sql("prices", "fence"), tenant.tenant_id, epoch):
                return False
            await connection.execute(
                sql("prices", "put_state"), tenant.tenant_id, LOAD, msgspec.json.encode(state).decode(), now
            )
            if is_new:
                content = msgspec.json.encode(live.prices).decode()
                await connection.execute(sql("prices", "retire"), tenant.tenant_id, live.version)
                await connection.execute(sql("prices", "put"), tenant.tenant_id, live.version, content, epoch, now)
                await connection.execute(sql("prices", "tell"), tenant.tenant_id, self._notices.origin)
            if self._clock.monotonic_s() >= self._forget_s.get(tenant.name, 0.0):
                self._forget_s[tenant.name] = self._clock.monotonic_s() + FORGET_S
                await connection.execute(sql("prices", "forget"), tenant.tenant_id, now - KEPT)
        if is_new:
            tenant.kept[_KEPT] = live
        return True
