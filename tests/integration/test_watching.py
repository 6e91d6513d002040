"""What is kept current in memory goes on being so, whatever one of its parts comes to."""

from __future__ import annotations

import asyncio

import pytest

from firstring.ports import SystemClock
from firstring.routing.declared.policy import RoutingPolicy, policy_from_toml
from firstring.store.database import Database, Tenant
from firstring.store.notices import Notice
from firstring.store.routing.around import AroundWatch, around_now
from firstring.store.routing.presence import PresenceWatch, present
from firstring.store.watching import Watcher


async def test_what_cannot_be_read_holds_up_nothing(database: Database, tenant: Tenant) -> None:
    read: list[int] = []

    async def damaged(_database: Database, _tenant: Tenant) -> None:
        raise ValueError("written by a newer program")

    async def other(_database: Database, its_tenant: Tenant) -> None:
        read.append(its_tenant.tenant_id)

    watcher = Watcher(database, "changed", (damaged, other))
    await watcher.start()
    assert tenant.tenant_id in read
    read.clear()
    watcher.heard(Notice(tenant.tenant_id, "changed"))
    async with asyncio.timeout(5):
        while tenant.tenant_id not in read:
            await asyncio.sleep(0.01)
    await watcher.stop()


async def test_what_is_known_of_the_moment_is_looked_at_for_all_tenants(database: Database, tenant: Tenant) -> None:
    policy = policy_from_toml("[routing.tiers.vip]\nkeep_free = 1")
    later = await database.add_tenant(f"later-{tenant.name}", SystemClock().now())
    assert later is not None

    def policy_of(one: Tenant) -> RoutingPolicy:
        if one.tenant_id != later.tenant_id:
            raise KeyError("whatever it is")
        return policy

    watch = AroundWatch(database, SystemClock(), policy_of)
    await watch.look()
    [known] = [one for one in await database.tenants() if one.tenant_id == later.tenant_id]
    assert around_now(known) is not None


async def test_who_is_there_is_looked_at_for_all_tenants_and_not_shown_as_it_was(
    database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    async def look(_: PresenceWatch, one: Tenant) -> None:
        looked.append(one.tenant_id)
        if one.tenant_id == mine.tenant_id:
            raise KeyError("whatever it is")

    [mine] = [one for one in await database.tenants() if one.tenant_id == tenant.tenant_id]
    later = await database.add_tenant(f"after-{tenant.name}", SystemClock().now())
    assert later is not None
    mine.kept["there"] = {}
    monkeypatch.setattr(PresenceWatch, "look", look)
    await PresenceWatch(database).look_at_all()
    assert later.tenant_id in looked
    assert present(mine, "voice") is None
