"""Waits as they are told: estimated when a contact comes into the line, held against what came, announced anew when they
change; and what the policy says of those that get long."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

import structlog

from firstring.contact import AgentProfile, Beyond, Decision, Overflowed
from firstring.decide import Decider
from firstring.errors import Retryable
from firstring.ports import Clock
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.line.longwaits import LongWaits, in_the_way
from firstring.routing.line.queues import Waiting, waited_s
from firstring.routing.line.waits import Estimate, estimates
from firstring.routing.pick.elsewhere import passed
from firstring.store.contacts import CHANNELS, Contacts
from firstring.store.database import Connection, Database, Tenant
from firstring.store.freeagents import agent_profile_of
from firstring.store.notices import Notice, Notices
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.waits")
LINE: Final = 1_000
"""Contacts of one channel that are looked at; whoever stands behind them is told when they come nearer."""
PERIOD: Final = timedelta(minutes=30)
LOOK_BACK: Final = timedelta(hours=24)
TOLD: Final = 500
"""Waits that are over, the latest, by which the interval is corrected and shown."""
EVERY_S: Final = 0.4
ANNOUNCE_S: Final = 2.0
"""How often lines are looked at for announcements where nobody is new in them."""
DECIDED: Final = 100
"""Contacts that are decided anew in one round."""
LEFT_OUT_S: Final = 30.0
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


def _overflowed(
    contact: Waiting, bound: Beyond, estimate: Estimate | None, agents: Sequence[AgentProfile], now: datetime
) -> Overflowed:
    if estimate is None:
        last_s = contact.need.steps[-1].after_s if contact.need.steps else 0.0
        return Overflowed(bound.name, bound.step, now, None, in_the_way(contact.need, agents, now, last_s))
    why = in_the_way(contact.need, agents, now, waited_s(contact, now)) if estimate.relaxes_s else ""
    return Overflowed(bound.name, bound.step, now, round(estimate.wait_s, 1), why)


class WaitsWork:
    """Work of the queue task, beside its rounds: tells each contact that came into a line how long it will wait, announces
    that anew when it changes, and decides anew where a wait has passed a bound of the policy.

    routed: shows a decision on its agent's desk and tells its adapter.
    """

    def __init__(
        self,
        database: Database,
        contacts: Contacts,
        notices: Notices,
        clock: Clock,
        decider: Decider | None = None,
        routed: Callable[[Tenant, Decision], Awaitable[None]] | None = None,
    ) -> None:
        self._database = database
        self._contacts = contacts
        self._notices = notices
        self._clock = clock
        self._decider = decider
        self._routed = routed
        self._next_s: dict[str, float] = {}
        self._announced_s: dict[str, float] = {}
        self._learned: dict[str, tuple[float, list[float], dict[str, float]]] = {}
        self._long: dict[tuple[str, str], LongWaits] = {}
        self._failed: dict[uuid.UUID, float] = {}

    async def look(self, tenant: Tenant) -> None:
        """Goes on where it is time."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._next_s.get(tenant.name, 0.0):
            self._next_s[tenant.name] = now_s + EVERY_S
            await self.tell(tenant)

    async def tell(self, tenant: Tenant) -> int:
        """One round; returns how many were told."""
        policy = RoutingPolicy() if self._decider is None else self._decider.models_of(tenant).routing
        now_s = self._clock.monotonic_s()
        announces = now_s >= self._announced_s.get(tenant.name, 0.0)
        found = await self._contacts.waiting(tenant, LINE)
        lines: dict[str, list[Waiting]] = {}
        for contact, channel in found:
            lines.setdefault(channel, []).append(contact)
        looked = {
            channel: line
            for channel, line in lines.items()
            if announces or any(not one.is_told or one.need.beyond for one in line)
        }
        if announces:
            self._announced_s[tenant.name] = now_s + ANNOUNCE_S
        for gone in [one for one in CHANNELS if one not in lines]:
            self._long.pop((tenant.name, gone), None)
        if not looked:
            return 0
        now = self._clock.now()
        past: list[tuple[Waiting, list[Overflowed]]] = []
        told: list[tuple[Waiting, Estimate]] = []
        news: list[tuple[Waiting, int, Estimate]] = []
        async with self._database.transaction(tenant.tenant_id) as connection:
            agents = await at_work(connection, tenant)
            ratios, handle_s = await self._known(connection, tenant)
            for of_channel, line in looked.items():
                # A thousand contacts and as many agents take some time: nobody's call waits for it.
                made_of = partial(estimates, line, agents, now=now, handle_s=handle_s, ratios=ratios)
                by_id = await asyncio.to_thread(made_of)
                told += [(one, made) for one in line if not one.is_told and (made := by_id[one.contact_id]) is not None]
                long = self._long.setdefault((tenant.name, of_channel), LongWaits())
                past += [
                    (one, [_overflowed(one, bound, by_id[one.contact_id], agents, now) for bound in bounds])
                    for one, bounds in long.passed(line, by_id, now_s)
                ]
                news += long.news(line, by_id, now_s, every_s=policy.announce_s, change=policy.announce_change)
            await self._keep(connection, tenant, told, news, policy, now)
        for one, _, _ in news:
            self._notices.tell(Notice(tenant.tenant_id, "told", one.contact_id, carried=True))
        if past:
            await self._decide(tenant, past)
        return len(told)

    async def _keep(
        self,
        connection: Connection,
        tenant: Tenant,
        told: Sequence[tuple[Waiting, Estimate]],
        news: Sequence[tuple[Waiting, int, Estimate]],
        policy: RoutingPolicy,
        now: datetime,
    ) -> None:
        if told:
            await connection.execute(
                sql("board", "tell_waits"), tenant.tenant_id, now, [one.contact_id for one, _ in told],
                [made.wait_s for _, made in told], [made.low_s for _, made in told], [made.high_s for _, made in told],
            )  # fmt: skip
        if news:
            await connection.execute(
                sql("board", "say_waits"), tenant.tenant_id, now, [one.contact_id for one, _, _ in news],
                [made.wait_s for _, _, made in news], [made.low_s for _, _, made in news],
                [made.high_s for _, _, made in news], [place for _, place, _ in news], policy.callback_over_s,
            )  # fmt: skip

    async def _decide(
        self,
        tenant: Tenant,
        past: Sequence[tuple[Waiting, Sequence[Overflowed]]],
    ) -> None:
        """Decides contacts anew whose wait has passed bounds. One that cannot be decided on is left out for a while."""
        if self._decider is None or self._routed is None:
            return
        epoch = await self._contacts.take_lease(tenant, "queue")
        if epoch is None:
            return
        now_s = self._clock.monotonic_s()
        self._failed = {one: until_s for one, until_s in self._failed.items() if until_s > now_s}
        for contact, more in past[:DECIDED]:
            if contact.contact_id in self._failed:
                continue
            try:
                decision = await self._decider.again(
                    tenant, contact.contact_id, "overflow", change=partial(passed, more=more), epoch=epoch
                )
                if decision is not None and decision.outcome in ("route", "elsewhere"):
                    await self._routed(tenant, decision)
            except Retryable:
                raise
            except Exception as error:  # noqa: BLE001 - one contact does not hold up the others; logged in full
                self._failed[contact.contact_id] = now_s + LEFT_OUT_S
                _log.exception("contact_not_decided", error=type(error).__name__, contact=str(contact.contact_id))

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
