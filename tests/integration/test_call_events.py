"""What is told of a call finds its contact and is taken in one round trip; agents come packed out of the ring's read."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np
from tests.integration.test_decide import World, world

from firstring.contact import AgentFree, Read
from firstring.decide import differences, rederive
from firstring.routing.may.packed import EPOCH, columns, count, free_agents, packed, pairs_of
from firstring.store.freeagents import ProfileCache, agents_read

__all__ = ["world"]


async def test_what_is_told_of_a_phone_is_taken_of_whoever_has_the_call(world: World) -> None:
    await world.agent("Ann")
    offer = world.offer()
    await world.calls.offered(offer)

    async def told(
        what: str, phone: str | None = None, call_id: str = offer.call_id
    ) -> tuple[str | None, str | None] | None:
        change = await world.contacts.call_event(world.tenant, "kamailio:1", call_id, what, phone=phone)  # type: ignore[arg-type]
        return None if change is None else (change.before, change.after)

    assert await told("answered", "sip:bo@agents.test") is None, "another agent's phone"
    assert await told("answered", call_id="unknown") is None
    assert await world.state(offer) == "assigned"
    assert await told("ringing", "") == ("assigned", "assigned"), "whatever phone that is"
    assert await told("answered", "sip:ann@agents.test") == ("assigned", "answered")
    assert await told("ended") == ("answered", "ended")
    assert await told("ended") is None, "the call is over, and its id is free for another"


async def test_a_phone_of_nobody_is_taken_as_before(world: World) -> None:
    """Nobody has the call: a phone that answers it then changes nothing, whoever's it is."""
    offer = world.offer()
    assert (await world.calls.offered(offer)).action == "wait"
    change = await world.contacts.call_event(
        world.tenant, "kamailio", offer.call_id, "answered", phone="sip:ann@agents.test"
    )
    assert change is not None
    assert (change.before, change.after, change.agent_id) == ("waiting", "waiting", None)


async def test_agents_are_read_packed_and_kept_with_the_decision(world: World) -> None:
    first = await world.agent("Ann", channels=("chat", "voice"), capacity={"chat": 3, "voice": 1})
    second = await world.agent("Bo", channels=("chat",), capacity={"chat": 1})
    read = await world.ring.read(world.tenant, (), "chat")
    assert isinstance(read.agents, bytes)
    assert [agent.agent_id for agent in free_agents(read.agents)] == [first, second], "each once, whatever places they have"
    assert all(0 <= (datetime.now(UTC) - agent.idle_since).total_seconds() < 60 for agent in free_agents(read.agents))
    assert count(read.agents) == count(tuple(free_agents(read.agents))) == 2
    assert (await world.ring.read(world.tenant, (), "email")).agents == ()
    profiles = await world.ring.profiles(world.tenant, read.agents)
    assert [profiles[pair].name for pair in pairs_of(read.agents)] == ["Ann", "Bo"]

    answer = await world.calls.offered(world.offer())
    contact_id = world.desk.shown[-1][0]
    stored = await world.ring.decision(world.tenant, contact_id)
    assert answer.routes
    assert stored is not None
    assert [agent.agent_id for agent in free_agents(stored.read.agents)] == [first]
    profiles = await world.ring.profiles(world.tenant, stored.read.agents)
    assert not differences(stored.derived, rederive(stored, profiles, world.models))
    one_by_one = msgspec.structs.replace(
        stored, read=msgspec.structs.replace(stored.read, agents=tuple(free_agents(stored.read.agents)))
    )
    assert not differences(stored.derived, rederive(one_by_one, profiles, world.models)), "as earlier decisions have them"


async def test_agents_that_do_not_fit_are_kept_one_by_one(world: World) -> None:
    statement = "select array_send($1::bigint[]), array_send($2::int[]), array_send($3::timestamptz[])"
    moments = [EPOCH.replace(year=2026), EPOCH.replace(year=2026, microsecond=1)]
    for ids, versions in (([7, 1 << 33], [1, 2]), ([7, 8], [1, 1 << 17])):
        arrays = await world.database.row(statement, ids, versions, moments)
        assert arrays is not None
        assert agents_read(*arrays) == tuple(map(AgentFree, ids, versions, moments))
    arrays = await world.database.row(statement, [8, 7, 8], [2, 1, 2], [*moments, moments[1]])
    assert arrays is not None
    agents = agents_read(*arrays)
    assert isinstance(agents, bytes)
    assert free_agents(agents) == [AgentFree(8, 2, moments[0]), AgentFree(7, 1, moments[1])], "the first place counts"
    assert agents_read(None, None, None) == ()


async def test_profiles_are_read_once(world: World) -> None:
    ids = [await world.agent(name) for name in ("Ann", "Bo", "Cy")]
    cache = ProfileCache()
    some, all_ = [packed(*np.array([(i, 1, 0) for i in those], np.int64).T) for those in (ids[:2], ids)]
    assert some is not None
    assert all_ is not None
    known = await cache.of(world.database, world.tenant, some)
    ann = known[ids[0], 1]
    known = await cache.of(world.database, world.tenant, all_)
    assert known[ids[0], 1] is ann
    assert {known[pair].name for pair in pairs_of(all_)} == {"Ann", "Bo", "Cy"}
    assert (await cache.of(world.database, world.tenant, tuple(free_agents(all_))))[ids[2], 1] is known[ids[2], 1]
    assert columns(all_).agent_ids.tolist() == ids


def test_what_was_read_before_agents_were_packed_is_still_read() -> None:
    agents = (AgentFree(3, 1, EPOCH), AgentFree(5, 2, EPOCH))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode({"agents": agents}), type=Read).agents == agents
    as_bytes = packed(*np.array([(3, 1, 0), (5, 2, 0)], np.int64).T)
    read = Read(agents=as_bytes or ())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(read), type=Read) == read
    assert msgspec.json.decode(msgspec.json.encode(read), type=Read) == read
