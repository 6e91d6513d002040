"""Waits as they are told: estimated once, when a contact comes into the line, and held against what came."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from firstring.contact import AgentProfile
from firstring.ports import Clock
from firstring.routing.queues import Waiting
from firstring.routing.waits import Estimate, estimates
from firstring.store.contacts import Contacts
from firstring.store.database import Connection, Database, Tenant
from firstring.store.freeagents import agent_profile_of
from firstring.store.notices import Notice, Notices
from firstring.store.queries import sql

LINE: Final = 1_000
"""Contacts of one channel that are looked at; whoever stands behind them is told when they come nearer."""
PERIOD: Final = timedelta(minutes=30)
LOOK_BACK: Final = timedelta(hours=24)
TOLD: Final = 500
"""Waits that are over, the latest, by which the interval is corrected and shown."""
EVERY_S: Final = 0.4
LEARN_S: Final = 30.0


class Kept(NamedTuple):
    """How the waits that were told came out. within: of those that are over, how many lay in the interval."""

    over: int = 0
    within: int = 0
    served: int = 0


async def at_work(connection: Connection, tenant: Tenant) -> list[AgentProfile]:
    """The profiles of those who are signed in: ready, or busy."""
    rows = await connection.fetch(sql("board", "at_work"), tenant.tenant_id)
    known = {
        row["agent_id"]: agent_profile_of(row["agent_id"], row["version"], row["profile"])
        for row in rows
        if row["presence"] == "ready" or row["contact_id"] is not None
    }
    return list(known.values())


async def kept(connection: Connection, tenant: Tenant, now: Any) -> tuple[Kept, list[float]]:
    """How told waits came out in the last day, and waited over told. One who gave up waited at least so long."""
    rows = await connection.fetch(sql("board", "told"), tenant.tenant_id, now - LOOK_BACK, TOLD)
    ratios = [max(0.0, row["waited_s"]) / max(row["told_wait_s"], 0.1) for row in rows if row["served"]]
    over = [row for row in rows if row["served"] or row["waited_s"] > row["told_high_s"]]
    within = sum(1 for row in over if row["served"] and row["told_low_s"] <= row["waited_s"] <= row["told_high_s"])
    return Kept(len(over), within, len(ratios)), ratios


class WaitsWork:
    """A chore of the queue task: tells each contact that came into a line how long it will wait."""

    def __init__(self, database: Database, contacts: Contacts, notices: Notices, clock: Clock) -> None:
        self._database = database
        self._contacts = contacts
        self._notices = notices
        self._clock = clock
        self._next_s: dict[str, float] = {}
        self._learned: dict[str, tuple[float, list[float], dict[str, float]]] = {}

    async def look(self, tenant: Tenant) -> None:
        """Goes on where it is time."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._next_s.get(tenant.name, 0.0):
            self._next_s[tenant.name] = now_s + EVERY_S
            await self.tell(tenant)

    async def tell(self, tenant: Tenant) -> int:
        """One round; returns how many were told."""
        found = await self._contacts.waiting(tenant, LINE)
        lines: dict[str, list[Waiting]] = {}
        for contact, channel in found:
            lines.setdefault(channel, []).append(contact)
        lines = {channel: line for channel, line in lines.items() if any(not one.is_told for one in line)}
        if not lines:
            return 0
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            agents = await at_work(connection, tenant)
            ratios, handle_s = await self._known(connection, tenant)
            told: list[tuple[Waiting, Estimate]] = []
            for line in lines.values():
                # A thousand contacts and as many agents take some time: nobody's call waits for it.
                made_of = partial(estimates, line, agents, now=now, handle_s=handle_s, ratios=ratios)
                by_id = await asyncio.to_thread(made_of)
                told += [(one, made) for one in line if not one.is_told and (made := by_id[one.contact_id]) is not None]
            if told:
                await connection.execute(
                    sql("board", "tell_waits"), tenant.tenant_id, now, [one.contact_id for one, _ in told],
                    [made.wait_s for _, made in told], [made.low_s for _, made in told], [made.high_s for _, made in told],
                )  # fmt: skip
        for one, _ in told:
            self._notices.tell(Notice(tenant.tenant_id, "told", one.contact_id))
        return len(told)

    async def _known(self, connection: Connection, tenant: Tenant) -> tuple[list[float], dict[str, float]]:
        """Ratios and mean handle times, looked up now and then."""
        now_s = self._clock.monotonic_s()
        at_s, ratios, handle_s = self._learned.get(tenant.name, (float("-inf"), [], {}))
        if now_s - at_s >= LEARN_S:
            now = self._clock.now()
            _, ratios = await kept(connection, tenant, now)
            rows = await connection.fetch(sql("board", "handle_s"), tenant.tenant_id, now - PERIOD)
            handle_s = {row["channel"]: max(1.0, row["handle_s"]) for row in rows if row["contacts"] >= 5}
            self._learned[tenant.name] = (now_s, ratios, handle_s)
        return ratios, handle_s
