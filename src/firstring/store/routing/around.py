"""What this server knows of the moment (contact.Around), kept in memory: how self-service did, which tiers were there, how
long the lines are. A decision takes it as it stands, so it costs the ring path nothing; it is sealed with the decision."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import asyncpg
import structlog

from firstring import limits
from firstring.contact import Around
from firstring.errors import FirstringError
from firstring.ports import Clock
from firstring.routing.declared.policy import RoutingPolicy
from firstring.store.contacts import Contacts
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.around")
EVERY_S: Final = 2.0
"""How often lines and tiers are looked at."""
LEARN_S: Final = 60.0
"""How often it is counted what came of self-service."""
REMEMBERED: Final = timedelta(days=90)
_KEPT: Final = "around"
_UNREADABLE: Final = (FirstringError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


def around_now(tenant: Tenant) -> Around | None:
    """What is known just now; None before it was first looked at, and where the policy asks for nothing. No I/O."""
    found = tenant.kept.get(_KEPT)
    return found if isinstance(found, Around) else None


class PlacesWork:
    """A chore of the queue task: says of visits whether it was done there, and ends contacts that are at a place for longer
    than anybody stays."""

    def __init__(
        self, database: Database, contacts: Contacts, clock: Clock, policy_of: Callable[[Tenant], RoutingPolicy]
    ) -> None:
        self._database = database
        self._contacts = contacts
        self._clock = clock
        self._policy_of = policy_of
        self._next_s: dict[str, float] = {}

    async def look(self, tenant: Tenant) -> None:
        """Goes on where it is time."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._next_s.get(tenant.name, 0.0):
            self._next_s[tenant.name] = now_s + LEARN_S
            await self.judge(tenant)

    async def judge(self, tenant: Tenant) -> None:
        """One round. A visit that nobody could judge within twice the time in which customers come back stays unjudged."""
        policy, now = self._policy_of(tenant), self._clock.now()
        back_within = timedelta(seconds=policy.back_within_s)
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(
                sql("places", "judge"), tenant.tenant_id, now - 2 * back_within, now, back_within, list(policy.success),
                list(policy.not_judged),
            )  # fmt: skip
            stays = timedelta(seconds=limits.ANSWERED_EXPIRES_S)
            gone = await connection.fetch(sql("places", "gone"), tenant.tenant_id, now - stays)
        for row in gone:
            await self._contacts.event(tenant, row["contact_id"], "ended")


class AroundWatch:
    """Looks again and again, for every tenant whose policy asks for it. policy_of: the policy in force, without I/O."""

    def __init__(self, database: Database, clock: Clock, policy_of: Callable[[Tenant], RoutingPolicy]) -> None:
        self._database = database
        self._clock = clock
        self._policy_of = policy_of
        self._learned: dict[str, tuple[float, dict[str, tuple[int, int]]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Looks once, so that the first contact has it, and goes on."""
        await self.look()
        self._task = asyncio.create_task(self._watch(), name="around")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        """What cannot be read leaves everything as it is: a decision is never failed by it, nor one tenant by another."""
        try:
            tenants = await self._database.tenants()
        except _UNREADABLE as error:
            self._say(error)
            return
        for tenant in tenants:
            try:
                await self.refresh(tenant)
            except Exception as error:  # noqa: BLE001 - whatever it is, lines and tiers are looked at again
                self._say(error, tenant.tenant_id)

    def _say(self, error: Exception, tenant_id: int | None = None) -> None:
        code = error.code if isinstance(error, FirstringError) else type(error).__name__
        _log.warning("not_read", of="around", tenant=tenant_id, code=code)

    async def refresh(self, tenant: Tenant) -> Around | None:
        """Looks once for one tenant."""
        policy = self._policy_of(tenant)
        if not policy.asks_around:
            tenant.kept.pop(_KEPT, None)
            return None
        now = self._clock.now()
        seen_s = max((tier.keep_free_seen_s for tier in policy.tiers.values() if tier.keep_free), default=0.0)
        async with self._database.transaction(tenant.tenant_id) as connection:
            seen = (
                await connection.fetch(sql("places", "tiers_seen"), tenant.tenant_id, now - timedelta(seconds=seen_s))
                if seen_s
                else ()
            )
            lines = await connection.fetch(sql("places", "lines"), tenant.tenant_id)
            contained = await self._contained(connection, tenant, policy)
            bounded = any(one.at_once for one in policy.self_service)
            there = await connection.fetch(sql("places", "there"), tenant.tenant_id) if bounded else ()
        found = Around(
            contained={one.name: contained[one.name] for one in policy.self_service if one.name in contained},
            seen={row["tier"]: row["at"] for row in seen if row["tier"] in policy.tiers},
            lines={row["channel"]: row["contacts"] for row in lines},
            there={row["name"]: row["contacts"] for row in there},
        )
        tenant.kept[_KEPT] = found
        return found

    async def _contained(self, connection: Connection, tenant: Tenant, policy: RoutingPolicy) -> dict[str, tuple[int, int]]:
        if not policy.self_service:
            return {}
        now_s = self._clock.monotonic_s()
        at_s, known = self._learned.get(tenant.name, (float("-inf"), {}))
        if now_s - at_s >= LEARN_S:
            now = self._clock.now()
            rows = await connection.fetch(sql("places", "contained"), tenant.tenant_id, now - REMEMBERED)
            known = {row["name"]: (row["contained"], row["back"]) for row in rows}
            self._learned[tenant.name] = (now_s, known)
        return known
