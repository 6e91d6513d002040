"""The price list in force for a tenant: found by the elected task, kept in memory by every process, found again by its
version for decisions made with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import numpy as np
import structlog

from firstring.contact import AgentProfile
from firstring.ports import Clock
from firstring.routing.eligibility import eligible
from firstring.routing.fit.asked import Asked
from firstring.routing.fit.model import FitModel
from firstring.routing.fit.predict import fits
from firstring.routing.live import NO_PRICES, Live, PriceList, rounded
from firstring.routing.needs import relaxing_steps
from firstring.routing.policy import RoutingPolicy
from firstring.routing.prices import agent_prices, capacity_s, standing
from firstring.store.database import Connection, Database, Tenant
from firstring.store.freeagents import agent_profile_of
from firstring.store.notices import Notices
from firstring.store.queries import sql
from firstring.store.routing.models import fit_in_force
from firstring.store.watching import Watcher

_log = structlog.get_logger("firstring.prices")
CHANGED: Final = "prices"
_KEPT: Final = "prices"
EVERY_S: Final = 60.0
"""How often prices are found anew."""
PERIOD: Final = timedelta(minutes=30)
CLASSES: Final = 60
"""Kinds of contact (channel and reason) that prices are found over, the most frequent."""
AGENTS: Final = 5_000
SMOOTHING: Final = 0.03
STEP: Final = 0.02
"""Occupancies are told in steps of so much: a list that says the same is the same list."""


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


def price_list(
    model: FitModel,
    policy: RoutingPolicy,
    classes: Sequence[tuple[str, str, int]],
    agents: Sequence[AgentProfile],
    occupancy: Sequence[float],
    *,
    start: Live,
    period_s: float,
    now: datetime,
) -> PriceList:
    """Prices by the dual over the kinds of contact (channel, reason, how many) of the last period. Pure.

    Whoever lacks the skills of a reason has no price for it. start: the prices before, from which the search begins.
    """
    ids = np.array([agent.agent_id for agent in agents], np.int64)
    p = np.full((len(classes), len(agents)), -np.inf)
    h = np.full((len(classes), len(agents)), 1.0)
    for row, (channel, intent, _) in enumerate(classes):
        wanted = policy.intents.get(intent) or policy.intents.get(intent.partition(".")[0], {})
        step = relaxing_steps(None, wanted, None, policy)[0].requirement
        may = [eligible(agent, step, channel, intent=intent or None, now=now)[0] for agent in agents]
        expected = fits(model, Asked(channel, intents=((intent, 1.0),) if intent else ()), ids)
        p[row] = np.where(may, expected.success, -np.inf)
        # One of three chats takes a third of the agent.
        places = np.array([max(1, agent.capacity.get(channel, 1)) for agent in agents])
        h[row] = expected.handle_s / places
    served = np.asarray((p > -np.inf).any(axis=1))
    price = np.zeros(len(agents))
    if served.any() and len(agents):
        weights = np.array([count for _, _, count in classes], np.float64)
        found = agent_prices(
            p[served],
            h[served],
            weights[served],
            capacity_s(np.ones(len(agents)), period_s),
            smoothing=SMOOTHING,
            start=start.of(ids)[0] if start.prices.agents else None,
        )
        price = np.array(rounded(found.agent.tolist()))
    by_intent: dict[str, float] = {}
    for intent in dict.fromkeys(intent for _, intent, _ in classes):
        rows = [row for row, one in enumerate(classes) if one[1] == intent and served[row]]
        if rows:
            count = sum(classes[row][2] for row in rows)
            worth = sum(classes[row][2] * standing(p[row], h[row], price) for row in rows) / count
            by_intent[intent] = rounded([worth])[0]
    return PriceList(
        agents=tuple(ids.tolist()),
        price=tuple(price.tolist()),
        occupancy=rounded([round(share / STEP) * STEP for share in occupancy]),
        contact=by_intent,
        fit=model.version,
    )


class PricesWork:
    """A chore of the queue task: finds the prices anew where a fitted model is in force."""

    def __init__(self, database: Database, notices: Notices, clock: Clock, policy: RoutingPolicy) -> None:
        self._database = database
        self._notices = notices
        self._clock = clock
        self._policy = policy
        self._next_s: dict[str, float] = {}

    async def look(self, tenant: Tenant) -> None:
        """Goes on where it is time."""
        model = fit_in_force(tenant)
        now_s = self._clock.monotonic_s()
        if model.basis == "fitted" and self._policy.pick == "best" and now_s >= self._next_s.get(tenant.name, 0.0):
            self._next_s[tenant.name] = now_s + EVERY_S
            await self.find(tenant, model)

    async def find(self, tenant: Tenant, model: FitModel) -> Live | None:
        """One round. None: nobody is signed in, or the lease is over."""
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            epoch = await connection.fetchval(sql("prices", "epoch"), tenant.tenant_id, self._notices.origin)
            classes = await connection.fetch(sql("prices", "classes"), tenant.tenant_id, now - PERIOD, CLASSES)
            rows = await connection.fetch(sql("prices", "busy"), tenant.tenant_id, now - PERIOD, now, AGENTS)
        if epoch is None or not rows:
            return None
        made = await asyncio.to_thread(
            price_list,
            model,
            self._policy,
            [(row["channel"], row["intent"], row["contacts"]) for row in classes],
            [agent_profile_of(row["agent_id"], 1, row["profile"]) for row in rows],
            [row["occupancy"] for row in rows],
            start=live_in_force(tenant),
            period_s=PERIOD.total_seconds(),
            now=now,
        )
        live = Live(made)
        if live.version == live_in_force(tenant).version:
            return live
        return live if await self._put(tenant, live, epoch, now) else None

    async def _put(self, tenant: Tenant, live: Live, epoch: int, now: datetime) -> bool:
        content = msgspec.json.encode(live.prices).decode()
        values: tuple[Any, ...] = (tenant.tenant_id, live.version, content, epoch, now)
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("prices", "retire"), tenant.tenant_id, live.version)
            if await connection.execute(sql("prices", "put"), *values) == "INSERT 0 0":
                return False
            await connection.execute(sql("prices", "tell"), tenant.tenant_id, self._notices.origin)
        tenant.kept[_KEPT] = live
        return True
