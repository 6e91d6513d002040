"""Several processes hear the same call, and a process hears of calls late: they agree, and nothing is taken back wrongly."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import asyncpg
import pytest
from tests.integration.test_decide import World, world

from firstring.channels.voice.kamailio import LiveCalls
from firstring.errors import Retryable
from firstring.store.database import translated

__all__ = ["world"]


async def test_every_process_that_is_asked_names_the_same_next_agent(world: World) -> None:
    await world.agent("Ann")
    bob = await world.agent("Bob")
    await world.agent("Cyd")
    offer = world.offer()
    first = await world.calls.offered(offer)
    event = world.event("call.busy", offer, uri=first.routes[0].uri, adapter_ref="ref-2")
    answers = [await world.calls.no_agent(event) for _ in range(3)]
    answers += await asyncio.gather(*(world.calls.no_agent(event) for _ in range(3)))
    assert {answer.routes[0].uri for answer in answers} == {"sip:bob@agents.test"}
    assert {answer.decision for answer in answers} == {answers[0].decision}
    live = {state.profile.agent_id: state.live for state in await world.contacts.agents(world.tenant)}
    assert live[bob] == sum(live.values()) == 1
    assert world.failed_open == []


async def test_processes_asked_at_the_same_time_claim_one_agent(world: World) -> None:
    for name in ("Ann", "Bob", "Cyd", "Dee"):
        await world.agent(name)
    for _ in range(5):
        offer = world.offer()
        first = await world.calls.offered(offer)
        event = world.event("call.rejected", offer, uri=first.routes[0].uri)
        answers = await asyncio.gather(*(world.calls.no_agent(event) for _ in range(4)))
        assert len({answer.routes[0].uri for answer in answers}) == 1
        assert sum(state.live for state in await world.contacts.agents(world.tenant)) == 1
        await world.calls.event(world.event("call.cancelled", offer))
    assert world.failed_open == []


async def test_a_wait_after_a_busy_phone_is_ended_under_the_calls_new_reference(world: World) -> None:
    await world.agent("Ann")
    bob = await world.agent("Bob", ready=False)
    offer = world.offer(adapter_ref="7:9:0")
    first = await world.calls.offered(offer)
    event = world.event("call.busy", offer, uri=first.routes[0].uri, adapter_ref="7:9:1")
    assert (await world.calls.no_agent(event)).action == "wait"
    await world.contacts.set_presence(world.tenant, bob, "ready")
    await world.dispatcher.sweep(world.tenant)
    assert [(decision.agent_id, decision.contact.adapter_ref) for decision in world.pushed] == [(bob, "7:9:1")]


async def test_what_was_told_of_an_earlier_agent_is_not_taken_for_the_next(world: World) -> None:
    await world.agent("Ann")
    await world.agent("Bob")
    offer = world.offer()
    ann = (await world.calls.offered(offer)).routes[0].uri
    bob = (await world.calls.no_agent(world.event("call.busy", offer, uri=ann))).routes[0].uri
    await world.calls.event(world.event("call.answered", offer, uri=ann))
    assert await world.state(offer) == "assigned"
    await world.calls.event(world.event("call.answered", offer, uri=bob))
    assert await world.state(offer) == "answered"


async def test_reconcile_makes_good_what_nobody_heard(world: World) -> None:
    for name in ("Ann", "Bob", "Cyd"):
        await world.agent(name)
    answered, ringing, heard_of = world.offer(), world.offer(), world.offer()
    await world.calls.offered(answered)
    await world.calls.offered(ringing)
    seen: dict[str, None] = {}
    live = LiveCalls([answered.call_id, ringing.call_id], seen)
    reconciling = asyncio.create_task(world.calls.reconcile("kamailio", live, (answered.call_id,)))
    await world.calls.offered(heard_of)
    seen[heard_of.call_id] = None
    await reconciling
    assert [await world.state(offer) for offer in (answered, ringing, heard_of)] == ["answered", "assigned", "assigned"]
    await world.calls.reconcile("kamailio", LiveCalls([], {}))
    assert [await world.state(offer) for offer in (answered, ringing, heard_of)] == [None, None, None]


def test_a_connection_lost_between_two_messages_is_a_lost_connection() -> None:
    with pytest.raises(Retryable) as raised, translated():
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    assert raised.value.code == "database_unavailable"


async def test_a_call_given_back_is_left_to_whoever_was_told_so_for_a_second(world: World) -> None:
    await world.agent("Ann")
    bob = await world.agent("Bob")
    offer = world.offer()
    contact_id = uuid.UUID((await world.calls.offered(offer)).decision.split("/")[0])
    world.clock.ahead = timedelta(seconds=3)
    await world.contacts.event(world.tenant, contact_id, "no_answer")
    await world.dispatcher.sweep(world.tenant)
    assert world.pushed == []
    world.clock.ahead = timedelta(seconds=4.5)
    await world.dispatcher.sweep(world.tenant)
    assert [decision.agent_id for decision in world.pushed] == [bob]
