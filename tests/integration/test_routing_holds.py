"""A contact that is held for a better agent: explicit, bounded, once; seen by every server; and the guard's memory of who
was passed over, which whoever takes a line over knows too."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.integration.test_decide import World, world
from tests.integration.test_killed import BROKEN
from tests.integration.test_never import another_process, offered, who_has
from tests.integration.test_routing_fitted import put, same_again
from tests.unit.test_routing_live import model

from firstring.contact import Hold
from firstring.desk.board import row_of
from firstring.routing.declared.policy import TierRule
from firstring.routing.may.packed import columns, pair
from firstring.routing.pick.live import Live, PriceList
from firstring.store.board import read_line
from firstring.store.queries import sql
from firstring.store.routing.models import fit_in_force
from firstring.store.routing.presence import PresenceWatch, present
from firstring.store.routing.prices import live_in_force, refresh

__all__ = ["world"]
WORKER = Path(__file__).with_name("elected_worker.py")
IDLE_BESIDE = """
select c.contact_id, g.agent_id from contact c
join agent_place g on g.tenant_id = c.tenant_id and g.channel = c.channel and g.free_since is not null
where c.tenant_id = $1 and c.state = 'waiting' and not ((c.need -> 'hold' ->> 'until')::timestamptz > $2
  and g.free_since < (c.need -> 'hold' ->> 'since')::timestamptz)
"""
"""Of contacts whom anybody may serve: who waits beside an idle agent, other than for a hold that goes on."""


async def put_prices(world: World, agents: list[int], usual_s: tuple[float, ...], **more: Any) -> Live:
    """A price list in force, as the elected task would have found it."""
    count = len(agents)
    live = Live(PriceList(tuple(agents), (0.0,) * count, (0.5,) * count, usual_s, **more))
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        content = msgspec.json.encode(live.prices).decode()
        await connection.execute(sql("prices", "retire"), world.tenant.tenant_id, live.version)
        await connection.execute(sql("prices", "put"), world.tenant.tenant_id, live.version, content, 0, world.clock.now())
    assert (await refresh(world.database, world.tenant)).version == live.version
    world.decider.models = msgspec.structs.replace(
        world.decider.models, fit=fit_in_force(world.tenant), live=live_in_force(world.tenant)
    )
    return live


async def held(world: World, contact_id: uuid.UUID) -> Hold | None:
    state = await world.ring.contact(world.tenant, contact_id)
    assert state is not None
    return state.hold


async def finish(world: World, contact_id: uuid.UUID) -> None:
    await world.contacts.event(world.tenant, contact_id, "answered")
    await world.contacts.event(world.tenant, contact_id, "finished")


@pytest.fixture
async def busy_best(world: World) -> tuple[int, int, uuid.UUID]:
    """Ann, who is far better and has the first call, and Bob, who is idle."""
    ann, bob = await world.agent("Ann"), await world.agent("Bob")
    await put(world, model(3.0, -3.0), [ann, bob])
    await put_prices(world, [ann, bob], (5.0, 300.0))
    first = await offered(world)
    assert first.agent_id == ann
    return ann, bob, first.contact.contact_id


async def idle_beside(superuser: asyncpg.Connection, world: World) -> list[Any]:
    return await superuser.fetch(IDLE_BESIDE, world.tenant.tenant_id, world.clock.now())


async def test_a_contact_is_held_and_the_better_agent_gets_it(
    world: World, superuser: asyncpg.Connection, busy_best: tuple[int, int, uuid.UUID]
) -> None:
    ann, bob, first = busy_best
    waits = await offered(world)
    assert (waits.outcome, waits.agent_id) == ("wait", None)
    routing = waits.derived.routing
    assert [verdict.agent_id for verdict in routing.ranked] == [bob], "who would have been tried"
    [reason] = [reason for reason in routing.reasons if reason.code == "held"]
    assert "15 s at most" in reason.text
    assert reason.weight is not None
    assert reason.weight > 0.03
    stored = await same_again(world, waits.contact.contact_id)
    hold = stored.derived.routing.need.hold
    assert hold is not None
    assert hold.until - hold.since == timedelta(seconds=15)
    for _ in range(3):
        assert await world.dispatcher.sweep(world.tenant) <= 0.5
        assert await who_has(world, waits.contact.contact_id) is None, "Bob is idle all the time"
    assert await idle_beside(superuser, world) == []
    shown = await read_line(world.database, world.tenant, world.clock.now(), at_most=10)
    [said] = [need for need in row_of(shown.line[0], world.clock.now(), {}).needs if need.startswith("held for 1")]
    assert said.endswith(" s, for somebody who suits better")

    # What becomes known meanwhile is decided with, and the hold goes on to its end.
    again = await world.decider.again(world.tenant, waits.contact.contact_id, "said", change=lambda known: known)
    assert again is not None
    assert again.outcome == "wait"
    assert again.derived.routing.need.hold is not None
    assert again.derived.routing.need.hold.until == hold.until
    await same_again(world, waits.contact.contact_id)

    # Somebody whom Bob is right for comes: who is held holds up nobody. Ann is free: she takes whom she was kept for.
    await finish(world, first)
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, waits.contact.contact_id) == ann
    assert (await same_again(world, waits.contact.contact_id)).cause == "capacity"
    assert await idle_beside(superuser, world) == []
    assert await superuser.fetch(BROKEN, world.tenant.tenant_id) == []


async def test_who_is_there_is_known_without_reading_it(world: World, busy_best: tuple[int, int, uuid.UUID]) -> None:
    """What a server looked at a second ago gives the same hold as what is read with the contact."""
    ann, bob, first = busy_best
    read = (await offered(world)).derived.routing.need.hold
    assert read is not None
    watch = PresenceWatch(world.database)
    await watch.look(world.tenant)
    known = await offered(world)
    assert [pair(key) for key in columns(known.read.busy).keys.tolist()] == [(ann, 1)]
    assert known.read.waiting == 1
    assert known.derived.routing.need.hold is not None
    assert known.derived.routing.need.hold.reserve < read.reserve, "somebody else waits for Ann too"
    await same_again(world, known.contact.contact_id)
    # It was looked at before Ann became free: those who are free are read with the contact.
    await finish(world, first)
    await asyncio.sleep(0.3)
    assert columns((await offered(world)).read.busy).keys.tolist() == []
    # Nothing is trained any more: nothing is kept, and nobody held.
    world.tenant.kept.pop("fit")
    await watch.look(world.tenant)
    assert present(world.tenant, "voice") is None
    assert bob in {one.profile.agent_id for one in await world.contacts.agents(world.tenant)}


async def test_a_hold_ends_by_itself_and_there_is_no_second(
    world: World, superuser: asyncpg.Connection, busy_best: tuple[int, int, uuid.UUID]
) -> None:
    _, bob, _ = busy_best
    waits = await offered(world)
    assert waits.derived.routing.need.hold is not None
    world.clock.ahead = timedelta(seconds=14)
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, waits.contact.contact_id) is None
    world.clock.ahead = timedelta(seconds=16)
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, waits.contact.contact_id) == bob
    assert await idle_beside(superuser, world) == []
    # Bob lets it ring: it is offered again, to whoever is there, and not held.
    await world.contacts.event(world.tenant, waits.contact.contact_id, "rejected")
    again = await world.decider.again(world.tenant, waits.contact.contact_id, "rejected")
    assert again is not None
    assert again.derived.routing.need.hold is None


@pytest.mark.parametrize("why", ["priority", "policy", "directed", "clock"])
async def test_who_is_never_held(world: World, busy_best: tuple[int, int, uuid.UUID], why: str) -> None:
    _, bob, _ = busy_best
    if why == "priority":
        routing = msgspec.structs.replace(world.models.routing, tiers={"vip": TierRule(priority=30)})
        world.decider.models = msgspec.structs.replace(world.decider.models, routing=routing)
        await world.person("p-1", name="Vera Stone", phone="+12025550177", tier="vip")
        offer = world.offer("+12025550177")
        await world.calls.offered(offer)
        contact_id = await world.ring.contact_by_call(world.tenant, "kamailio", offer.call_id)
        assert contact_id is not None
        assert await who_has(world, contact_id) == bob
        return
    if why == "policy":
        routing = msgspec.structs.replace(world.models.routing, hold_s=0.0)
        world.decider.models = msgspec.structs.replace(world.decider.models, routing=routing)
        assert (await offered(world)).agent_id == bob
        return
    waits = await offered(world)
    assert waits.agent_id is None
    if why == "directed":
        again = await world.decider.again(world.tenant, waits.contact.contact_id, "directed")
        assert again is not None
        assert again.agent_id == bob, "whoever steps in ends the hold"
        return
    world.clock.ahead = -timedelta(hours=1)  # the clock goes back: nobody is held for longer than was meant
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, waits.contact.contact_id) == bob


async def test_another_server_goes_on_with_a_hold_when_the_elected_one_is_killed(
    world: World, master_key: bytes, superuser: asyncpg.Connection, busy_best: tuple[int, int, uuid.UUID]
) -> None:
    """Two real processes serve the line; the elected one is killed while a contact is held."""
    _, bob, _ = busy_best
    routing = msgspec.structs.replace(world.models.routing, hold_s=5.0)
    world.decider.models = msgspec.structs.replace(world.decider.models, routing=routing)
    started = asyncio.get_running_loop().time()
    async with elected(world, master_key) as process:
        waits = await offered(world)
        assert waits.derived.routing.need.hold is not None
        await asyncio.sleep(0.5)
        assert await who_has(world, waits.contact.contact_id) is None
        process.kill()
        await process.wait()
    other, _, _ = another_process(world, "takes-over")
    served: int | None = None
    while served is None:
        assert asyncio.get_running_loop().time() - started < 60.0, "the hold is over in time"
        await other.sweep(world.tenant)
        served = await who_has(world, waits.contact.contact_id)
        hold = await held(world, waits.contact.contact_id)
        if served is None:
            assert hold is not None
            assert world.clock.now() < hold.until + timedelta(seconds=2)
        await asyncio.sleep(0.2)
    assert served == bob
    assert await superuser.fetch(BROKEN, world.tenant.tenant_id) == []


@contextlib.asynccontextmanager
async def elected(world: World, master_key: bytes) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of its own that is elected, and sweeps."""
    plan = {"connect": world.database.arguments, "master_key": master_key.hex(), "tenant": world.tenant.tenant_id}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER), json.dumps(plan), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20.0):
            while (line := await process.stdout.readline()).strip() != b"elected":
                assert line, "the worker ended"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_who_takes_the_line_over_knows_who_was_passed_over(world: World, master_key: bytes) -> None:
    """Ann is far better with all but the first: a process serves one out of turn and is killed, the next one knows it."""
    ann = await world.agent("Ann", ready=False)
    bob = await world.agent("Bob", ready=False)
    await put(world, model(1.0, 1.0), [ann, bob])
    await put_prices(world, [ann, bob], (60.0, 60.0))
    waits = [(await offered(world)).contact.contact_id for _ in range(3)]
    # The last of them is taken out of turn, by whomever: the log of assignments is what is known of it.
    await world.contacts.set_presence(world.tenant, ann, "ready")
    await asyncio.sleep(0.3)  # a place that is just free is the line's
    taken = await world.decider.again(world.tenant, waits[2], "capacity")
    assert taken is not None
    assert taken.agent_id == ann
    async with elected(world, master_key) as process:
        await asyncio.sleep(0.3)
        process.kill()
        await process.wait()
    other, _, _ = another_process(world, "takes-over")
    world.clock.ahead = timedelta(seconds=5)
    await world.contacts.set_presence(world.tenant, bob, "ready")
    assert other.due(world.tenant, "voice") == {}
    async with asyncio.timeout(10.0):
        while await who_has(world, waits[0]) is None:  # until the lease is over
            await other.sweep(world.tenant)
            await asyncio.sleep(0.1)
    assert await who_has(world, waits[0]) == bob
    [(due, at_s)] = other.due(world.tenant, "voice").items()
    assert due == waits[0], "first come would have served it..."
    assert at_s == taken.decided_at.timestamp(), "... when the other one was"
