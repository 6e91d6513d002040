"""What must not happen to a contact: evidence lost, an agent held for nobody, a queue held up by one of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.integration.test_decide import World, world
from tests.making import contact, decision, new_id

from firstring.channels.contact_log import ContactLog
from firstring.channels.voice.contract import RouteAnswer
from firstring.contact import ContactState, Evidence, SignatureCheck
from firstring.identity.caller.evidence import gather

__all__ = ["world"]

PENDING = SignatureCheck("No-TN-Validation", reason="certificate_pending")
PASSED = SignatureCheck("TN-Validation-Passed", "A")


class SlowSignatures:
    """A verifier whose certificate has not come yet: `late` is whom it will tell."""

    late: Callable[[SignatureCheck], None]

    async def check(self, *_values: object, late: Callable[[SignatureCheck], None]) -> SignatureCheck:
        self.late = late
        return PENDING


@pytest.fixture
def slow(world: World) -> SlowSignatures:
    signatures = SlowSignatures()
    world.calls._signatures = signatures  # type: ignore[assignment]
    return signatures


def contact_of(answer: RouteAnswer) -> uuid.UUID:
    return uuid.UUID(answer.decision.split("/")[0])


async def state_of(world: World, contact_id: uuid.UUID) -> ContactState:
    state = await world.ring.contact(world.tenant, contact_id)
    assert state is not None
    return state


async def presence(world: World) -> list[str]:
    return [state.presence for state in await world.contacts.agents(world.tenant)]


# --- evidence ----------------------------------------------------------------------------------------------------


async def test_a_late_signature_and_an_agents_pick_are_both_kept(world: World, slow: SlowSignatures) -> None:
    await world.agent()
    for number, name in enumerate(("Kim", "Lee")):
        await world.person(f"p-{number}", given_name=name, family_name="Vance", phone=["+12025550144"])
    contact_id = contact_of(await world.calls.offered(world.offer("+12025550144")))
    first = await world.ring.decision(world.tenant, contact_id)
    assert first is not None
    person = first.derived.resolution.candidates[1].person_id

    def pick(evidence: Evidence) -> Evidence:
        return msgspec.structs.replace(evidence, confirmed_person=person)

    # At once: each of them may be the one who decides on what the other has changed meanwhile.
    slow.late(PASSED)
    await asyncio.gather(*(world.decider.again(world.tenant, contact_id, "confirmed", change=pick) for _ in range(2)))
    await world.calls.stop()
    state = await state_of(world, contact_id)
    assert (state.evidence.confirmed_person, state.evidence.signature) == (person, PASSED)
    newest = await world.ring.decision(world.tenant, contact_id)
    assert newest is not None
    assert newest.evidence == state.evidence
    assert [decision.evidence.signature for decision in world.pushed] == [PASSED]  # shown on the agent's desk


async def test_an_agent_claimed_on_late_evidence_is_told_to_the_switch(world: World, slow: SlowSignatures) -> None:
    answer = await world.calls.offered(world.offer())
    assert answer.action == "wait"
    agent_id = await world.agent()
    slow.late(PASSED)
    await world.calls.stop()
    assert (await state_of(world, contact_of(answer))).agent_id == agent_id
    assert [decision.agent_id for decision in world.pushed] == [agent_id]


async def test_nobody_keeps_a_contact_that_was_given_back(world: World) -> None:
    agent_id = await world.agent()
    one = contact()
    await world.ring.commit(world.tenant, decision(one, [agent_id]), assignment_id=new_id())
    await world.contacts.event(world.tenant, one.contact_id, "busy")
    kept = await world.ring.commit(
        world.tenant, decision(one, revision=2, outcome="keep", cause="provider"), assignment_id=new_id()
    )
    assert kept.status == "stale"  # else the next agent's decision were, and the call would go to the default queue


# --- agents ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", ["http", "redirect"])
async def test_a_call_of_which_nothing_was_heard_makes_nobody_away(world: World, adapter: str) -> None:
    """Its switch was told one phone and asks no more: naming it the next agents would take them one after the other."""
    for name in ("Ann", "Bob"):
        await world.agent(name)
    offer = world.offer(adapter=adapter)
    await world.calls.offered(offer)
    for elapsed_s in (31, 33, 64, 66):
        world.clock.ahead = timedelta(seconds=elapsed_s)
        await world.dispatcher.sweep(world.tenant)
    assert world.pushed == []
    assert await world.state(offer) is None
    assert await presence(world) == ["ready", "ready"]
    assert [state.live for state in await world.contacts.agents(world.tenant)] == [0, 0]


@pytest.mark.parametrize(("rang", "expected"), [(False, "ready"), (True, "away")])
async def test_only_who_let_it_ring_is_away(world: World, rang: bool, expected: str) -> None:
    await world.agent()
    offer = world.offer()
    await world.calls.offered(offer)
    if rang:
        await world.calls.event(world.event("call.ringing", offer))
    world.clock.ahead = timedelta(seconds=121)
    await world.dispatcher.sweep(world.tenant)
    assert await world.state(offer) == "offered"
    assert await presence(world) == [expected]


async def test_a_chat_that_nobody_accepts_goes_on_and_its_agent_is_away(world: World) -> None:
    ann = await world.agent("Ann", channels=("chat",), capacity={"chat": 1})
    chat = contact(channel="chat", adapter="api")
    first = await world.decider.offered(world.tenant, chat, gather({}, country="US"))
    assert first.agent_id == ann
    bob = await world.agent("Bob", channels=("chat",), capacity={"chat": 1})
    for elapsed_s in (31, 33):
        world.clock.ahead = timedelta(seconds=elapsed_s)
        await world.dispatcher.sweep(world.tenant)
    assert [decision.agent_id for decision in world.pushed] == [bob]
    assert await presence(world) == ["away", "ready"]


async def test_a_call_offered_again_is_not_answered_with_an_agent_who_gave_it_back(world: World) -> None:
    await world.agent("Ann")
    offer = world.offer(adapter="http")
    first = await world.calls.offered(offer)
    assert (await world.calls.offered(offer)).routes == first.routes
    await world.contacts.event(world.tenant, contact_of(first), "busy")
    assert (await world.calls.offered(offer)).action == "wait"
    await world.agent("Bob")
    world.clock.ahead = timedelta(seconds=6)
    await world.dispatcher.sweep(world.tenant)
    again = await world.calls.offered(offer)
    assert [route.uri for route in again.routes] in (["sip:ann@agents.test"], ["sip:bob@agents.test"])
    assert sum(state.live for state in await world.contacts.agents(world.tenant)) == 1


async def test_a_phone_that_cannot_be_named_sends_the_call_to_the_default_queue(world: World) -> None:
    agent_id = await world.agent(address="the desk by the window")
    answer = await world.calls.offered(world.offer())
    assert answer.action == "default"
    assert world.failed_open == ["bad_uri"]
    await world.calls.stop()
    assert await world.contacts.of_agent(world.tenant, agent_id) == []


async def test_what_an_agent_does_is_not_taken_for_the_next_ones(world: World) -> None:
    ann = await world.agent("Ann")
    offer = world.offer()
    contact_id = contact_of(await world.calls.offered(offer))
    mine = await state_of(world, contact_id)
    assert mine.agent_id == ann
    bob = await world.agent("Bob")
    await world.calls.no_agent(world.event("call.busy", offer))
    change = await world.contacts.event(world.tenant, contact_id, "finished", assignment_id=mine.assignment_id)
    assert change.after == "assigned"
    assert (await state_of(world, contact_id)).agent_id == bob


# --- the queue ---------------------------------------------------------------------------------------------------


async def offered(world: World, **changes: Any) -> uuid.UUID:
    made = await world.decider.offered(world.tenant, contact(**{"adapter": "api", **changes}), gather({}, country="US"))
    return made.contact.contact_id


async def test_an_e_mail_waits_until_somebody_comes(world: World) -> None:
    email = await offered(world, channel="email")
    call = await offered(world, channel="voice", adapter="http")
    world.clock.ahead = timedelta(hours=14)
    await world.dispatcher.sweep(world.tenant)
    assert (await state_of(world, call)).state == "ended"  # no switch waits so long
    assert (await state_of(world, email)).state == "waiting"
    agent_id = await world.agent(channels=("email",), capacity={"email": 1})
    await world.dispatcher.sweep(world.tenant)
    assert (await state_of(world, email)).agent_id == agent_id


async def test_those_who_wait_for_others_hold_nobody_up(world: World) -> None:
    for _ in range(210):
        await offered(world, channel="email")
    call = await offered(world, channel="voice")
    agent_id = await world.agent()
    await world.dispatcher.sweep(world.tenant)
    assert (await state_of(world, call)).agent_id == agent_id


async def test_a_damaged_contact_holds_nobody_up(world: World) -> None:
    log = ContactLog(world.database, world.ring, world.contacts, world.clock, country="US", threshold=0.9)
    damaged, sound = [await offered(world, channel="voice") for _ in range(2)]
    gone = await offered(world, channel="chat")
    await world.contacts.event(world.tenant, gone, "cancelled")
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        for table in ("contact", "decision"):
            await connection.execute(
                f"update {table} set sealed = '\\x00' where tenant_id = $1 and contact_id = any ($2)",
                world.tenant.tenant_id,
                [damaged, gone],
            )
    await world.agent()
    for _ in range(2):  # the first finds out
        await world.dispatcher.sweep(world.tenant)
    assert (await state_of(world, sound)).agent_id is not None
    assert await log.write(world.tenant) == 0
    assert await world.contacts.ended_not_logged(world.tenant, 10) == []


async def test_the_databases_clock_need_not_be_ours(world: World) -> None:
    """An agent is left out for some seconds of one clock, not of two."""
    world.clock.ahead = timedelta(hours=1)
    agent_id = await world.agent()
    offer = world.offer()
    contact_id = contact_of(await world.calls.offered(offer))
    assert (await world.calls.no_agent(world.event("call.busy", offer))).action == "wait"
    world.clock.ahead += timedelta(seconds=6)
    await world.dispatcher.sweep(world.tenant)
    assert (await state_of(world, contact_id)).agent_id == agent_id
