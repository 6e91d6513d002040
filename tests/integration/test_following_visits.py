"""Patterns follow events that change hands: visits that become known, are taken back, and become somebody else's."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from random import Random

import pytest
from tests.following_rig import SHOP, T0, SetClock, World
from tests.linked_store import linked_tenant

from firstring.journey.events import Event
from firstring.store.database import Connection, Database, Tenant
from firstring.store.journey import replaying
from firstring.store.journey.events import ingest
from firstring.store.journey.firings import claim_firings
from firstring.store.journey.states import Logged

CART = "{id: cart_left, valence: negative, within: 3h, match: {seq: [Product Added, {absent: Order Completed, for: 2h}]}}"
TWICE = "{id: twice, within: 7d, match: {event: Call Started, count: 2}}"
RAGE = "{id: rage, by: visit, within: 1m, same: event.properties.k, match: {event: Clicked, count: 3}}"
HOME = "{id: outage, by: household, within: 6h, match: {event: Outage Reported, count: 2}}"
HOME_QUIET = "{id: home_quiet, by: household, within: 2h, match: {seq: [Outage Reported, {absent: Outage Ended, for: 1h}]}}"
ALL = (CART, TWICE, RAGE, HOME, HOME_QUIET)
NAMES = ("Product Added", "Order Completed", "Call Started", "Clicked", "Clicked", "Outage Reported", "Outage Ended")


def event(
    world: World, visitor: str, name: str, *, user: str | None = None, minutes: float = 0, claimed: bool = False
) -> Event:
    made = world.event(user or "", name, world.clock.now() - timedelta(minutes=minutes), k=name)
    fields = {one: getattr(made, one) for one in made.__struct_fields__}
    fields |= {"record_id": user, "anonymous_id": visitor, "fields": {"cookie": visitor}}
    return Event(**{**fields, "standing": "claimed" if claimed else "reported"})


async def send(world: World, source: str, *events: Event) -> None:
    result = await ingest(
        world.database,
        world.tenant,
        source,
        events,
        now=world.clock.now(),
        told=lambda _, firings: world.told.extend(firings),
    )
    assert result.rejected == ()


@pytest.fixture
async def world(database: Database, tenant: Tenant) -> World:
    made = World(database, tenant)
    await made.declare(*ALL)
    await made.settle()
    return made


async def test_a_sign_in_moves_patterns_on_without_a_replay_of_who_signs_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.happens("ann", "Call Started")
    world.clock.passes(minutes=1)
    await send(world, SHOP, event(world, "visitor-v", "Call Started"))
    world.clock.passes(minutes=1)
    read: set[int] = set()
    read_log = replaying.read_log

    async def noted(connection: Connection, tenant: Tenant, persons: Collection[int]) -> dict[int, list[Logged]]:
        read.update(persons)
        return await read_log(connection, tenant, persons)

    monkeypatch.setattr(replaying, "read_log", noted)
    await send(world, SHOP, event(world, "visitor-v", "Signed In", user="ann"))
    [firing] = world.told
    assert (firing.pattern, firing.at) == ("twice", T0 + timedelta(minutes=1))
    assert firing.person_id not in read
    await world.check()


async def test_what_was_decided_for_a_visitor_is_not_decided_again_for_who_signs_in(world: World) -> None:
    await send(world, SHOP, event(world, "visitor-v", "Call Started"))
    world.clock.passes(minutes=1)
    await send(world, SHOP, event(world, "visitor-v", "Call Started"))
    [firing] = world.told
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        assert await claim_firings(connection, world.tenant, [firing.firing_id], world.clock.now())
    world.clock.passes(minutes=1)
    await send(world, SHOP, event(world, "visitor-v", "Signed In", user="ann"))
    assert len(world.told) == 1
    await world.check()
    [noted] = await world.noted()
    assert noted.person != firing.person_id
    await send(
        world, SHOP, event(world, "visitor-v", "Signed Out", minutes=0.5)
    )  # before the sign-in: the visit is nobody's again
    await world.check()
    assert [one.person for one in await world.noted()] == [firing.person_id]
    assert len(world.told) == 1


@pytest.mark.parametrize("seed", range(8))
async def test_whoever_had_the_events_it_is_as_if_it_had_always_been_so(database: Database, seed: int) -> None:
    """Visits, sign-ins, claims and sign-outs, late and of several sources, while records of users share a phone."""
    draw = Random(seed)
    world = World(database, await linked_tenant(database), SetClock())
    await world.declare(*ALL)
    for _ in range(40):
        if draw.random() < 0.35:
            world.clock.passes(minutes=draw.choice((1, 5, 20, 45, 130, 2_000)))
        if draw.random() < 0.15:
            await (world.work.replays if draw.random() < 0.5 else world.work.absences)(world.tenant)
        events = []
        for _ in range(draw.choice((1, 1, 2, 4, 9))):
            sort = draw.choice(("plain", "plain", "plain", "plain", "known", "claimed", "out"))
            user = draw.choice(("u0", "u1", "u2")) if sort in ("known", "claimed") else None
            name = "Signed Out" if sort == "out" else draw.choice(NAMES)
            minutes = draw.choice((0, 0, 0, 0, 0.5, 3, 40, 300))
            visitor = f"visitor-{draw.randrange(3)}"
            events.append(event(world, visitor, name, user=user, minutes=minutes, claimed=sort == "claimed"))
        await send(world, draw.choice((SHOP, SHOP, "app")), *events)
        if draw.random() < 0.1:
            await world.check()
    await world.check()
